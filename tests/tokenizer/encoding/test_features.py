"""Laws of stored features: the encoder's own vectors once and in order, kills change no byte, bad input is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from corpus.audio.files import read_audio
from corpus.features import StoredFeatures
from corpus.manifest import read_manifest, to_cuts
from runtime.artefact import file_digest
from runtime.errors import UserError
from tests.support.odd_audio import check_warnings, write_odd_audio
from tokenizer import features
from tokenizer.encoding import unit_features
from tokenizer.encoding.config import FeaturesConfig
from tokenizer.hearing.load import load_encoder
from tokenizer.model import SpeechTokenizer

SPLITS = ("train", "heldout_sentence", "heldout_voice")


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def artefact(make_tokenizer: Callable[..., SpeechTokenizer], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer") / "artefact"
    make_tokenizer().save_pretrained(folder)
    return folder


def features_config(artefact: Path, corpus: Path, out: Path, **options: Any) -> FeaturesConfig:
    options = {"layer": "front", "unit_utterances": 16} | options
    return FeaturesConfig(encoder=str(artefact), corpus=str(corpus), out=str(out), **options)


@pytest.fixture(scope="module")
def stored(artefact: Path, spoken: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("features")
    features.STAGE.execute(features_config(artefact, spoken, out))
    return out


def digests(folder: Path) -> dict[str, str]:
    """Of all shards and indexes."""
    files = [*folder.glob("*.parquet"), *folder.glob("*/*.npy"), folder / "features.json"]
    return {str(file.relative_to(folder)): file_digest(file) for file in files}


def test_vectors_are_the_encoders_own_in_the_manifests_order(artefact: Path, spoken: Path, stored: Path) -> None:
    encoder, found = load_encoder(artefact, "front"), StoredFeatures(stored)
    record = found.record
    assert (record.encoder, record.layer, record.positions_per_second, record.width, record.sample_rate) == (
        encoder.fingerprint,
        "front",
        12.5,
        32,
        16000,
    )
    assert record.splits == {"train": 60, "heldout_sentence": 6, "heldout_voice": 4}
    ends: dict[str, list[tuple[int, int]]] = {}
    for split in SPLITS:
        utterances = read_manifest(spoken / f"{split}.jsonl").utterances
        for own, said in zip(found.utterances(split), utterances, strict=True):
            assert (own.id, own.text, own.speaker, own.kind) == (said.id, said.text, said.speaker, said.kind)
            vectors_TE, audio = found.vectors(own), read_audio(said.audio)
            assert len(vectors_TE) == own.frames == encoder.num_positions(len(audio)) and vectors_TE.dtype == np.float16
            assert own.duration == len(audio) / 16000
            expected = encoder.encode([audio])[0].numpy()
            np.testing.assert_allclose(vectors_TE.astype(np.float32), expected, rtol=2e-3, atol=1e-4)
            ends.setdefault(own.shard, []).append((own.first, own.first + own.frames))
    assert len(ends) == 4 + 1 + 1
    for shard, rows in ends.items():  # every row of a shard is one utterance's
        rows.sort()
        assert [start for start, _ in rows] == [0, *(end for _, end in rows[:-1])]
        assert rows[-1][1] == len(np.load(stored / shard, mmap_mode="r"))
    metrics = json.loads((stored / "metrics.json").read_text())
    assert metrics["positions"] == sum(rows[-1][1] for rows in ends.values()) and metrics["bad_records"] == 0


def test_features_killed_and_resumed_are_the_same_bytes(
    artefact: Path, spoken: Path, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    whole = unit_features.encode_unit_features

    def encode_two(attempt: Any, *rest: Any) -> dict[str, Any]:
        if len(done) == 2:
            attempt.path("npy").write_bytes(b"half a shard")
            raise Killed
        done.append(attempt.unit.name)
        return whole(attempt, *rest)

    monkeypatch.setattr(unit_features, "encode_unit_features", encode_two)
    config = features_config(artefact, spoken, tmp_path / "broken")
    with pytest.raises(Killed):
        features.STAGE.execute(config)
    assert not (tmp_path / "broken/features.json").exists()
    monkeypatch.setattr(
        unit_features, "encode_unit_features", lambda *rest: done.append(rest[0].unit.name) or whole(*rest)
    )
    monkeypatch.setattr("tokenizer.encoding.feature_encoding.write_feature_record", raises(Killed))
    with pytest.raises(Killed):  # once more, between the shards and the record
        features.STAGE.execute(config)
    monkeypatch.undo()
    features.STAGE.execute(config)
    assert len(done) == len(set(done)) == 4 + 1 + 1 and not (tmp_path / "broken/parts").exists()
    assert digests(tmp_path / "broken") == digests(stored)


def raises(error: type[BaseException]) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


def test_shar_gives_the_same_vectors_and_layers_differ(
    artefact: Path, spoken: Path, stored: Path, tmp_path: Path
) -> None:
    (tmp_path / "shar/train").mkdir(parents=True)
    to_cuts(read_manifest(spoken / "train.jsonl")).to_shar(
        tmp_path / "shar/train", fields={"recording": "flac"}, shard_size=25
    )
    features.STAGE.execute(features_config(artefact, tmp_path / "shar", tmp_path / "out"))
    expected, found = StoredFeatures(stored), StoredFeatures(tmp_path / "out")
    by_id = {own.id: expected.vectors(own) for own in expected.utterances("train")}
    assert len(list((tmp_path / "out/train").glob("*.npy"))) == 3 and found.record.splits == {"train": 60}
    for own in found.utterances("train"):  # FLAC keeps 16 bits of a sample
        np.testing.assert_allclose(found.vectors(own), by_id[own.id], rtol=0.02, atol=0.02)
    config = features_config(artefact, spoken, tmp_path / "back", splits=["heldout_voice"], layer="")
    features.STAGE.execute(config)
    back = StoredFeatures(tmp_path / "back").record
    assert back.layer == "back" and back.encoder not in (expected.record.encoder, artefact.name)


def test_odd_audio_is_encoded_warned_of_or_listed(artefact: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    odd = write_odd_audio(tmp_path / "odd")
    rows = [{"audio_filepath": str(file), "duration": 1.0, "id": file.name} for file in odd]
    for name, rate, seconds in (("8khz", 8000, 1.0), ("silent", 16000, 1.0), ("long", 16000, 3.0), ("ok", 16000, 0.1)):
        samples = random.normal(0, 0.0 if name == "silent" else 0.1, int(rate * seconds))
        soundfile.write(tmp_path / f"{name}.wav", samples, rate)
        rows.append({"audio_filepath": f"{name}.wav", "duration": seconds, "id": name})
    rows += [{"audio_filepath": "lost.wav", "duration": 1.0, "id": "lost"}]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = features_config(artefact, tmp_path, tmp_path / "out", max_seconds=2.0, max_bad_share=0.5)
    metrics = features.STAGE.execute(config)
    assert (metrics["utterances"], metrics["bad_records"]) == (5, 3)
    check_warnings(tmp_path / "out", metrics)
    found = StoredFeatures(tmp_path / "out")
    counts = {own.id: own.frames for own in found.utterances("train")}
    assert counts == {odd[0].name: 13, odd[1].name: 13, "8khz": 13, "silent": 13, "ok": 2}
    reasons = [json.loads(line)["reason"] for line in (tmp_path / "out/bad_records.jsonl").open()]
    for part in ("above max_seconds=2", "no audio file", "not readable as audio"):
        assert sum(part in reason for reason in reasons) == 1, reasons
    with pytest.raises(UserError, match=r"3 of 8 records are bad.*max_bad_share=0\.2"):
        features.STAGE.execute(features_config(artefact, tmp_path, tmp_path / "no", max_bad_share=0.2, max_seconds=2.0))


def test_vectors_that_float16_cannot_hold_are_bad_records(
    artefact: Path, spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = load_encoder(artefact, "front")
    with torch.no_grad():
        large.front.encoder.layers[-1].norm_out.bias[3] = 1e5  # type: ignore[union-attr]
    monkeypatch.setattr(unit_features, "load_encoder", lambda *_: large)
    with pytest.raises(UserError, match="not finite in float16"):
        features.STAGE.execute(features_config(artefact, spoken, tmp_path / "out", splits=["heldout_voice"]))


def test_what_does_not_belong_is_named(artefact: Path, spoken: Path, stored: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="layer top of an artefact"):
        features.STAGE.execute(features_config(artefact, spoken, tmp_path / "out", layer="top"))
    with pytest.raises(UserError, match="nowhere"):
        StoredFeatures(tmp_path / "nowhere")
    found = StoredFeatures(stored)
    with pytest.raises(UserError, match=r"no features of a split valid.*it has train, heldout_sentence"):
        list(found.utterances("valid"))
    copy = tmp_path / "copy"
    (copy / "heldout_voice").mkdir(parents=True)
    for name in ("features.json", "heldout_voice.parquet"):
        (copy / name).write_bytes((stored / name).read_bytes())
    torn = StoredFeatures(copy)
    last = list(torn.utterances("heldout_voice"))[-1]
    np.save(copy / last.shard, np.load(stored / last.shard)[:3])
    with pytest.raises(UserError, match=rf"{last.shard}.*3 rows, but utterance {last.id}"):
        torn.vectors(last)
    np.save(copy / last.shard, np.zeros((3, 7), dtype=np.float16))
    with pytest.raises(UserError, match=r"shape \(3, 7\), not rows of 32 float16"):
        StoredFeatures(copy).vectors(last)
    (copy / "heldout_voice.parquet").write_bytes(b"torn")
    with pytest.raises(UserError, match="no index of features"):
        list(StoredFeatures(copy).utterances("heldout_voice"))
