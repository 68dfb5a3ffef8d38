"""lm.prepare speech=vectors: transcripts of clips where they lie, and records that cannot be used, each named."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from corpus.audio.archives import cut_line, write_archive
from corpus.audio.files import read_audio, write_audio
from corpus.manifest import Utterance, read_manifest, write_manifest
from lm.data import formats
from lm.data.clips import FeatureShards
from lm.data.corpora import CorpusInfo, open_corpus
from lm.data.text_tokenizers import train_bpe
from lm.data.vector_config import VectorsConfig
from lm.data.vocabulary import VECTORS, Vocabulary, build_vocabulary
from lm.prepare import STAGE, LmPrepareConfig
from lm.vocabulary import STAGE as VOCABULARY
from lm.vocabulary import VocabularyConfig
from runtime.artefact import file_digest
from runtime.errors import UserError
from tests.support.commands import Commands
from tests.support.permits import Permits, wait_for
from tests.support.small_speech_model import make_speech_tokenizer
from tokenizer.features import STAGE as FEATURES
from tokenizer.hearing.base import SpeechEncoder
from tokenizer.hearing.load import load_encoder

ROOT = Path(__file__).parents[2]
TEXTS = ["the capital of france is paris", "the lion sleeps", "what is the capital of france"]


def tone(seconds: float, rate: int = 16_000, loudness: float = 0.3) -> np.ndarray:
    return (loudness * np.sin(2 * np.pi * 300 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tokenizer/, vocabulary/, and corpus/: train.jsonl with loose files, heldout/ as Shar."""
    root = tmp_path_factory.mktemp("world")
    make_speech_tokenizer().save_pretrained(root / "tokenizer")
    rows = []
    for number, (text, rate) in enumerate(zip(TEXTS, (16_000, 44_100, 16_000), strict=True)):
        path = root / f"corpus/audio/{number}.{'wav' if number else 'flac'}"
        write_audio(path, tone(0.6 + 0.3 * number, rate), rate)
        rows.append(
            Utterance(f"u{number}", path, 0.6 + 0.3 * number, text, "ann", kind=("fact", "story", "fact")[number])
        )
    rows.append(Utterance("part", rows[2].audio, 0.4, "the lion", "ann", kind="story", offset=0.5))
    write_manifest(root / "corpus/train.jsonl", rows)
    (root / "corpus/heldout").mkdir()
    with write_archive(root / "corpus/heldout/a.tar") as archive:
        lengths = [archive.add(f"k{number}", tone(0.5 + number)).samples for number in range(2)]
    lines = [cut_line(f"k{n}", length, text=TEXTS[n], speaker="bob") for n, length in enumerate(lengths)]
    (root / "corpus/heldout/a.cuts.jsonl").write_text("".join(lines))
    made = VOCABULARY.execute(
        VocabularyConfig(num_speech_tokens=1, transcripts=str(root / "corpus/train.jsonl"), out=str(root / "v"))
    )
    assert made["speech_tokens"] == 1
    return root


def config(world: Path, out: Path, corpus: str = "", **more: Any) -> LmPrepareConfig:
    vectors = {"encoder": str(world / "tokenizer"), "stride": 2, "max_seconds": 5.0, **more.pop("vectors", {})}
    given = {
        "vocabulary": str(world / "v/vocabulary"),
        "corpus": (corpus or str(world / "corpus")).strip(),
        "out": str(out),
    }
    options = {"speech": "vectors", "formats": ["asr"], "valid_split": "heldout", **given, **more}
    return LmPrepareConfig(vectors=VectorsConfig(**vectors), **options)


def heard(info: CorpusInfo, split: str, document: int) -> list[np.ndarray]:
    """The audio of a document's clips, read as training reads it: by byte range."""
    table = info.clip_table(split)
    clips = []
    for span in table.of(document):
        with table.shard(int(span["shard"])).open("rb") as file:
            file.seek(int(span["offset"]))
            audio, rate = soundfile.read(io.BytesIO(file.read(int(span["bytes"]))), dtype="float32")
        assert len(audio) == span["samples"]
        clips.append(audio if rate == 16_000 else read_audio(table.shard(int(span["shard"]))))
    return clips


def test_documents_name_their_clips_and_have_their_positions(world: Path, tmp_path: Path) -> None:
    metrics = STAGE.execute(config(world, tmp_path / "out"))
    v = Vocabulary.from_pretrained(world / "v/vocabulary")
    assert (v.num_speech_tokens, v.speech_fingerprint) == (1, VECTORS)
    encoder: SpeechEncoder = load_encoder(world / "tokenizer")
    info = open_corpus(tmp_path / "out/asr", v)
    assert info.clips is not None and (info.clips.encoder, info.clips.stride) == (encoder.fingerprint, 2)
    assert info.clips.source == str(world / "tokenizer") and info.clips.kind == "audio"
    assert metrics["asr_documents"] == 4 and metrics["asr_valid_documents"] == 2 and metrics["asr_left_out"] == 0
    texts = [*TEXTS, "the lion"]
    wanted = [tone(0.6), read_audio(world / "corpus/audio/1.wav"), tone(1.2), tone(1.2)[8000:14400]]
    for split, transcripts, clips in (("train", texts, wanted), ("valid", TEXTS[:2], [tone(0.5), tone(1.5)])):
        for number, document in enumerate(info.documents(split)):
            (audio,) = heard(info, split, number)
            np.testing.assert_allclose(audio, clips[number], atol=1e-4)
            positions = -(-encoder.num_positions(len(audio)) // 2)
            codes = np.zeros(positions, dtype=np.uint16)
            assert document.tolist() == formats.asr_document(codes, transcripts[number], v).tolist()
    tables = [info.clip_table(split) for split in ("train", "valid")]
    shards = {table.shard(number).name for table in tables for number in range(table.num_files)}
    assert shards == {"0.flac", "1.wav", "2.wav", "000000.tar", "a.tar"}  # only the segment was copied
    assert [str(one.relative_to(tmp_path / "out")) for one in (tmp_path / "out/clips").rglob("*.*")] == [
        "clips/train/000000.tar"
    ]
    assert (tmp_path / "out/clips/train/000000.tar").stat().st_size < 60_000


def files_of(out: Path) -> dict[str, str]:
    """Digests of the corpora, the segments and the list of bad records; without the files of the jobs."""
    found = [out / "bad_records.jsonl", *(path for path in out.glob("*/**/*") if path.is_file())]
    of_jobs = {"logs", "done", "journals", "units.jsonl"}
    kept = [path for path in found if not of_jobs & {*path.relative_to(out).parts}]
    return {str(path.relative_to(out)): file_digest(path) for path in kept}


def test_a_killed_search_for_clips_is_resumed_with_the_same_bytes(
    world: Path, tmp_path: Path, commands: Commands
) -> None:
    """By any number of processes; all but the first two units are done by the second call."""
    rows = read_manifest(world / "corpus/train.jsonl").utterances
    audio = [one.audio for one in rows]
    many = [
        Utterance(f"m{number}", audio[number % 3], 0.4, f"the lion {number}", "ann", offset=0.02 * (number % 9))
        for number in range(20)
    ]
    many[7] = replace(many[7], duration=9.0)  # longer than its file
    corpus = tmp_path / "corpus"
    write_manifest(corpus / "train.jsonl", [*rows[:3], *many])
    given = {"corpus": str(corpus), "valid_split": "", "unit_clips": 3, "max_bad_share": 0.1}
    for name, processes in (("one", 1), ("two", 2)):
        metrics = STAGE.execute(config(world, tmp_path / name, **given, processes=processes))
        assert (metrics["asr_documents"], metrics["asr_left_out"]) == (22, 1)
    whole = files_of(tmp_path / "one")
    assert sum(name.startswith("clips/train/") for name in whole) == 7 and whole == files_of(tmp_path / "two")
    (bad,) = (json.loads(line) for line in (tmp_path / "one/bad_records.jsonl").read_text().splitlines())
    assert "duration of 9.000 s" in bad["reason"] and Path(bad["place"]).samefile(audio[1])
    permits, out = Permits(tmp_path / "permits"), tmp_path / "killed"
    words = [f"{key}={value}" for key, value in given.items()] + ["formats=[asr]", "speech=vectors"]
    words += [f"vocabulary={world}/v/vocabulary", f"vectors.encoder={world}/tokenizer", "vectors.stride=2"]
    permits.give(2)
    words += ["vectors.max_seconds=5.0", f"out={out}"]
    job = commands.sabotaged(f"permits={permits.folder}", "lm.prepare", *words)
    wait_for(lambda: len([*(out / "clips/train/done").glob("*.done.json")]) == 2)
    job.kill()
    job.wait()
    assert not (out / "asr").exists()
    STAGE.execute(config(world, out, **given))
    assert files_of(out) == whole


def test_stored_features_give_the_same_ids(world: Path, tmp_path: Path) -> None:
    words = [f"encoder={world / 'tokenizer'}", f"corpus={world / 'corpus'}", "splits=[train,heldout]"]
    assert FEATURES.main([*words, f"out={tmp_path / 'features'}"]) == 0
    stored = {"encoder": "", "features": str(tmp_path / "features")}
    metrics = STAGE.execute(config(world, tmp_path / "stored", corpus=" ", vectors=stored))
    STAGE.execute(config(world, tmp_path / "heard"))
    v = Vocabulary.from_pretrained(world / "v/vocabulary")
    one, other = (open_corpus(tmp_path / name / "asr", v) for name in ("stored", "heard"))
    assert metrics["asr_documents"] == 4 and metrics["asr_valid_documents"] == 2
    for split in ("train", "valid"):
        assert [row.tolist() for row in one.documents(split)] == [row.tolist() for row in other.documents(split)]
    assert one.clips is not None and other.clips is not None and one.clips.kind == "features"
    assert one.clips.fingerprint == other.clips.fingerprint
    vectors = FeatureShards(one.clip_table("train")).read(0, 0)
    (wanted,) = load_encoder(world / "tokenizer").encode([heard(other, "train", 0)[0]])
    np.testing.assert_allclose(vectors, wanted.numpy(), atol=2e-3, rtol=2e-3)
    with pytest.raises(UserError, match=r"u2: longer than vectors.max_seconds=1 \(1\.2 s\)"):
        STAGE.execute(config(world, tmp_path / "long", corpus=" ", vectors={**stored, "max_seconds": 1.0}))
    with pytest.raises(UserError, match="no features of a split validation"):
        STAGE.execute(config(world, tmp_path / "no", corpus=" ", vectors=stored, valid_split="validation"))


def test_tarred_audio_of_nemo_is_read_in_its_place(world: Path, tmp_path: Path) -> None:
    folder, rows = tmp_path / "corpus/train", []
    folder.mkdir(parents=True)
    for number in range(2):
        with tarfile.open(folder / f"audio_{number}.tar", "w") as tar:
            for name in (f"{number}-a.flac", f"{number}-b.flac"):
                tar.add(world / "corpus/audio/0.flac", name)
                row = {"audio_filepath": name, "duration": 0.6, "text": f"the {name[:3]}", "shard_id": number}
                rows.append(row | {"id": name[:3]})
    rows[1] |= {"offset": 0.2, "duration": 0.3}
    rows.append({"audio_filepath": "1-c.flac", "duration": 0.6, "text": "lost", "shard_id": 1, "id": "lost"})
    (folder / "tarred_audio_manifest.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"corpus": str(tmp_path / "corpus"), "valid_split": "", "kinds": {}}
    with pytest.raises(UserError, match=r"audio_1\.tar, 1-c\.flac: not in the archive; 1 of 5"):
        STAGE.execute(config(world, tmp_path / "strict", **given))
    metrics = STAGE.execute(config(world, tmp_path / "out", **given, max_bad_share=0.2))
    info = open_corpus(tmp_path / "out/asr", Vocabulary.from_pretrained(world / "v/vocabulary"))
    assert metrics["asr_documents"] == 4 and metrics["asr_left_out"] == 1
    for number, seconds in enumerate((0.6, 0.3, 0.6, 0.6)):
        (audio,) = heard(info, "train", number)
        start = 3200 if number == 1 else 0
        np.testing.assert_allclose(audio, tone(0.6)[start : start + round(seconds * 16_000)], atol=1e-4)


def test_a_cut_of_several_supervisions_is_that_many_segments(world: Path, tmp_path: Path) -> None:
    folder = tmp_path / "corpus/train"
    folder.mkdir(parents=True)
    rising = tone(1.0) * np.linspace(0.2, 1, 16_000, dtype=np.float32)
    with write_archive(folder / "a.tar") as archive:
        archive.add("k", rising)
    cut = json.loads(cut_line("k", 16_000, text="", speaker="bob"))
    parts = [("one", 0.1, 0.3, "the lion"), ("two", 0.5, 0.4, "sleeps")]
    whole = cut["supervisions"][0]
    cut["supervisions"] = [
        whole | {"id": id, "start": start, "duration": seconds, "text": text} for id, start, seconds, text in parts
    ]
    (folder / "a.cuts.jsonl").write_text(json.dumps(cut) + "\n")
    STAGE.execute(config(world, tmp_path / "out", corpus=str(tmp_path / "corpus"), valid_split=""))
    v = Vocabulary.from_pretrained(world / "v/vocabulary")
    info = open_corpus(tmp_path / "out/asr", v)
    for number, (_, start, seconds, text) in enumerate(parts):
        (audio,) = heard(info, "train", number)
        begin = round(start * 16_000)
        np.testing.assert_allclose(audio, rising[begin : begin + round(seconds * 16_000)], atol=1e-4)
        assert v.decode_text(info.document("train", number)) == text


def test_kinds_are_chosen(world: Path, tmp_path: Path) -> None:
    metrics = STAGE.execute(config(world, tmp_path / "out", kinds={"asr": ["story"]}, valid_split=""))
    assert metrics["asr_documents"] == 2 and metrics["asr_valid_documents"] == 0


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", "0.flac: no such audio file"),
        ("broken", "0.flac: not readable as audio"),
        ("silent", "0.flac: silence"),
        ("long", r"0.flac: longer than vectors.max_seconds=5 \(90.0 s\)"),
        ("another", r"0.flac: another length than its record says \(2.000 s of audio, not 0.600 s\)"),
        ("wordless", "u0: no transcript"),
    ],
)
def test_a_record_that_cannot_be_used_is_named_and_counted(
    world: Path, tmp_path: Path, fault: str, message: str
) -> None:
    shutil.copytree(world / "corpus", tmp_path / "corpus")
    audio, manifest = tmp_path / "corpus/audio/0.flac", tmp_path / "corpus/train.jsonl"
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    if fault == "missing":
        audio.unlink()
    elif fault == "broken":
        audio.write_bytes(b"fLaC" + bytes(100))
    elif fault == "silent":
        write_audio(audio, np.zeros(9600, dtype=np.float32))
    elif fault == "long":
        write_audio(audio, tone(90.0))
        rows[0]["duration"] = 90.0
    elif fault == "another":
        write_audio(audio, tone(2.0))
    else:
        rows[0]["text"] = ""
    manifest.write_text("\n".join(json.dumps(row) for row in rows))
    given = str(tmp_path / "corpus")
    with pytest.raises(UserError, match=rf"{message}.*1 of 4 records are bad"):
        STAGE.execute(config(world, tmp_path / "strict", corpus=given))
    metrics = STAGE.execute(config(world, tmp_path / "out", corpus=given, max_bad_share=0.3))
    assert metrics["asr_documents"] == 3 and metrics["asr_left_out"] == 1


def test_mistakes(world: Path, tmp_path: Path) -> None:
    for more, message in (
        ({"formats": ["asr", "tts"]}, "option formats.*vectors can only be read"),
        ({"corpus": "", "speech": "tokens"}, "option tokens"),
        ({"vectors": {"encoder": ""}}, "option vectors.encoder"),
        ({"vectors": {"features": "f"}}, "not both"),
        ({"tokens": "t"}, "option tokens"),
    ):
        with pytest.raises(UserError, match=message):
            config(world, tmp_path / "out", **more)
    with pytest.raises(UserError, match="no speech of a split validation"):
        STAGE.execute(config(world, tmp_path / "out", valid_split="validation"))
    with pytest.raises(UserError, match="no speech encoder"):
        STAGE.execute(config(world, tmp_path / "out", vectors={"encoder": str(world / "corpus")}))
    codes = build_vocabulary(train_bpe(TEXTS, 280), num_speech_tokens=8, speech_tokenizer="abc")
    codes.save_pretrained(tmp_path / "codes")
    with pytest.raises(UserError, match=r"a speech block of 8 tokens.*num_speech_tokens=1"):
        STAGE.execute(config(world, tmp_path / "out", vocabulary=str(tmp_path / "codes")))
    with pytest.raises(UserError, match=r"tokens.*num_speech_tokens=1"):
        VocabularyConfig(out="v", texts="texts")
    with pytest.raises(UserError, match="option tokens"):
        VocabularyConfig(out="v", texts="texts", tokens="tokens", num_speech_tokens=1)
