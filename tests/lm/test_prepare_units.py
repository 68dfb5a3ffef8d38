"""Corpora of lm.prepare are shards written in units: killed, cut or shared among workers, they are the same."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpus.tokens import TokenisedUtterance, write_tokens
from lm.data import formats
from lm.data.corpora import open_corpus
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import build_vocabulary
from lm.prepare import STAGE
from tests.support.permits import Permits, wait_for
from tests.support.sabotage import sabotaged

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [f"the lion number {number} sleeps in the house. " * (1 + number % 5) for number in range(60)]
V = build_vocabulary(train_bpe(TEXTS, 320), num_speech_tokens=16, speech_tokenizer="abc", speakers=["ann"])
SMALL = "unit_megabytes=0.0005"  # 500 bytes: some documents


def write_world(folder: Path) -> list[str]:
    """Texts as lines, compressed lines and Parquet, and tokenised speech of three parts; the words of lm.prepare."""
    V.save_pretrained(folder / "vocabulary")
    rows = [{"text": text, "id": f"t{number}", "language": "en"} for number, text in enumerate(TEXTS)]
    lines = [json.dumps(row).encode() + b"\n" for row in rows]
    (folder / "texts/more").mkdir(parents=True)
    (folder / "texts/a.jsonl").write_bytes(b"".join(lines[:20]))
    (folder / "texts/b.jsonl.gz").write_bytes(gzip.compress(b"".join(lines[20:40]), mtime=0))
    pq.write_table(pa.Table.from_pylist(rows[40:]), folder / "texts/more/c.parquet", row_group_size=3)
    (folder / "held_out.jsonl").write_bytes(b"".join(lines[:2]))
    for part in range(3):
        speech = [
            TokenisedUtterance(f"u{number}", (np.arange(4 + number) % 16).astype(np.uint16), TEXTS[number], 1.0, "ann")
            for number in range(10 * part, 10 * part + 10)
        ]
        for split in ("train", "heldout_sentence")[: 1 if part else 2]:
            path = folder / f"tokens/{split}/{part:06d}.parquet"
            write_tokens(path, speech, tokenizer="abc", codebook_size=16, frame_rate=12.5)
    return [
        f"vocabulary={folder / 'vocabulary'}",
        f"tokens={folder / 'tokens'}",
        f"texts={folder / 'texts'}",
        f"texts_heldout={folder / 'held_out.jsonl'}",
    ]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def unbroken(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken") / "out"
    assert STAGE.main([*words, f"out={out}", SMALL]) == 0
    return out


def shard_bytes(out: Path) -> dict[str, bytes]:
    files = sorted(file for file in out.rglob("unit-*") if file.suffix in (".bin", ".idx"))
    return {file.relative_to(out).as_posix(): file.read_bytes() for file in files}


def records(out: Path) -> dict[str, Any]:
    return {form: json.loads((out / form / "corpus.json").read_text()) for form in ("text", "speech", "asr", "tts")}


def test_the_documents_are_those_of_the_sources_in_order(unbroken: Path) -> None:
    corpus = open_corpus(unbroken / "text", V)
    assert [row.tolist() for row in corpus.documents("train")] == [
        formats.text_document(text, V).tolist() for text in TEXTS
    ]
    assert len(corpus.shards("train")) > 8 and corpus.splits["valid"].documents == 2
    assert corpus.document("train", 41).tolist() == formats.text_document(TEXTS[41], V).tolist()
    speech = open_corpus(unbroken / "speech", V)
    assert len(speech.shards("train")) == 3 and [len(row) for row in speech.documents("train")] == [
        len(formats.speech_document((np.arange(4 + number) % 16).astype(np.uint16), V)) for number in range(30)
    ]
    assert all((unbroken / "text" / f"{shard.name}.bin").is_file() for shard in corpus.shards("train"))


def test_three_workers_and_two_kills_change_no_byte(words: list[str], unbroken: Path, tmp_path: Path) -> None:
    out, permits = tmp_path / "out", Permits(tmp_path / "permits")
    stage = ["lm.prepare", *words, f"out={out}", SMALL, "processes=3"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SPEECHWEAVE_PROGRESS": "file"}
    permits.give(3)
    job = subprocess.Popen(sabotaged(f"permits={permits.folder}", *stage), cwd=ROOT, env=environment)
    try:
        wait_for(lambda: len(finished_units(out)) >= 3)
        workers = [one for one in psutil.Process(job.pid).children() if "spawn_main" in " ".join(one.cmdline())]
        assert len(workers) == 3 and job.poll() is None
        workers[1].send_signal(signal.SIGKILL)
        permits.give(3)
        wait_for(lambda: len(finished_units(out)) >= 6)
        assert job.poll() is None
    finally:
        job.kill()
        job.wait()
    kept = {file: file.stat().st_ino for file in finished_units(out)}
    torn = out / "text/train/unit-000000.try1-0abcd.bin"
    torn.write_bytes(b"half a shard")
    assert STAGE.main([word for word in stage[1:] if word != "processes=3"]) == 0
    assert shard_bytes(out) == shard_bytes(unbroken) and records(out) == records(unbroken)
    assert not torn.exists() and all(file.stat().st_ino == inode for file, inode in kept.items())  # nothing twice


def finished_units(out: Path) -> list[Path]:
    return [file for file in out.rglob("unit-*.idx") if ".try" not in file.name]


def test_the_size_of_units_changes_no_sample(words: list[str], unbroken: Path, run_ranks: Any, tmp_path: Path) -> None:
    """What is trained on, and in what order, follows from the documents, not from the shards that they lie in."""
    assert STAGE.main([*words, f"out={tmp_path / 'whole'}", "formats=[text]"]) == 0

    def samples(root: Path, packing: str) -> list[list[int]]:
        from lm.data.dataset import build_training_data
        from lm.training.parallel import ParallelConfig
        from lm.training.processes import open_processes

        corpus = open_corpus(root / "text", V)
        cache = tmp_path / f"cache-{root.name}-{packing}"
        options = {"num_samples": 90, "sequence_length": 48, "seed": 3, "cache": cache, "packing": packing}
        with open_processes(ParallelConfig()):
            data = build_training_data({"text": corpus}, {"text": 1.0}, V, **options)
            return [data[number]["tokens"].tolist() for number in range(90)]

    for packing in ("stream", "best_fit"):
        one, other = (
            run_ranks(lambda root=root, packing=packing: samples(root, packing), 1)[0]
            for root in (unbroken, tmp_path / "whole")
        )
        assert one == other and len({tuple(row) for row in one}) > 30


def test_a_units_failure_is_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    """A damaged shard of tokens fails its unit alone; when it is whole again, only that unit is done."""
    words, part = write_world(tmp_path), tmp_path / "tokens/train/000001.parquet"
    (tmp_path / "tokens/done.json").write_text('{"fingerprint": "of tokenizer.encode"}')
    stage = [*words, "unit_megabytes=0.0001", "formats=[speech]"]
    assert STAGE.main([*stage, f"out={tmp_path / 'clean'}"]) == 0
    whole = part.read_bytes()
    part.write_bytes(whole[:4] + bytes(200) + whole[204:])
    out = tmp_path / "out"
    assert STAGE.main([*stage, f"out={out}"]) == 2 and not (out / "speech/corpus.json").exists()
    kept = {file: file.stat().st_ino for file in finished_units(out)}
    assert len(kept) == 3
    part.write_bytes(whole)
    assert STAGE.main([*stage, f"out={out}"]) == 0 and shard_bytes(out) == shard_bytes(tmp_path / "clean")
    assert all(file.stat().st_ino == inode for file, inode in kept.items())


def test_more_tolerance_goes_on_with_what_was_written(words: list[str], tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS[:20]) + "{broken\n")
    stage = [words[0], f"texts={texts}", f"out={tmp_path / 'out'}", SMALL, "formats=[text]"]
    assert STAGE.main(stage) == 2
    kept = {file: file.stat().st_ino for file in finished_units(tmp_path / "out")}
    assert len(kept) > 3
    listed = [json.loads(line) for line in (tmp_path / "out/bad_records.jsonl").read_text().splitlines()]
    assert [one["place"] for one in listed] == [f"{texts}/a.jsonl, line 21"]
    assert STAGE.main([*stage, "max_bad_share=0.1"]) == 0
    assert {file: file.stat().st_ino for file in finished_units(tmp_path / "out")} == kept
    assert not list(tmp_path.glob("out.previous-*"))
