import json
from pathlib import Path

import numpy as np
import pytest

from corpus.tokens import TokenisedUtterance, write_tokens
from lm.data import formats
from lm.data.corpora import open_corpus
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import Vocabulary, build_vocabulary
from lm.prepare import STAGE, LmPrepareConfig
from runtime.errors import UserError

TEXTS = ["the capital of france is paris. the lion sleeps.", "what is the capital of france"]
BPE = train_bpe(TEXTS * 4, 400)
V = build_vocabulary(BPE, num_speech_tokens=16, speech_tokenizer="abc", speakers=["ann", "bob"])


def utterance(number: int, **changes: object) -> TokenisedUtterance:
    codes = (np.arange(3 + number) % 16).astype(np.uint16)
    fields = {"id": f"u{number}", "tokens": codes, "text": TEXTS[number % 2], "duration": 1.0, "speaker": "ann"}
    return TokenisedUtterance(**{**fields, **changes})  # type: ignore[arg-type]


def write_inputs(folder: Path, train: list[TokenisedUtterance] | None = None, tokenizer: str = "abc") -> dict[str, str]:
    V.save_pretrained(folder / "vocabulary")
    rows = train or [utterance(0, kind="statement"), utterance(1, kind="random", speaker="bob")]
    for name, items in (("train", rows), ("heldout_sentence", [utterance(5)])):
        path = folder / f"tokens/{name}.parquet"
        write_tokens(path, items, tokenizer=tokenizer, codebook_size=16, frame_rate=12.5)
    for name, texts in (("texts", TEXTS), ("texts_heldout", TEXTS[:1])):
        lines = [json.dumps({"id": f"t{number}", "text": text}) for number, text in enumerate(texts)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n\n")
    return {
        "vocabulary": str(folder / "vocabulary"),
        "tokens": str(folder / "tokens"),
        "texts": str(folder / "texts.jsonl"),
        "texts_heldout": str(folder / "texts_heldout.jsonl"),
        "out": str(folder / "out"),
    }


def documents(folder: Path, split: str = "train") -> list[list[int]]:
    return [row.tolist() for row in open_corpus(folder, V).documents(split)]


def test_each_format_holds_its_documents(tmp_path: Path) -> None:
    config = LmPrepareConfig(**write_inputs(tmp_path), kinds={"speech": ["statement"]})
    metrics = STAGE.execute(config)
    out = tmp_path / "out"
    first, second = utterance(0), utterance(1)
    assert documents(out / "text") == [formats.text_document(text, V).tolist() for text in TEXTS]
    assert documents(out / "text", "valid") == [formats.text_document(TEXTS[0], V).tolist()]
    assert documents(out / "speech") == [formats.speech_document(first.tokens, V).tolist()]
    assert documents(out / "asr")[1] == formats.asr_document(second.tokens, second.text, V).tolist()
    assert documents(out / "tts")[1] == formats.tts_document(second.text, second.tokens, "bob", V).tolist()
    assert documents(out / "tts", "valid") == [formats.tts_document(TEXTS[1], utterance(5).tokens, "ann", V).tolist()]
    assert metrics["text_documents"] == metrics["asr_documents"] == 2 and metrics["speech_documents"] == 1
    assert metrics["asr_tokens"] == sum(map(len, documents(out / "asr")))


def test_written_transcripts_are_read_aloud_in_words_and_stay_text_where_they_are_targets(tmp_path: Path) -> None:
    """A TTS prompt is what a synthesis will give, an ASR target what the transcripts say, unless it is asked for."""
    paid = utterance(0, text="Dr. Lee paid $5.")
    inputs = write_inputs(tmp_path, [paid])
    STAGE.execute(LmPrepareConfig(**inputs))
    said = "doctor Lee paid five dollars."
    assert documents(tmp_path / "out/tts") == [formats.tts_document(said, paid.tokens, "ann", V).tolist()]
    assert documents(tmp_path / "out/asr") == [formats.asr_document(paid.tokens, paid.text, V).tolist()]
    inputs["out"] = str(tmp_path / "other")
    STAGE.execute(LmPrepareConfig(**inputs, spoken_tts=False, spoken_asr=True))
    assert documents(tmp_path / "other/tts") == [formats.tts_document(paid.text, paid.tokens, "ann", V).tolist()]
    assert documents(tmp_path / "other/asr") == [formats.asr_document(paid.tokens, said, V).tolist()]


def test_an_interrupted_call_goes_on(tmp_path: Path) -> None:
    config = LmPrepareConfig(**write_inputs(tmp_path))
    STAGE.execute(config)
    out = tmp_path / "out"
    before = {path: path.read_bytes() for path in out.rglob("*.bin")}
    assert len(before) == 8
    kept = (out / "text/train/unit-000000.bin").stat().st_ino
    (out / "done.json").unlink()
    (out / "asr/corpus.json").unlink()  # as if it had been killed while asr was written
    (out / ".tts.abcd").mkdir()
    STAGE.execute(config)
    assert (out / "text/train/unit-000000.bin").stat().st_ino == kept
    assert not (out / ".tts.abcd").exists()
    assert {path: path.read_bytes() for path in out.rglob("*.bin")} == before


def test_tokens_of_another_tokenizer_are_refused(tmp_path: Path) -> None:
    config = LmPrepareConfig(**write_inputs(tmp_path, tokenizer="xyz"))
    with pytest.raises(UserError, match=r"train\.parquet: tokens of speech tokenizer xyz.*vocabulary is of abc"):
        STAGE.execute(config)


def test_bad_records_are_counted_and_tolerated_up_to_a_share(tmp_path: Path) -> None:
    rows = [utterance(number) for number in range(8)]
    rows += [utterance(8, text=" "), utterance(9, speaker="carol"), utterance(10, tokens=np.zeros(0, dtype=np.uint16))]
    inputs = write_inputs(tmp_path, rows)
    with pytest.raises(UserError, match=r"train\.parquet, u10: no tokens; 1 of 11 records are bad"):
        STAGE.execute(LmPrepareConfig(**inputs))
    metrics = STAGE.execute(LmPrepareConfig(**inputs, max_bad_share=0.5))
    found = {name: metrics[f"{name}_documents"] for name in ("speech", "asr", "tts")}
    assert found == {"speech": 10, "asr": 9, "tts": 8} and metrics["tts_left_out"] == 3
    record = json.loads((tmp_path / "out/tts/corpus.json").read_text())
    assert record["provenance"]["left_out"]["a speaker without a tag in the vocabulary"] == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": "a", "text": ', r"line 3: not JSON"),
        ('{"id": "a", "text": "  "}', "an empty text"),
        ('{"id": "a"}', "no field text, only id"),
        ('{"id": "a", "text": 3}', "the field text holds int, not a text"),
        ('{"id": "a", "text": null}', "an empty text"),
        ('["text"]', "a JSON list"),
        ('{"text": "\\ud83d"}', "no Unicode"),
        (b'{"text": "\xff"}', "not UTF-8"),
    ],
)
def test_bad_lines(tmp_path: Path, line: str | bytes, reason: str) -> None:
    inputs = write_inputs(tmp_path)
    with (tmp_path / "texts.jsonl").open("rb+") as file:
        content = file.read().rstrip(b"\n")
        file.seek(0)
        file.write(content + b"\n" + (line if isinstance(line, bytes) else line.encode()) + b"\n")
    with pytest.raises(UserError, match=reason):
        STAGE.execute(LmPrepareConfig(**inputs, formats=["text"]))
    metrics = STAGE.execute(LmPrepareConfig(**inputs, formats=["text"], max_bad_share=0.4))
    assert metrics["text_documents"] == 2 and metrics["text_left_out"] == 1


def test_options(tmp_path: Path) -> None:
    for options, match in (
        ({"formats": ["chat"]}, "formats.*chat"),
        ({"formats": []}, "formats"),
        ({"formats": ["text"]}, "option texts"),
        ({"formats": ["asr"]}, "option tokens"),
    ):
        with pytest.raises(UserError, match=match):
            LmPrepareConfig(vocabulary="v", out="o", **options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"no heldout\.parquet"):
        STAGE.execute(LmPrepareConfig(**write_inputs(tmp_path), valid_split="heldout"))


def test_options_on_the_command_line(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    words = [f"{key}={value}" for key, value in inputs.items()]
    assert STAGE.main([*words, "formats=[speech]", "kinds.speech=[random]"]) == 0
    assert len(documents(tmp_path / "out/speech")) == 1
    assert Vocabulary.from_pretrained(inputs["vocabulary"]).fingerprint == V.fingerprint
