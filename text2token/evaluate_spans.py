"""Read-back evaluation of a synthesis: word errors of the spans that were really made, by their class.

    python -m text2token.evaluate_spans synthesised=runs/synthesis tokenizer=runs/tokenizer/artefact \
        tokens=runs/tokens corpus=runs/corpus out=runs/span_readback

`text2token.evaluate` measures whole held-out sentences; the spans of an interleaved corpus begin and end anywhere. A
sample of them is read by the speech tokenizer's own post-VQ half. ``spans.jsonl`` holds each span of the sample,
``classes.jsonl`` the word error rates by length, place in the text, sentences cut, crossing of a sentence's end, unseen
word pairs, and voice. With ``corpus`` of corpus.build, the built-in synthesiser speaks the same words in the same
voice, without a room: the errors of their tokens are the floor.
"""

from __future__ import annotations

from runtime.stage import Headline, Stage

from .readback.config import SpanReadbackConfig

STAGE = Stage(
    name="text2token.evaluate_spans",
    config=SpanReadbackConfig,
    implementation="text2token.readback.span_readback:evaluate_spans",
    summary="Read the spans of a synthesis back as text: their word error rate by length, place and novelty.",
    inputs=lambda config: [config.synthesised, config.tokenizer, config.tokens or None, config.corpus or None],
    example="synthesised=runs/synthesis tokenizer=runs/tokenizer/artefact out=runs/span_readback",
    speed_options=("threads",),
    headlines=(Headline("span_wer", "interleaved spans: WER read back"),),
)

if __name__ == "__main__":
    STAGE.exit()
