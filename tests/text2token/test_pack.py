import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from lm.data.corpora import open_corpus
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import Vocabulary, build_vocabulary
from runtime.errors import UserError
from tests.support.permits import Permits, wait_for
from tests.support.sabotage import sabotaged
from text2token import pack
from text2token.packing.config import PackConfig
from text2token.synthesis.unit_file import read_unit

ROOT = Path(__file__).resolve().parents[2]


def pack_whole(reference: Path, model_folder: Path, name: str, **options: int) -> dict[str, float]:
    config = PackConfig(
        synthesised=str(reference / "whole"),
        vocabulary=str(model_folder),
        out=str(reference / f"packed-{name}"),
        **options,  # type: ignore[arg-type]
    )
    metrics: dict[str, float] = pack.STAGE.execute(config)
    return metrics


def shards_of(folder: Path) -> dict[str, bytes]:
    files = sorted(file for file in folder.rglob("unit-*") if file.suffix in (".bin", ".idx"))
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def record_of(folder: Path) -> dict[str, Any]:
    """``corpus.json``, without what tells time."""
    record: dict[str, Any] = json.loads((folder / "corpus.json").read_text())
    assert record["provenance"].pop("cost")["synthesis_tokens"] > 0
    return record


def test_packing_needs_no_particular_workers_and_units(
    reference: Path, model_folder: Path, vocabulary: Vocabulary
) -> None:
    metrics = pack_whole(reference, model_folder, "whole")
    assert pack_whole(reference, model_folder, "two", processes=2, unit_files=3) == metrics
    whole, two = (reference / f"packed-{name}/interleaved" for name in ("whole", "two"))
    records = [record_of(folder) for folder in (whole, two)]
    assert [len(record.pop("shards")["train"]) for record in records] == [1, 4] and records[0] == records[1]
    for split in ("train", "valid"):
        one, other = (list(open_corpus(folder, vocabulary).documents(split)) for folder in (whole, two))
        assert [row.tolist() for row in one] == [row.tolist() for row in other]
    check_corpus(reference, metrics, vocabulary)
    check_bytes(reference, tmp=reference / "by-megatron", vocabulary=vocabulary)


def test_three_workers_and_two_kills_change_no_byte(reference: Path, model_folder: Path, tmp_path: Path) -> None:
    inputs = [f"synthesised={reference / 'whole'}", f"vocabulary={model_folder}", "unit_files=2"]
    assert pack.STAGE.main([*inputs, f"out={tmp_path / 'unbroken'}"]) == 0
    unbroken, killed = tmp_path / "unbroken/interleaved", tmp_path / "killed/interleaved"
    permits, stage = Permits(tmp_path / "permits"), [*inputs, f"out={killed.parent}"]
    command = sabotaged(f"permits={permits.folder}", "text2token.pack", *stage, "processes=3")
    permits.give(1)
    job = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        wait_for(lambda: len(finished_shards(killed)) >= 1)
        workers = [one for one in psutil.Process(job.pid).children() if "spawn_main" in " ".join(one.cmdline())]
        assert len(workers) == 3
        workers[2].send_signal(signal.SIGKILL)
        permits.give(2)
        wait_for(lambda: len(finished_shards(killed)) >= 3)
        assert job.poll() is None
    finally:
        job.kill()
        job.wait()
    kept = {file: file.stat().st_ino for file in finished_shards(killed)}
    assert pack.STAGE.main(stage) == 0
    assert shards_of(killed) == shards_of(unbroken) and record_of(killed) == record_of(unbroken)
    assert len(shards_of(killed)) == 14 and all(file.stat().st_ino == inode for file, inode in kept.items())


def finished_shards(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("unit-*.idx") if ".try" not in file.name]


def check_bytes(reference: Path, tmp: Path, vocabulary: Vocabulary) -> None:
    """A shard is what one process that writes the documents makes."""
    from lm.data.corpora import write_corpus
    from lm.data.formats import interleaved_document

    def rows(split: str):  # type: ignore[no-untyped-def]
        for file in sorted((reference / "whole" / split).glob("*.parquet")):
            for document in read_unit(file)[0]:
                yield interleaved_document(document.pieces(), vocabulary)

    info = write_corpus(tmp, "interleaved", vocabulary, rows("train"), rows("valid"), {})
    for name in ("train", "valid"):
        for suffix in (".bin", ".idx"):
            shard = reference / f"packed-whole/interleaved/{name}/unit-000000{suffix}"
            assert (tmp / f"{name}{suffix}").read_bytes() == shard.read_bytes()
    assert info.splits == open_corpus(reference / "packed-whole/interleaved", vocabulary).splits


def check_corpus(reference: Path, metrics: dict[str, float], vocabulary: Vocabulary) -> None:
    info = open_corpus(reference / "packed-whole/interleaved", vocabulary)
    files = sorted((reference / "whole/train").glob("*.parquet"))
    sources = [document for file in files for document in read_unit(file)[0]]
    rows = list(info.documents("train"))
    begin, end = vocabulary.special("begin_of_audio"), vocabulary.special("end_of_audio")
    for row, source in zip(rows, sources, strict=True):
        pieces = source.pieces()
        assert row[-1] == vocabulary.eos
        texts, codes, at = [], [], 0
        for start, stop in zip(np.flatnonzero(row == begin), np.flatnonzero(row == end), strict=True):
            texts.append(vocabulary.decode_text(row[at:start]))
            codes.append(vocabulary.codes(row[start:stop]).tolist())
            at = stop + 1
        texts.append(vocabulary.decode_text(row[at:]))
        assert codes == [piece.tolist() for piece in pieces if not isinstance(piece, str)]
        assert [text.strip(" ") for text in texts] == [piece.strip(" ") for piece in pieces if isinstance(piece, str)]
    made = info.provenance
    assert made["realised_ratio"] == metrics["realised_ratio"] > 0 and made["spans"] == metrics["spans"]
    assert sum(made["rejected"].values()) / made["spans"] == pytest.approx(made["rejected_share"], abs=1e-4)
    assert set(made["spans_by_speaker"]) == {"ann", "bob", "carol"}
    assert info.splits["valid"].documents == 5 == metrics["valid_documents"]


def test_another_ratio_and_vocabulary_need_no_generation(
    reference: Path, model_folder: Path, tmp_path: Path, vocabulary: Vocabulary
) -> None:
    bigger = build_vocabulary(
        train_bpe(["other words a lion sleeps"] * 3, 300),
        num_speech_tokens=24,
        speech_tokenizer="abc",
        speakers=["x"],
    )
    bigger.save_pretrained(tmp_path / "vocabulary")
    assert bigger.speech_offset != vocabulary.speech_offset
    config = PackConfig(
        synthesised=str(reference / "whole"),
        vocabulary=str(tmp_path / "vocabulary"),
        ratio=0.1,
        unit_files=1,
        out=str(tmp_path / "out"),
    )
    metrics = pack.STAGE.execute(config)
    assert metrics["realised_ratio"] == pytest.approx(0.1, abs=0.02)  # 44 documents in units of four
    info = open_corpus(tmp_path / "out/interleaved", bigger)
    assert info.provenance["unused_spans"] > 0
    sources = [one for file in sorted((reference / "whole/train").glob("*.parquet")) for one in read_unit(file)[0]]
    kept = 0
    for row, source in zip(info.documents("train"), sources, strict=True):
        codes = [span.tokens.tolist() for span in source.spans if span.verdict == "good"]
        runs = np.split(row, np.flatnonzero(np.diff(bigger.is_speech(row).astype(int))) + 1)
        found = [bigger.codes(run).tolist() for run in runs if bigger.is_speech(run[0])]
        assert all(one in codes for one in found)
        kept += len(found)
    assert kept == info.provenance["spans"] - sum(info.provenance["rejected"].values()) > 0
    card = (tmp_path / "out/interleaved/README.md").read_text()
    assert "| speaker | spans | share | of the training speech |" in card and "% | unknown |" in card
    assert f"realised share of speech (eta): {metrics['realised_ratio']:.4f}" in card and "## Cost" in card


def test_pack_refuses(reference: Path, model_folder: Path, tmp_path: Path, vocabulary: Vocabulary) -> None:
    def packing(source: Path, folder: Path = model_folder) -> None:
        pack.STAGE.execute(PackConfig(synthesised=str(source), vocabulary=str(folder), out=str(tmp_path / "out")))

    with pytest.raises(UserError, match="no synthesis"):
        packing(tmp_path)
    (tmp_path / "part").mkdir()
    for name in ("units.jsonl", "done/train/pass-0-unit-000000.done.json", "train/pass-0-unit-000000.parquet"):
        (tmp_path / "part" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "part" / name).write_bytes((reference / "whole" / name).read_bytes())
    with pytest.raises(UserError, match="13 of 14 units are not finished"):
        packing(tmp_path / "part")
    from tokenizers import Tokenizer

    text_half = json.loads(vocabulary._json) | {"added_tokens": []}
    other = build_vocabulary(Tokenizer.from_str(json.dumps(text_half)), num_speech_tokens=24, speech_tokenizer="xyz")
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(UserError, match="tokens of speech tokenizer abc, but the vocabulary is of xyz"):
        packing(reference / "whole", tmp_path / "other")
    with pytest.raises(UserError, match=r"option ratio: 0.6 asked for, but 0\.2\d* of the words"):
        pack.STAGE.execute(
            PackConfig(
                synthesised=str(reference / "whole"), vocabulary=str(model_folder), ratio=0.6, out=str(tmp_path / "o")
            )
        )
