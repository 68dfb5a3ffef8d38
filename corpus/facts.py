"""Stage corpus.facts: made-up facts that only some texts tell, to see whether knowledge passes from text to speech.

    python -m corpus.facts corpus=runs/quickstart/corpus out=runs/facts

Each fact belongs to one of three groups (`corpus.world.made_up_facts`): ``spoken`` (texts and speech), ``interleaved``
(texts only, which may be interleaved) and ``text`` (texts only, never interleaved). Nothing leaks: the run refuses a
corpus that tells one of the facts, and holds that no utterance tells a fact of the last two groups.

Writes into ``out``: ``facts.jsonl``; ``texts.jsonl`` (all groups) and ``texts_<group>.jsonl``, each with its
``_heldout``; the speech ``train.jsonl`` and ``heldout_sentence.jsonl`` with ``audio/``; and ``voices.json``.
"""

from __future__ import annotations

from runtime.stage import Stage

from .world.fact_config import FactCorpusConfig

STAGE = Stage(
    name="corpus.facts",
    config=FactCorpusConfig,
    implementation="corpus.world.fact_corpus:build_fact_corpus",
    summary="Make texts and speech about made-up facts, in groups by what tells them.",
    inputs=lambda config: [config.corpus],
    example="corpus=runs/quickstart/corpus out=runs/facts",
    speed_options=("workers",),
)

if __name__ == "__main__":
    STAGE.exit()
