"""Laws of the bulk engine over many and over strange documents, with a model that answers at once."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks.bulk import InstantBackend, InstantSynthesis, run_engine, write_texts
from lm.data.corpora import open_corpus
from lm.data.vocabulary import Vocabulary
from runtime.bulk.job import UnitFolder
from text2token import pack, synthesize
from text2token.packing.config import PackConfig
from text2token.synthesis.unit_file import SpokenDocument, read_unit
from text2token.synthesis.unit_synthesis import SynthesisWork


def made(folder: Path) -> list[SpokenDocument]:
    job = UnitFolder(folder)
    return [document for unit, _ in job.records() for document in read_unit(job.path(unit, "parquet"))[0]]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, vocabulary: Vocabulary) -> Path:
    folder = tmp_path_factory.mktemp("many")
    vocabulary.save_pretrained(folder / "model")
    run_engine(InstantSynthesis, write_texts(folder, 2400, 47), folder / "out", str(folder / "model"))
    return folder


def test_the_share_of_speech_is_as_asked(many: Path) -> None:
    documents = made(many / "out")
    words = sum(len(document.text.split()) for document in documents)
    spoken = sum(span.num_words for document in documents for span in document.spans if span.verdict == "good")
    assert len(documents) == 2400 and spoken / words == pytest.approx(0.3, rel=0.005)


def test_spans_never_touch_and_the_text_is_kept(many: Path) -> None:
    import pyarrow.parquet as pq

    texts = pq.read_table(many / "texts").to_pylist()
    documents = made(many / "out")
    for document, source in zip(documents, texts, strict=True):
        assert (document.id, document.text) == (source["id"], source["text"])
        edges = [-1, *(edge for span in document.spans for edge in (span.start, span.end))]
        assert all(at < later for at, later in pairwise(edges))
        for before, after in pairwise(document.spans):
            assert document.text[before.end : after.start].strip()  # a word at least
        spoken = iter(document.text[span.start : span.end] for span in document.spans if span.verdict == "good")
        assert (
            "".join(piece if isinstance(piece, str) else next(spoken) for piece in document.pieces()) == source["text"]
        )


def test_a_users_mess_ends_well(
    tmp_path: Path, model_folder: Path, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {
        "hebrew": "שלום עולם, זה טקסט ארוך יותר. " * 5,
        "emoji": "a 🎈 lion 🏳️‍🌈 sleeps 👩‍👩‍👧 in the 🏠 house " * 5,
        "nul": "one \u0000 two \u0000\u0000 three \u0007 four five six seven eight nine ten",
        "chinese": "狮子在房子里睡觉。猫喜欢红球，非常喜欢。" * 5,
        "long": "the lion sleeps in the house and the cat likes the red ball. " * 17_000,
        "one word": "lion" * 20_000,
        "code": "def f(x):\n    return x  # https://example.org/a?b=c\n" * 9,
        "lines": "a\r\nb\u2028c\u0085d\n\n\n e  \t f",
    }
    good = [json.dumps({"id": id, "text": text}).encode() for id, text in texts.items()]
    bad = [
        b"broken {",
        b'{"text": ""}',
        b'{"text": "\\ud800"}',
        b"\xff\xfe\x00",
        b"[" * 50_000,
        b"null",
        b'{"text": 1}',
    ]
    assert len(texts["long"]) > 1_000_000
    mixed = [line for pair in zip(good, [*bad, b""], strict=True) for line in pair]
    (tmp_path / "texts.jsonl").write_bytes(b"\n".join(mixed) + b'\n{"id": "torn", "te')

    monkeypatch.setattr(SynthesisWork, "open_backend", lambda self, device, vocabulary: InstantBackend(vocabulary))
    arguments = [f"texts={tmp_path / 'texts.jsonl'}", f"model={model_folder}", "max_rejected_share=1"]
    assert synthesize.STAGE.main([*arguments, f"out={tmp_path / 'few'}", "max_bad_share=0.3"]) == 2  # told, not crashed
    assert synthesize.STAGE.main([*arguments, f"out={tmp_path / 'out'}", "max_bad_share=0.9"]) == 0
    listed = [json.loads(line) for line in (tmp_path / "out/bad_records.jsonl").read_text().splitlines()]
    assert len(listed) == len(bad) + 1 and all(record["reason"] and ", line " in record["place"] for record in listed)
    documents = {document.id: document for document in made(tmp_path / "out")}
    assert {id: document.text for id, document in documents.items()} == texts
    config = PackConfig(synthesised=str(tmp_path / "out"), vocabulary=str(model_folder), out=str(tmp_path / "packed"))
    pack.STAGE.execute(config)
    rows = open_corpus(tmp_path / "packed/interleaved", vocabulary).documents("train")
    for row, (id, text) in zip(rows, texts.items(), strict=True):
        spans = [span for span in documents[id].spans if span.verdict == "good"]
        runs = np.split(row, np.flatnonzero(np.diff(vocabulary.is_speech(row).astype(int))) + 1)
        assert [run.tolist() for run in runs if vocabulary.is_speech(run[0])] == [
            vocabulary.speech_ids(span.tokens).tolist() for span in spans
        ]
        outside = [vocabulary.decode_text(run) for run in runs if not vocabulary.is_speech(run[0])]
        spoken = [text[span.start : span.end] for span in spans]
        rebuilt = "".join(part for pair in zip(outside, [*spoken, ""], strict=True) for part in pair)
        assert "".join(rebuilt.split(" ")) == "".join(text.split(" "))  # but for the space beside a span
