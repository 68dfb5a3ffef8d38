"""Word errors of a recogniser on a manifest, here of a language model that hears: kept, stamped, the same again."""

import json
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
from transformers import AutoTokenizer

from corpus.audio.files import read_audio, write_audio
from evaluation import recognition
from evaluation.judges import listening_recogniser
from evaluation.judges.recognisers import find_recogniser
from evaluation.speech.recognition_config import RecognitionConfig
from lm.data.request_format import request_format
from lm.data.vocabulary import Vocabulary
from lm.data.vocabulary_config import VocabularyConfig
from lm.inference.listening_model import HeardPrompt, ListeningModel
from lm.vocabulary import STAGE as VOCABULARY
from runtime.artefact import read_json
from runtime.errors import UserError
from tests.support.instruct_model import CHATML, save_instruct_model
from tests.support.small_listening_model import save_small_listening_model
from tests.support.small_speech_model import TEXTS, noise


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("listening")
    save_small_listening_model(folder)
    return folder


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows: list[dict[str, Any]] = []
    for number in range(5):
        write_audio(tmp_path / f"{number}.wav", noise(number, 1.0 + number / 4))
        row = {"id": f"u{number}", "audio_filepath": f"{number}.wav", "duration": 1.0 + number / 4}
        rows.append(row | {"text": TEXTS[number % 2], "kind": ("a", "b")[number % 2]})
    rows.append(rows[4] | {"id": "part", "offset": 0.5, "duration": 0.75})
    (tmp_path / "torn.wav").write_bytes(b"RIFF")
    rows.append(rows[0] | {"id": "torn", "audio_filepath": "torn.wav"})
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "m.jsonl"


def config(model: Path, manifest: Path, out: str = "out", **options: Any) -> RecognitionConfig:
    defaults: dict[str, Any] = {"max_bad_share": 0.2, "normaliser": "spoken"}
    return RecognitionConfig(
        out=str(manifest.parent / out), recogniser=str(model), data=str(manifest), **(defaults | options)
    )


def test_rate_interval_and_stamp(model: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening_recogniser, "TRANSCRIPT_TOKENS", 12)  # random weights know no end
    metrics = recognition.STAGE.execute(config(model, manifest))
    rows = [json.loads(line) for line in (manifest.parent / "out" / "transcripts.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["u0", "u1", "u2", "u3", "u4", "part"]
    assert rows[4]["transcript"] != rows[5]["transcript"]  # a segment is not its file
    errors = sum(row["errors"] for row in rows)
    assert metrics["wer"] == pytest.approx(errors / sum(row["words"] for row in rows), abs=1e-6)
    spoken = [row for row in rows if row["transcript"].isascii() and row["transcript"].replace(" ", "").isalpha()]
    for row in spoken:
        found = jiwer.process_words(row["text"], row["transcript"].lower())
        assert row["errors"] == found.substitutions + found.deletions + found.insertions
    assert metrics["left_out"] == 1 and metrics["utterances"] == 6
    assert metrics["wer_low"] <= metrics["wer"] <= metrics["wer_high"]
    stamp = read_json(manifest.parent / "out" / "scores.json")["stamp"]
    assert stamp["recogniser"] == find_recogniser(str(model)).name and stamp["left_out"] == 1

    # Alone a file is heard as among others; and a run that was killed goes on to the same bytes.
    alone = find_recogniser(str(model)).transcribe([manifest.parent / "2.wav"])
    assert alone == [rows[2]["transcript"]]
    kept = manifest.parent / "cut" / "transcribed.jsonl"
    kept.parent.mkdir()
    kept.write_bytes((manifest.parent / "out" / "transcribed.jsonl").read_bytes()[:150])
    recognition.STAGE.execute(config(model, manifest, "cut"))
    for name in ("transcripts.jsonl", "scores.json"):
        assert (kept.parent / name).read_bytes() == (manifest.parent / "out" / name).read_bytes()


def test_a_model_that_was_trained_on_requests_is_asked_by_one(manifest: Path, tmp_path: Path) -> None:
    """In the chat template of its base model, which is not what it writes after ``<|asr|>``."""
    save_instruct_model(tmp_path / "base", [*TEXTS, "write down what is said"], template=CHATML)
    VOCABULARY.execute(VocabularyConfig(out=str(tmp_path / "grown"), base=str(tmp_path / "base"), num_speech_tokens=1))
    grown = Vocabulary.from_pretrained(tmp_path / "grown" / "vocabulary")
    save_small_listening_model(tmp_path / "templated", vocabulary=grown)
    file = manifest.parent / "2.wav"
    asked = find_recogniser(str(tmp_path / "templated"), instruction="write down what is said")
    model = ListeningModel.from_pretrained(tmp_path / "templated")
    heard = model.hear([read_audio(file)])
    text = AutoTokenizer.from_pretrained(tmp_path / "base").apply_chat_template(
        [{"role": "user", "content": "write down what is said @"}], add_generation_prompt=True, tokenize=False
    )
    before, after = (grown.encode_rendered(part) for part in text.split("@"))
    ids = np.concatenate([before, grown.speech_ids(model.placeholders(heard[0])), after])
    row = model.generate([HeardPrompt(ids, heard)], max_new_tokens=256, stop=request_format(grown).end_ids)[0]
    assert asked.transcribe([file]) == [grown.decode_text(row).strip()]
    assert asked.transcribe([file]) != find_recogniser(str(tmp_path / "templated")).transcribe([file])
    assert "write down what is said" in asked.name  # and so in the stamp, and in what is kept


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"max_bad_share": 0.0}, "torn.wav"),
        ({"recogniser": "tests"}, "no recogniser there"),
        ({"kinds": ["c"]}, "no utterance of the kinds c"),
        ({"recogniser": "http://localhost:1/v1", "instruction": "write"}, "takes no instruction"),
    ],
)
def test_refusals(model: Path, manifest: Path, options: dict[str, Any], found: str) -> None:
    made = config(model, manifest)
    for name, value in options.items():
        setattr(made, name, value)
    with pytest.raises(UserError) as refused:
        recognition.STAGE.execute(made)
    assert found in str(refused.value)
