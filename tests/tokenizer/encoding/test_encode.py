"""Laws of the bulk encoding: each utterance once and in order, kills change no byte, shards give the same tokens."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import signal
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from corpus.audio.room_simulation import RoomConfig
from corpus.manifest import AudioUtterance, BadRecord, Manifest, Utterance, read_manifest, to_cuts
from corpus.tokens import TokenisedUtterance, read_tokens
from runtime.artefact import file_digest
from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.job import UnitFolder
from runtime.bulk.workers import ConfiguredWork, run_worker
from runtime.errors import UserError
from runtime.record_warnings import collected_warnings
from runtime.stage import Run
from tests.support.odd_audio import SECONDS, check_warnings, write_odd_audio
from tests.support.permits import Permits, Rationed
from tests.support.tokenizer_runs import encode_config
from tokenizer import encode
from tokenizer.encoding import unit_encoder
from tokenizer.encoding.bulk_speech import TARRED_MANIFEST, UnitAudioReader, find_split
from tokenizer.encoding.speech_job import find_splits
from tokenizer.model import SpeechTokenizer


class Killed(BaseException):
    pass


def test_encode_writes_each_utterance_once_in_order(trained: Path, spoken: Path, tmp_path: Path) -> None:
    metrics = encode.STAGE.execute(encode_config(trained, spoken, tmp_path / "tokens"))
    tokenizer = SpeechTokenizer.from_pretrained(trained / "artefact")
    assert metrics["utterances"] == 70 and metrics["bad_records"] == 0
    assert {file.name for file in (tmp_path / "tokens").glob("*.parquet")} == {
        f"{split}.parquet" for split in ("train", "heldout_sentence", "heldout_voice")
    }
    speech = read_tokens(tmp_path / "tokens/train.parquet")
    manifest = read_manifest(spoken / "train.jsonl")
    assert speech.tokenizer == tokenizer.fingerprint and speech.codebook_size == 32 and speech.frame_rate == 12.5
    for item, utterance in zip(speech.items, manifest.utterances, strict=True):
        assert (item.id, item.text, item.speaker, item.kind) == (
            utterance.id,
            utterance.text,
            utterance.speaker,
            utterance.kind,
        )
        assert len(item.tokens) == -(-round(item.duration * 16000) // 1280)
    assert metrics["tokens"] == sum(len(item.tokens) for item in read_tokens(tmp_path / "tokens").items)


def test_encode_in_rooms_makes_other_takes_of_the_same_speech(trained: Path, spoken: Path, tmp_path: Path) -> None:
    def take(name: str, seed: int, share: float) -> list[TokenisedUtterance]:
        config = encode_config(trained, spoken, tmp_path / name)
        config.seed, config.room = seed, RoomConfig(share=share)
        encode.STAGE.execute(config)
        return read_tokens(tmp_path / name / "train.parquet").items

    plain, first, again, second = take("a", 1, 0.0), take("b", 1, 1.0), take("c", 1, 1.0), take("d", 2, 1.0)
    for one in (first, again, second):
        assert [(item.id, item.text, item.speaker) for item in one] == [(i.id, i.text, i.speaker) for i in plain]
    assert all(item.duration >= before.duration for item, before in zip(first, plain, strict=True))
    told = [[item.tokens.tolist() for item in one] for one in (plain, first, again, second)]
    assert told[1] == told[2]
    assert told[0] != told[1] != told[3]


def test_encode_killed_and_resumed_equals_unbroken(
    trained: Path, spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode.STAGE.execute(encode_config(trained, spoken, tmp_path / "unbroken"))
    done: list[str] = []
    whole = unit_encoder.encode_unit

    def encode_two(attempt: UnitAttempt, *rest: Any) -> dict[str, Any]:
        if len(done) == 2:
            raise Killed
        done.append(attempt.unit.name)
        return whole(attempt, *rest)

    monkeypatch.setattr(unit_encoder, "encode_unit", encode_two)
    with pytest.raises(Killed):
        encode.STAGE.execute(encode_config(trained, spoken, tmp_path / "broken"))
    monkeypatch.setattr(unit_encoder, "encode_unit", lambda *rest: done.append(rest[0].unit.name) or whole(*rest))
    encode.STAGE.execute(encode_config(trained, spoken, tmp_path / "broken"))
    assert len(done) == len(set(done)) == 4 + 1 + 1 and not (tmp_path / "broken/parts").exists()
    assert same_tokens(tmp_path / "unbroken", tmp_path / "broken")


def same_tokens(one: Path, other: Path) -> bool:
    names = [f"{split}.parquet" for split in ("train", "heldout_sentence", "heldout_voice")]
    return [file_digest(one / name) for name in names] == [file_digest(other / name) for name in names]


def test_five_kills_of_encoding_workers_change_no_byte(trained: Path, spoken: Path, tmp_path: Path) -> None:
    encode.STAGE.execute(encode_config(trained, spoken, tmp_path / "unbroken"))
    config = encode_config(trained, spoken, tmp_path / "broken")
    config.unit_utterances = 3
    parts = [unit for split in find_splits(config) for unit in split.units]
    job = UnitFolder.create(tmp_path / "broken/parts", parts)
    fork = multiprocessing.get_context("fork")  # NeMo is imported already
    permits = Permits(tmp_path / "permits")
    work = Rationed(ConfiguredWork(config, unit_encoder.open_encoder), permits)

    def start(number: int) -> Any:
        worker = fork.Process(target=lambda: list(run_worker(UnitFolder(job.root), work, number, 2)), daemon=True)
        worker.start()
        return worker

    workers = [start(0), start(1)]
    for kill in range(5):
        wanted = job.num_done() + 1 + kill % 2
        permits.give(3)  # one or two are awaited, so the kill may hit a worker in the midst of a unit
        while job.num_done() < wanted:
            assert all(worker.is_alive() for worker in workers)
            time.sleep(0.002)
        for number in (0, 1) if kill == 3 else (kill % 2,):  # once both of them
            os.kill(workers[number].pid, signal.SIGKILL)
            workers[number].join()
            workers[number] = start(number)
    for worker in workers:
        worker.kill()
        worker.join()
    assert 5 <= job.num_done() < len(parts)
    encode.STAGE.run(config, Run(tmp_path / "broken"))
    assert same_tokens(tmp_path / "unbroken", tmp_path / "broken")


def as_shar(spoken: Path, folder: Path) -> None:
    """The training split as Shar, 25 cuts a shard."""
    cuts = to_cuts(read_manifest(spoken / "train.jsonl"))
    (folder / "train").mkdir(parents=True)
    cuts.to_shar(folder / "train", fields={"recording": "flac"}, shard_size=25)


def as_tarred(spoken: Path, folder: Path) -> None:
    """The training split as NeMo's tarred audio, in three tars; one record is not in its tar."""
    (folder / "train").mkdir(parents=True)
    utterances = read_manifest(spoken / "train.jsonl").utterances
    rows = []
    for shard in range(3):
        with tarfile.open(folder / f"train/audio_{shard}.tar", "w") as tar:
            for said in utterances[shard::3]:
                tar.add(said.audio, said.audio.name)
                row = {"audio_filepath": said.audio.name, "duration": said.duration, "text": said.text, "id": said.id}
                rows.append(row | {"speaker": said.speaker, "shard_id": shard})
    rows.append({"audio_filepath": "lost.wav", "duration": 1.0, "text": "red", "id": "lost", "shard_id": 1})
    (folder / "train/tarred_audio_manifest.json").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(("make", "shards", "bad"), [(as_shar, 3, 0), (as_tarred, 3, 1)])
def test_shards_of_speech_give_the_same_tokens(
    trained: Path, spoken: Path, tmp_path: Path, make: Any, shards: int, bad: int
) -> None:
    encode.STAGE.execute(encode_config(trained, spoken, tmp_path / "plain"))
    expected = {item.id: item for item in read_tokens(tmp_path / "plain/train.parquet").items}
    make(spoken, tmp_path / "sharded")
    metrics = encode.STAGE.execute(encode_config(trained, tmp_path / "sharded", tmp_path / "out", max_bad_share=0.05))
    assert metrics["bad_records"] == bad and metrics["utterances"] == 60
    listed = [json.loads(line) for line in (tmp_path / "out/bad_records.jsonl").read_text().splitlines()]
    assert [record["reason"] for record in listed] == ["not in the archive"] * bad
    assert len(list((tmp_path / "out/train").glob("*.parquet"))) == shards
    found = read_tokens(tmp_path / "out/train").items
    assert {item.id for item in found} == set(expected) and len(found) == 60
    for item in found:
        np.testing.assert_array_equal(item.tokens, expected[item.id].tokens)
        assert (item.text, item.speaker) == (expected[item.id].text, expected[item.id].speaker)


def test_a_torn_shard_costs_itself_only(trained: Path, spoken: Path, tmp_path: Path) -> None:
    as_shar(spoken, tmp_path / "sharded")
    tar = tmp_path / "sharded/train/recording.000001.tar"
    tar.write_bytes(tar.read_bytes()[:1000])
    config = encode_config(trained, tmp_path / "sharded", tmp_path / "out")
    with pytest.raises(UserError, match="1 of 3 units given up: train/000001"):
        encode.STAGE.execute(config)
    config.bulk.max_failed_share = 0.5
    metrics = encode.STAGE.execute(config)
    assert metrics["failed_units"] == 1 and metrics["utterances"] == 35
    (tmp_path / "empty/train").mkdir(parents=True)
    with pytest.raises(UserError, match="a folder without shards of speech"):
        encode.STAGE.execute(encode_config(trained, tmp_path / "empty", tmp_path / "out2"))


def test_manifest_segments_untranscribed_speech_and_headerless_audio(
    trained: Path, spoken: Path, tmp_path: Path
) -> None:
    one, other = (u.audio for u in read_manifest(spoken / "train.jsonl").utterances[:2])
    samples = [soundfile.read(file)[0] for file in (one, other)]
    soundfile.write(tmp_path / "both.wav", np.concatenate(samples), 16000)
    (tmp_path / "a.raw").write_bytes(bytes(32000))
    first, second = (len(part) / 16000 for part in samples)
    rows = [
        {"audio_filepath": "both.wav", "offset": 0, "duration": first, "id": "first"},
        {"audio_filepath": "both.wav", "offset": first, "duration": second, "id": "second"},
        {"audio_filepath": "both.wav", "duration": first, "id": "no segment"},
        {"audio_filepath": "a.raw", "duration": 1.0, "id": "raw"},
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    metrics = encode.STAGE.execute(encode_config(trained, tmp_path, tmp_path / "out", max_bad_share=0.5))
    assert (metrics["utterances"], metrics["bad_records"], metrics["failed_units"]) == (2, 2, 0)
    found = {item.id: item for item in read_tokens(tmp_path / "out/train.parquet").items}
    assert {id: (item.text, round(item.duration, 3)) for id, item in found.items()} == {
        "first": ("", round(first, 3)),
        "second": ("", round(second, 3)),
    }
    tokenizer = SpeechTokenizer.from_pretrained(trained / "artefact")
    alone = tokenizer.encode([part.astype(np.float32) for part in samples])
    for item, tokens in zip(found.values(), alone, strict=True):
        np.testing.assert_array_equal(item.tokens, tokens)
    reasons = sorted(json.loads(line)["reason"] for line in (tmp_path / "out/bad_records.jsonl").open())
    assert "but a duration of" in reasons[0] and "not readable as audio" in reasons[1]


def test_segments_in_a_tar_and_names_as_paths(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    noise = np.random.default_rng(1).normal(0, 0.1, 32000)
    soundfile.write(tmp_path / "a.wav", noise, 16000, subtype="FLOAT")
    with tarfile.open(tmp_path / "train/audio_0.tar", "w") as tar:
        for name in ("./a.wav", "deep/b.wav", "srv/c.wav"):
            tar.add(tmp_path / "a.wav", name)
    names = ["a.wav", "a.wav", "a.wav", "./deep/../deep/b.wav", "/srv/c.wav", "lost.wav", "lost.wav"]
    names += [str(tmp_path / "train/deep/b.wav")]
    rows = [
        {"audio_filepath": name, "offset": 0.5 * (at % 3), "duration": 0.5, "id": str(at), "shard_id": 0}
        for at, name in enumerate(names)
    ]
    lines = [*rows, rows[0], {"audio_filepath": "a.wav", "duration": 0.5, "id": "whole"}]
    (tmp_path / "train" / TARRED_MANIFEST).write_text("".join(json.dumps(row) + "\n" for row in lines))
    split = find_split(tmp_path, "train", unit_utterances=9, max_bad_share=0)
    assert split is not None
    items = list(UnitAudioReader(16000, RoomConfig(), 1).read(split.units[0]))
    good = {item.id: item.audio for item in items if isinstance(item, AudioUtterance)}
    assert sorted(good) == ["0", "1", "2", "3", "4", "7"]
    for id, audio in good.items():
        start = 8000 * (int(id) % 3)
        np.testing.assert_allclose(audio, noise[start : start + 8000], atol=1e-6)
    reasons = sorted(item.reason.split(",")[0] for item in items if isinstance(item, BadRecord))
    assert reasons == ["2.000 s of audio", "id '0' was used before", "not in the archive", "not in the archive"]


def test_kinds_of_a_manifest_are_encoded_alone(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(1).normal(0, 0.1, 8000), 16000)
    kinds = ["question", "reply", "fragment", "question"]
    rows = [
        {"audio_filepath": "a.wav", "duration": 0.5, "text": "red", "id": str(at), "kind": kind}
        for at, kind in enumerate(kinds)
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    bounds: dict[str, Any] = {"unit_utterances": 9, "max_bad_share": 0}
    for asked, ids in (((), "0123"), (("question",), "03"), (("fragment", "reply"), "12")):
        split = find_split(tmp_path, "train", kinds=asked, **bounds)
        assert split is not None and split.manifest is not None
        assert [id for unit in split.units for id in unit.work["ids"]] == list(ids)
        assert [utterance.id for utterance in split.manifest.utterances] == list(ids)
    with pytest.raises(UserError, match=r"kinds story, user.* of kind fragment, question, reply"):
        find_split(tmp_path, "train", kinds=["story", "user"], **bounds)
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / TARRED_MANIFEST).write_text("")
    with pytest.raises(UserError, match="option kinds"):
        find_split(tmp_path, "shards", kinds=["question"], **bounds)


def test_supervisions_of_a_cut_are_segments(tmp_path: Path) -> None:
    from lhotse import CutSet, SupervisionSegment

    noise = np.random.default_rng(1).normal(0, 0.1, 32000)
    soundfile.write(tmp_path / "a.wav", noise, 16000)
    said = Utterance("a", tmp_path / "a.wav", 2.0, "x", "ann")
    cuts = []
    for id, times in {"both": (0.0, 1.0), "overlap": (0.0, 0.5)}.items():
        (cut,) = to_cuts(Manifest(tmp_path, [replace(said, id=id)], []))
        cut.supervisions = [
            SupervisionSegment(f"{id}{at}", id, start, 1.0, text=f"text {at}") for at, start in enumerate(times)
        ]
        cuts.append(cut)
    (tmp_path / "train").mkdir()
    CutSet.from_cuts(cuts).to_shar(tmp_path / "train", fields={"recording": "flac"})
    split = find_split(tmp_path, "train", unit_utterances=9, max_bad_share=0)
    assert split is not None
    *parts, bad = UnitAudioReader(16000, RoomConfig(), 1).read(split.units[0])
    assert isinstance(bad, BadRecord) and "supervisions overlap0 and overlap1 overlap" in bad.reason
    assert len({part.id for part in parts if isinstance(part, AudioUtterance)}) == 2
    for at, part in enumerate(parts):
        assert isinstance(part, AudioUtterance) and part.text == f"text {at}"
        np.testing.assert_allclose(part.audio, noise[at * 16000 : (at + 1) * 16000], atol=1e-4)


@pytest.mark.parametrize(
    ("excess", "tolerance"), [(0.0, 0.0), (0.2, 0.25), (0.2, 0.1), (0.4, 0.25), (0.4, 0.5), (3, 5)]
)
@pytest.mark.parametrize("kind", ["manifest", "tarred", "shar"])
def test_a_duration_beyond_the_audio_counts_up_to_the_tolerance(
    tmp_path: Path, kind: str, excess: float, tolerance: float
) -> None:
    """Of any input: what is there comes, and nothing is put in the place of what is missing."""
    from lhotse import CutSet

    noise = np.random.default_rng(1).normal(0, 0.1, 32000)
    soundfile.write(tmp_path / "a.wav", noise, 16000)
    said = Utterance("a", tmp_path / "a.wav", 2.0 + excess, "x", "ann")
    row = {"audio_filepath": "a.wav", "duration": said.duration, "text": "x", "id": "a", "speaker": "ann"}
    if kind == "manifest":
        (tmp_path / "train.jsonl").write_text(json.dumps(row))
    else:
        (tmp_path / "train").mkdir()
    if kind == "tarred":
        with tarfile.open(tmp_path / "train/audio_0.tar", "w") as tar:
            tar.add(tmp_path / "a.wav", "a.wav")
        (tmp_path / "train" / TARRED_MANIFEST).write_text(json.dumps(row | {"shard_id": 0}))
    if kind == "shar":
        cuts = CutSet.from_cuts(to_cuts(Manifest(tmp_path, [replace(said, duration=2.0)], [])))
        cuts.to_shar(tmp_path / "train", fields={"recording": "flac"})
        (file,) = (tmp_path / "train").glob("cuts.*.jsonl.gz")
        cut = json.loads(gzip.decompress(file.read_bytes()))
        cut["duration"] = cut["supervisions"][0]["duration"] = said.duration
        file.write_bytes(gzip.compress(json.dumps(cut).encode()))
    split = find_split(tmp_path, "train", unit_utterances=9, max_bad_share=0)
    assert split is not None
    (one,) = UnitAudioReader(16000, RoomConfig(), 1, tolerance).read(split.units[0])
    if excess > tolerance:
        assert isinstance(one, BadRecord) and "2.000 s of audio, but a duration of" in one.reason
        return
    assert isinstance(one, AudioUtterance) and (one.id, one.text, one.speaker) == ("a", "x", "ann")
    np.testing.assert_allclose(one.audio, noise, atol=1e-4)


@pytest.mark.parametrize("kind", ["manifest", "tarred"])
def test_audio_that_looks_wrong_is_counted_and_audio_without_a_header_is_bad(
    trained: Path, tmp_path: Path, kind: str
) -> None:
    files = write_odd_audio(tmp_path / "odd")
    rows = [
        {"audio_filepath": f"odd/{file.name}", "duration": SECONDS, "text": "red", "id": file.name} for file in files
    ]
    corpus = tmp_path / "corpus"
    (corpus / "train").mkdir(parents=True)
    if kind == "manifest":
        rows = [row | {"audio_filepath": str(tmp_path / str(row["audio_filepath"]))} for row in rows]
        (corpus / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with tarfile.open(corpus / "train/audio_0.tar", "w") as tar:
            for file in files:
                tar.add(file, f"odd/{file.name}")
        (corpus / "train" / TARRED_MANIFEST).write_text("".join(json.dumps(row) + "\n" for row in rows))
    metrics = encode.STAGE.execute(encode_config(trained, corpus, tmp_path / "out", max_bad_share=0.5))
    assert (metrics["utterances"], metrics["bad_records"], metrics["failed_units"]) == (2, 1, 0)
    check_warnings(tmp_path / "out", metrics)


def test_cuts_that_look_wrong_are_warned_of(tmp_path: Path) -> None:
    """A cut of all channels; one of a single channel has nothing to cancel."""
    from lhotse import Recording

    reader = UnitAudioReader(16000, RoomConfig(), seed=0)
    cancels, scale, _ = write_odd_audio(tmp_path)
    with collected_warnings() as seen:
        for file in (cancels, scale):
            assert isinstance(reader._read_cut(Recording.from_file(file).to_cut(), f"cut {file.name}"), AudioUtterance)
        assert isinstance(reader._read_cut(to_cuts_of_channel(cancels), "cut one channel"), AudioUtterance)
    assert [message.split(":")[0] for message in seen] == ["cut cancels.wav", "cut scale.wav"]


def to_cuts_of_channel(file: Path) -> Any:
    from lhotse import Recording

    return Recording.from_file(file).to_cut().to_mono()[0]
