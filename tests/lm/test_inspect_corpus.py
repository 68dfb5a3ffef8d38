"""The corpus tool counts what is there, tells formats by ids alone, and holds few digests however many documents."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.data.corpora import write_corpus
from lm.data.corpus_statistics import CorpusStatistics, DuplicateCounter
from lm.data.formats import ChatTurn, chat_document, text_document
from lm.data.loss_mask import document_format, loss_mask
from lm.inspect_corpus import main


def test_formats_are_told_by_the_ids(tiny: Any) -> None:
    for form in ("text", "speech", "asr", "tts", "interleaved"):
        assert all(document_format(tiny.document(form, number), tiny.vocabulary) == form for number in range(20))
    assert document_format(chat_document([ChatTurn(user="ka", reply="ki")], tiny.vocabulary), tiny.vocabulary) == "chat"


def test_counts(tiny: Any) -> None:
    documents = [tiny.document(form, number) for form in ("text", "tts") for number in range(10)]
    documents += documents[:3] + documents[:2]
    found = CorpusStatistics.of(iter(documents), tiny.vocabulary)
    assert {name: counts.documents for name, counts in found.formats.items()} == {"text": 15, "tts": 10}
    assert found.total.tokens == sum(map(len, documents))
    assert found.total.speech_tokens == sum(int(tiny.vocabulary.is_speech(row).sum()) for row in documents)
    assert found.formats["text"].special_tokens == 15  # EOS
    assert found.duplicates.is_exact
    distinct = len({row.tobytes() for row in documents})
    assert found.duplicates.duplicates == len(documents) - distinct >= 5
    times, first = found.duplicates.most_frequent(1)[0]
    assert times == 3 and first in (0, 1)
    lengths = [len(row) for row in documents]
    assert [entry.tokens for entry in found.longest] == sorted(lengths, reverse=True)[:5]
    assert [entry.tokens for entry in found.shortest] == sorted(lengths)[:5]
    assert all(len(documents[entry.number]) == entry.tokens for entry in (*found.longest, *found.shortest))
    assert sum(found.lengths.values()) == len(documents)
    for start, count in found.lengths.items():
        assert count == sum(start <= length < 2 * start for length in lengths)


def test_duplicates_beyond_the_limit_are_estimated() -> None:
    """20,000 documents, each fourth the copy of another: at most 500 digests held, and the estimate is near."""
    counter = DuplicateCounter(limit=500)
    for number in range(20_000):
        counter.add(number, np.array([number - 1 if number % 4 == 3 else number], dtype=np.int32))
        assert len(counter.seen) <= 500
    assert not counter.is_exact
    assert counter.duplicates == pytest.approx(5_000, rel=0.25)


def test_the_command(
    tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [tiny.document("interleaved", number) for number in range(12)]
    documents += [text_document("ka " * 90, tiny.vocabulary)] * 2
    write_corpus(tmp_path / "data/mixed", "interleaved", tiny.vocabulary, documents, documents[:2], {"from": "here"})
    tiny.vocabulary.save_pretrained(tmp_path / "vocabulary/vocabulary")  # found near by
    assert main([str(tmp_path / "data/mixed"), "--show", "longest", "--documents", "1", "--codes", "2"]) == 0
    shown = capsys.readouterr().out
    assert "interleaved" in shown and "text" in shown and "exact duplicates: 1 (7.14%)" in shown
    assert f"no. 12: {len(documents[12])} tokens" in shown
    assert main([str(tmp_path / "data/mixed"), "--documents", "2"]) == 0
    assert "speech:" in capsys.readouterr().out
    tts = [tiny.document("tts", 0)]
    write_corpus(tmp_path / "data/tts", "tts", tiny.vocabulary, tts, [], {})
    mask = loss_mask(tts[0], tiny.vocabulary)
    assert main([str(tmp_path / "data/tts")]) == 0  # no terminal: targets stand between marks
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert f"{mask.sum()} targets of the loss (▸ ◂)" in shown
    assert "<|tts|>" in shown.split("▸")[-2] and shown.split("▸")[-1].startswith("<|begin_of_audio|>")
    assert shown.split("◂")[-2].endswith("<|end_of_audio|> <|endoftext|>")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main([str(tmp_path / "data/tts"), "--loss", "speech"]) == 0
    shown = capsys.readouterr().out
    assert "targets of the loss (green)" in shown and "▸" not in shown
    assert "\x1b[2m<|tts|>" in shown and "\x1b[32m‹" in shown and "\x1b[2m<|begin_of_audio|>" in shown
    monkeypatch.delenv("FORCE_COLOR")
    assert main([str(tmp_path / "data/mixed"), "--json", "--split", "valid"]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert report["total"]["documents"] == 2 and report["provenance"] == {"from": "here"}
    assert sum(report["lengths"].values()) == 2 and report["duplicates"] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["nowhere"], "no LM corpus"), (["corpus", "--split", "valid"], "no documents in split valid"),
     (["corpus", "--vocabulary", "corpus"], "no vocabulary"), (["alone"], "give --vocabulary")],
)  # fmt: skip
def test_mistakes_are_told(
    arguments: list[str], words: str, tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    row = [tiny.document("text", 0)]
    write_corpus(tmp_path / "corpus", "text", tiny.vocabulary, row, [], {})
    write_corpus(tmp_path / "deep/er/and/deeper/alone", "text", tiny.vocabulary, row, [], {})
    tiny.vocabulary.save_pretrained(tmp_path / "vocabulary")
    if arguments == ["alone"]:
        arguments = ["deep/er/and/deeper/alone"]
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


def test_clips_are_counted_and_named(vectors: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(vectors.folder / "interleaved")
    assert main([folder, "--documents", "1"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "100 clips (features) in 1 files" in shown and "12 wide, 12.5 a second, 1 to a position" in shown
    assert re.search(r"‹\d vectors›", shown) and "clip 1 of train document 0" in shown
    assert not re.search(r"▸[^◂]*(vectors|begin_of_audio)", shown)  # neither is a target
    assert main([folder, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    clips = found["clips"]
    assert (clips["clips"], clips["kind"], clips["shards"]) == (100, "features", 1)
    assert clips["hours"] == pytest.approx(found["total"]["speech_tokens"] / 12.5 / 3600)
