import json
import os
import random
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from lm.data.corpora import open_corpus
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import Vocabulary, build_vocabulary
from runtime.errors import UserError
from tests.support.permits import Permits, wait_for
from tests.support.sabotage import sabotaged
from text2token import inspect, pack, status, synthesize
from text2token.packing.config import PackConfig
from text2token.synthesis.unit_file import read_unit

WIDE = ["gate.min_per_letter=0", "gate.min_distinct_share=0", "max_rejected_share=1", "unit_documents=4", "passes=2"]


def write_texts(path: Path, count: int, *, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    vocabulary = ["the", "capital", "of", "france", "is", "paris", "a", "lion", "sleeps", "in", "cat", "likes", "ball"]
    texts = []
    for _ in range(count):
        sentences = [" ".join(draw.choices(vocabulary, k=draw.randint(1, 12))) for _ in range(draw.randint(1, 4))]
        texts.append(". ".join(sentences) + ".")
    rows = [json.dumps({"id": f"{path.stem}-{number}", "text": text}) for number, text in enumerate(texts)]
    path.write_text("\n".join(rows) + "\n")
    return texts


def words(tmp_path: Path, model_folder: Path, out: str, *more: str) -> list[str]:
    if not (tmp_path / "texts.jsonl").exists():
        write_texts(tmp_path / "texts.jsonl", 22)
        write_texts(tmp_path / "heldout.jsonl", 5, seed=9)
    sources = [f"texts={tmp_path / 'texts.jsonl'}", f"texts_heldout={tmp_path / 'heldout.jsonl'}"]
    return [*sources, f"model={model_folder}", f"out={tmp_path / out}", *WIDE, *more]


def unit_bytes(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("synthesis")
    assert synthesize.STAGE.main(words(folder, model_folder, "whole")) == 0
    return folder


def test_metrics_and_units(reference: Path) -> None:
    metrics = json.loads((reference / "whole/metrics.json").read_text())
    assert metrics["documents"] == 2 * 22 + 5 and len(unit_bytes(reference / "whole")) == 2 * 6 + 2
    assert 0.3 <= metrics["chosen_ratio"] < 0.4 and 0 < metrics["realised_ratio"] <= metrics["chosen_ratio"]
    assert metrics["tokens"] > 0 and metrics["tokens_per_second"] > 0


@pytest.mark.parametrize("more", [["batch_size=3"], ["processes=2", "batch_size=5"]])
def test_speed_options_change_no_byte(reference: Path, model_folder: Path, more: list[str]) -> None:
    out = f"fast-{len(more)}"
    assert synthesize.STAGE.main(words(reference, model_folder, out, *more)) == 0
    assert unit_bytes(reference / out) == unit_bytes(reference / "whole")


def test_kill_9_then_again_gives_the_same_bytes(reference: Path, model_folder: Path) -> None:
    out, permits = reference / "killed", Permits(reference / "permits")
    arguments = words(reference, model_folder, out.name)
    command = sabotaged(f"permits={permits.folder}", "text2token.synthesize", *arguments)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SPEECHWEAVE_PROGRESS": "file"}
    root = Path(synthesize.__file__).parent.parent
    for wanted in (2, 5):  # killed twice, once this many units are there
        permits.give(wanted + 1)  # more than are awaited: the kill may hit a unit that was begun
        child = subprocess.Popen(command, cwd=root, env=environment, start_new_session=True)
        wait_for(lambda wanted=wanted: len(unit_bytes_now(out)) >= wanted)  # type: ignore[misc]
        assert child.poll() is None
        child.kill()
        child.wait()
        permits.withdraw()
        (out / "train").mkdir(parents=True, exist_ok=True)
        (out / "train/pass-0-unit-000000.try1-0abcd.parquet").write_bytes(b"half a file")
    kept = {name: (out / name).stat().st_ino for name in unit_bytes_now(out)}
    assert 5 <= len(kept) < 14
    again = words(reference, model_folder, out.name, "batch_size=7")
    assert synthesize.STAGE.main(again) == 0
    assert unit_bytes(out) == unit_bytes(reference / "whole")
    assert all((out / name).stat().st_ino == inode for name, inode in kept.items())  # nothing twice


def unit_bytes_now(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("pass-*.parquet") if ".try" not in path.name]


def pack_whole(reference: Path, model_folder: Path, name: str, **options: int) -> dict[str, float]:
    config = PackConfig(
        synthesised=str(reference / "whole"),
        vocabulary=str(model_folder),
        out=str(reference / f"packed-{name}"),
        **options,  # type: ignore[arg-type]
    )
    metrics: dict[str, float] = pack.STAGE.execute(config)
    return metrics


def test_packing_needs_no_particular_workers(reference: Path, model_folder: Path, vocabulary: Vocabulary) -> None:
    pack_whole(reference, model_folder, "whole")
    metrics = pack_whole(reference, model_folder, "two", processes=2, unit_files=3)
    folders = [reference / f"packed-{name}/interleaved" for name in ("whole", "two")]
    for name in ("train.bin", "train.idx", "valid.bin", "valid.idx"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    records = [json.loads((folder / "corpus.json").read_text()) for folder in folders]
    costs = [record["provenance"].pop("cost") for record in records]
    assert records[0] == records[1] and costs[0]["synthesis_tokens"] > 0
    check_corpus(reference, metrics, vocabulary)
    check_bytes(reference, tmp=reference / "by-megatron", vocabulary=vocabulary)


def check_bytes(reference: Path, tmp: Path, vocabulary: Vocabulary) -> None:
    """The merged shards are what Megatron's own builder writes."""
    from lm.data.corpora import write_corpus
    from lm.data.formats import interleaved_document

    def rows(split: str):  # type: ignore[no-untyped-def]
        for file in sorted((reference / "whole" / split).glob("*.parquet")):
            for document in read_unit(file)[0]:
                yield interleaved_document(document.pieces(), vocabulary)

    info = write_corpus(tmp, "interleaved", vocabulary, rows("train"), rows("valid"), {})
    for name in ("train.bin", "train.idx", "valid.bin", "valid.idx"):
        assert (tmp / name).read_bytes() == (reference / "packed-whole/interleaved" / name).read_bytes()
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
    assert f"realised share of speech (eta): {metrics['realised_ratio']:.4f}" in card and "## Cost" in card


def test_documents_can_be_read_and_the_status_told(
    reference: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inspect.main([str(reference / "whole"), "--documents", "3", "--skip", "1"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("== texts-") == 3 and "⟦" in printed and " tokens: " in printed
    source = read_unit(sorted((reference / "whole/train").glob("*.parquet"))[0])[0][1]
    plain = re.sub("‹[^›]*›", "", printed.split("\n")[1]).replace("⟦", "").replace("⟧", "")
    assert plain == source.text
    assert inspect.main([str(reference / "whole"), "--id", "texts-3"]) == 0
    assert capsys.readouterr().out.startswith("== texts-3: ")
    assert inspect.main([str(reference / "whole"), "--rejected"]) == 0 and "‹text: " in capsys.readouterr().out
    assert inspect.main([str(reference / "whole"), "--id", "none"]) == 2
    assert "no such document" in capsys.readouterr().err
    pack_whole(reference, model_folder, "whole")
    packed = str(reference / "packed-whole/interleaved")
    assert inspect.main([packed, "--vocabulary", str(model_folder), "--documents", "2"]) == 0
    assert "speech:" in capsys.readouterr().out
    assert status.main([str(reference / "whole")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "units    14 of 14 done, 0 at work, 0 given up" and "49 documents" in lines[1]
    assert status.main([str(reference)]) == 2 and "no job" in capsys.readouterr().err


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


def test_mistakes(model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more, message in (
        (["speakers.dora=1"], "'dora': no tag for it"),
        (["model=" + str(tmp_path)], "no vocabulary"),
        (["texts=" + str(tmp_path / "none")], "no such file"),
        (["temperature=-1"], "option temperature"),
        (["bulk.executor=moon"], "option bulk.executor"),
        (["spans.ratio=2"], "spans.ratio"),
        (["dtype=float8"], "option dtype"),
        (["gate.max_per_letter=0", "gate.allowance=0", "max_rejected_share=0.2"], "spans fail the gate"),
    ):
        arguments = words(tmp_path, model_folder, "out", *more)
        kept = [word for word in arguments if word.split("=")[0] not in {w.split("=")[0] for w in more}] + more
        assert synthesize.STAGE.main(kept) == 2
        assert message in capsys.readouterr().err


def test_bad_lines_are_counted_up_to_a_share(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = words(tmp_path, model_folder, "out")
    with (tmp_path / "texts.jsonl").open("a") as file:
        file.write('{"id": "x", "text": "  "}\n{"id": "x", "te\n')
    assert synthesize.STAGE.main([*arguments, "max_bad_share=0.5"]) == 0
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["bad_lines"] == 4 and metrics["documents"] == 49  # two passes
    assert synthesize.STAGE.main(arguments) == 2
    assert "texts.jsonl, line 23: an empty text" in capsys.readouterr().err


@pytest.mark.slow
def test_a_broken_model_is_named_by_workers_too(
    model_folder: Path, tmp_path: Path, vocabulary: Vocabulary, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    vocabulary.save_pretrained(broken)
    (broken / "config.json").write_text((model_folder / "config.json").read_text())
    (broken / "model.safetensors").write_bytes(b"nothing")
    arguments = [word for word in words(tmp_path, model_folder, "out") if not word.startswith("model=")]
    assert synthesize.STAGE.main([*arguments, f"model={broken}", "processes=2"]) == 2
    assert "no loadable model" in capsys.readouterr().err
