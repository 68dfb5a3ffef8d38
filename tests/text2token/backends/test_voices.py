"""The built-in voices as a backend: real tokens of the same words, whatever the batch; wrong parts are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from corpus.world.synthesis import Prompt, render
from corpus.world.voices import espeak_voice, read_voices
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import Vocabulary, build_vocabulary
from runtime.artefact import write_json
from runtime.errors import UserError
from text2token import pack, synthesize
from text2token.backends.table import open_backend
from text2token.bulk_generation import BulkGenerationConfig
from text2token.speech_generation import SynthesisRequest, generate_speech
from text2token.synthesis.config import SynthesizeConfig
from tokenizer.backbones.config import TokenizerModelConfig
from tokenizer.labels import Labels
from tokenizer.model import SpeechTokenizer
from tokenizer.quantisers.config import QuantiserConfig

TEXTS = ["the capital of france is paris. the lion sleeps.", "a cat likes the red ball. it is very much in paris."]
SPEAKERS = {"espeak-f2": espeak_voice("f2", 50), "espeak-m1": espeak_voice("m1", 40)}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer, a vocabulary of its codes and the list of voices."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("voices")
    config = TokenizerModelConfig(
        width=16, heads=2, front_layers=1, back_layers=1, feed_forward=1, subsampling_channels=4, num_labels=32
    )
    made = SpeechTokenizer(config, QuantiserConfig(codebook_size=16), Labels.from_texts(TEXTS, 32)).eval()
    made.front.initialise()
    with made.inference():
        hidden_BTD, _ = made.hidden([render(Prompt("a", TEXTS[0], SPEAKERS["espeak-f2"], Path()), 1)])
    made.quantiser.start(hidden_BTD[0].clone())
    made.save_pretrained(folder / "tokenizer")
    mark = SpeechTokenizer.from_pretrained(folder / "tokenizer").fingerprint
    bpe = train_bpe(TEXTS, 300)
    build_vocabulary(bpe, num_speech_tokens=16, speech_tokenizer=mark, speakers=list(SPEAKERS)).save_pretrained(
        folder / "vocabulary"
    )
    voices = [voice.describe() for voice in SPEAKERS.values()]
    write_json(folder / "corpus" / "voices.json", {"answer": "espeak-f2", "voices": voices})
    return folder


def options(parts: Path, **changed: str) -> dict[str, str]:
    return {
        "model": str(parts / "vocabulary"),
        "backend": "voices",
        "voice_corpus": str(parts / "corpus"),
        "voice_tokenizer": str(parts / "tokenizer"),
    } | changed


def test_tokens_are_those_of_the_spoken_words(parts: Path) -> None:
    config = BulkGenerationConfig(**options(parts))
    vocabulary = Vocabulary.from_pretrained(config.model)
    backend = open_backend("voices", config, "cpu", vocabulary)
    requests = [SynthesisRequest("the capital of", "espeak-m1", 5), SynthesisRequest("red ball", "espeak-f2", 6)]
    together = generate_speech(requests, backend, vocabulary, config)
    alone = [generate_speech([one], backend, vocabulary, config)[0] for one in requests]
    tokenizer = SpeechTokenizer.from_pretrained(config.voice_tokenizer)
    for request, one, other in zip(requests, together, alone, strict=True):
        sound = render(Prompt(str(request.seed), request.text, SPEAKERS[request.speaker], Path()), request.seed)
        assert one.is_finished and np.array_equal(one.codes, tokenizer.encode([sound])[0])
        assert np.array_equal(one.codes, other.codes)


def test_a_synthesis_by_voices_is_packed_like_any_other(parts: Path, tmp_path: Path) -> None:
    rows = [json.dumps({"id": str(number), "text": text}) + "\n" for number, text in enumerate(TEXTS * 3)]
    (tmp_path / "texts.jsonl").write_text("".join(rows))
    config = SynthesizeConfig(
        texts=str(tmp_path / "texts.jsonl"), out=str(tmp_path / "synthesis"), max_rejected_share=1, **options(parts)
    )
    metrics = synthesize.STAGE.execute(config)
    assert metrics["spans"] > 0
    words = [
        f"synthesised={tmp_path / 'synthesis'}",
        f"vocabulary={parts / 'vocabulary'}",
        f"out={tmp_path / 'packed'}",
    ]
    assert pack.STAGE.main(words) == 0


@pytest.mark.parametrize("left_out", ["voice_corpus", "voice_tokenizer"])
def test_options_go_together(parts: Path, left_out: str) -> None:
    with pytest.raises(UserError, match=f"{left_out}.*backend=voices needs it"):
        BulkGenerationConfig(**options(parts, **{left_out: ""}))
    with pytest.raises(UserError, match="no other backend reads it"):
        BulkGenerationConfig(**options(parts, backend="builtin"))


def test_what_does_not_belong_together_is_refused(parts: Path, tmp_path: Path) -> None:
    config = BulkGenerationConfig(**options(parts))
    other = build_vocabulary(train_bpe(TEXTS, 300), num_speech_tokens=16, speech_tokenizer="abc", speakers=["ann"])
    with pytest.raises(UserError, match="speech tokenizer"):
        open_backend("voices", config, "cpu", other)
    mark = SpeechTokenizer.from_pretrained(config.voice_tokenizer).fingerprint
    stranger = build_vocabulary(train_bpe(TEXTS, 300), num_speech_tokens=16, speech_tokenizer=mark, speakers=["ann"])
    with pytest.raises(UserError, match="no voice for the speaker 'ann'"):
        open_backend("voices", config, "cpu", stranger)
    with pytest.raises(UserError, match=r"voices.json.*no such file"):
        read_voices(tmp_path)
