"""The stages end to end on made-up speech: it learns, resumes bit for bit, encodes exactly once, counts what is bad."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corpus.audio.mel import LogMel
from corpus.audio.room_simulation import RoomConfig
from corpus.manifest import Utterance, read_manifest, to_cuts, write_manifest
from corpus.tokens import TokenisedUtterance, read_tokens
from runtime.artefact import file_digest
from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.job import UnitFolder
from runtime.bulk.workers import run_worker
from runtime.errors import UserError
from runtime.fit import FittingLoop
from runtime.stage import Run
from tests.support.permits import Permits, Rationed
from tokenizer import encode, evaluate, train
from tokenizer.config import AugmentConfig, DataConfig, QuantiserConfig, TokenizerModelConfig
from tokenizer.data import bulk_encoding as units
from tokenizer.data.examples import Examples
from tokenizer.data.labels import Labels
from tokenizer.model import SpeechTokenizer

STEPS = 150


class Killed(BaseException):
    pass


def train_config(corpus: Path, out: Path, **options: Any) -> train.TokenizerTrainConfig:
    steps, checkpoint_every = options.pop("steps", STEPS), options.pop("checkpoint_every", 1000)
    return train.TokenizerTrainConfig(
        corpus=str(corpus),
        out=str(out),
        device="cpu",
        model=options.pop("model", TokenizerModelConfig(width=64, subsampling_channels=16, num_labels=40, chunk=4)),
        vq=options.pop(
            "vq", QuantiserConfig(codebook_size=32, start_step=steps // 2, commitment=1.0, kmeans_batches=2)
        ),
        augment=AugmentConfig(warp=0.0, stretch=0.05, tilt=0.1, frequency_masks=0, time_masks=0),
        data=options.pop("data", DataConfig(batch_seconds=12)),
        fit=train.TokenizerFitConfig(
            steps=steps,
            learning_rate=3e-3,
            warmup_steps=min(10, steps),
            checkpoint_every=checkpoint_every,
        ),
        **options,
    )


@pytest.fixture(scope="module")
def trained(spoken: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "tokenizer"
    train.STAGE.execute(train_config(spoken, out))
    return out


def test_it_learns_to_read_its_own_tokens(trained: Path) -> None:
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["wer_with_vq"] < 0.2 and metrics["wer_without_vq"] < 0.2
    assert metrics["frame_rate_hz"] == 12.5 and metrics["bits_per_second"] == 62.5
    assert metrics["codebook_use"] > 0.5 and metrics["perplexity"] > 8
    assert {"wer_heldout_voice", "parameters", "rtf"} <= set(metrics)
    rows = [json.loads(line) for line in (trained / "curve.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == STEPS and rows[-1]["ctc"] < 0.3 * rows[0]["ctc"] and "perplexity" in rows[-1]


def test_killed_and_resumed_equals_unbroken(spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with the kill between two checkpoints, and at the very step where the codebook is made."""
    options: dict[str, Any] = {"steps": 14, "checkpoint_every": 4, "max_scored": 1}
    train.STAGE.execute(train_config(spoken, tmp_path / "unbroken", **options))
    advance = FittingLoop.advance
    for killed_at in (6, 7, 13):

        def advance_until(loop: FittingLoop, loss: Any, last: int = killed_at) -> float:
            if loop.step == last:
                loss(last)  # the codebook may change before the kill
                raise Killed
            return advance(loop, loss)

        monkeypatch.setattr(FittingLoop, "advance", advance_until)
        with pytest.raises(Killed):
            train.STAGE.execute(train_config(spoken, tmp_path / "broken", **options))
    monkeypatch.undo()
    train.STAGE.execute(train_config(spoken, tmp_path / "broken", **options))
    for name in ("artefact/model.safetensors", "artefact/config.yaml", "artefact/labels.json", "curve.jsonl"):
        assert file_digest(tmp_path / "unbroken" / name) == file_digest(tmp_path / "broken" / name), name


def test_without_quantiser(spoken: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"steps": 4, "vq": QuantiserConfig(enabled=False)}
    metrics = train.STAGE.execute(train_config(spoken, tmp_path / "plain", **options))
    assert "wer_without_vq" in metrics and "wer_with_vq" not in metrics
    plain = SpeechTokenizer.from_pretrained(tmp_path / "plain/artefact")
    with pytest.raises(UserError, match="without vector quantisation"):
        plain.encode([np.zeros(2000, dtype=np.float32)])
    report = evaluate.STAGE.execute(evaluate_config(tmp_path / "plain/artefact", spoken, tmp_path / "evaluation"))
    assert "wer_without_vq" in report and "codebook_use" not in report


def evaluate_config(tokenizer: Path, corpus: Path, out: Path) -> evaluate.TokenizerEvaluateConfig:
    return evaluate.TokenizerEvaluateConfig(tokenizer=str(tokenizer), corpus=str(corpus), out=str(out), num_examples=2)


def test_evaluation_report(trained: Path, spoken: Path, tmp_path: Path) -> None:
    metrics = evaluate.STAGE.execute(evaluate_config(trained / "artefact", spoken, tmp_path / "out"))
    expected = json.loads((trained / "metrics.json").read_text())
    for name in ("wer_with_vq", "wer_without_vq", "wer_heldout_voice", "codebook_use", "perplexity"):
        assert metrics[name] == pytest.approx(expected[name])
    split = json.loads((tmp_path / "out/report.json").read_text())["splits"]["heldout_sentence"]
    assert {voice["voice"] for voice in split["voices"]} == {"tence-0", "tence-1"}
    assert sum(split["code_counts"]) == sum(len(tokens.tokens) for tokens in encoded(trained, spoken, tmp_path))
    assert len(split["examples"]) == 2 and split["examples"][0]["tokens"]


def encoded(trained: Path, corpus: Path, folder: Path) -> Any:
    encode.STAGE.execute(encode_config(trained, corpus, folder / "tokens"))
    return read_tokens(folder / "tokens/heldout_sentence.parquet").items


def encode_config(trained: Path, corpus: Path, out: Path, **options: Any) -> encode.EncodeConfig:
    return encode.EncodeConfig(
        tokenizer=str(trained / "artefact"), corpus=str(corpus), out=str(out), unit_utterances=16, **options
    )


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
    whole = units.encode_unit

    def encode_two(attempt: UnitAttempt, *rest: Any) -> dict[str, Any]:
        if len(done) == 2:
            raise Killed
        done.append(attempt.unit.name)
        return whole(attempt, *rest)

    monkeypatch.setattr(units, "encode_unit", encode_two)
    with pytest.raises(Killed):
        encode.STAGE.execute(encode_config(trained, spoken, tmp_path / "broken"))
    monkeypatch.setattr(units, "encode_unit", lambda *rest: done.append(rest[0].unit.name) or whole(*rest))
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
    parts = [unit for split in encode.find_splits(config) for unit in split.units]
    job = UnitFolder.create(tmp_path / "broken/parts", parts)
    fork = multiprocessing.get_context("fork")  # NeMo is imported already
    permits = Permits(tmp_path / "permits")
    work = Rationed(units.Encoding(tokenizer=str((trained / "artefact").absolute()), device="cpu"), permits)

    def start(number: int) -> Any:
        worker = fork.Process(target=lambda: list(run_worker(UnitFolder(job.root), work, number, 2)), daemon=True)
        worker.start()
        return worker

    workers = [start(0), start(1)]
    for kill in range(5):
        wanted = len(job.done_names()) + 1 + kill % 2
        permits.give(3)  # one or two are awaited, so the kill may hit a worker in the midst of a unit
        while len(job.done_names()) < wanted:
            assert all(worker.is_alive() for worker in workers)
            time.sleep(0.002)
        for number in (0, 1) if kill == 3 else (kill % 2,):  # once both of them
            os.kill(workers[number].pid, signal.SIGKILL)
            workers[number].join()
            workers[number] = start(number)
    for worker in workers:
        worker.kill()
        worker.join()
    assert 5 <= len(job.done_names()) < len(parts)
    encode.run(config, Run(tmp_path / "broken"))
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


def damaged(spoken: Path, folder: Path) -> Path:
    """A copy of the corpus with an empty file, a missing one, NaN, noise bytes, no transcript, too many labels."""
    import soundfile

    shutil.copytree(spoken, folder)
    good = read_manifest(folder / "train.jsonl").utterances
    soundfile.write(folder / "empty.wav", np.zeros(0, dtype=np.float32), 16000)
    soundfile.write(folder / "nan.wav", np.full(16000, np.nan, dtype=np.float32), 16000, subtype="FLOAT")
    (folder / "bytes.wav").write_bytes(b"no audio at all")
    bad = [
        Utterance(name, folder / f"{name}.wav", 1.0, "red cat", "x") for name in ("empty", "missing", "nan", "bytes")
    ]
    bad.append(Utterance("wordless", good[0].audio, 1.0, "...", "x"))
    bad.append(Utterance("talkative", good[0].audio, 0.5, "red cat one two three anna tom blue", "x"))
    write_manifest(folder / "train.jsonl", [*good, *bad])
    return folder


def test_bad_records_are_counted_and_too_many_are_an_error(spoken: Path, trained: Path, tmp_path: Path) -> None:
    corpus = damaged(spoken, tmp_path / "corpus")
    config = train_config(
        corpus, tmp_path / "out", steps=16, data=DataConfig(batch_seconds=12, max_bad_share=0.2), max_scored=1
    )
    assert train.STAGE.execute(config)["bad_records"] == 6
    config.data.max_bad_share = 0.07
    with pytest.raises(UserError, match="bad"):
        train.STAGE.execute(config)
    metrics = encode.STAGE.execute(encode_config(trained, corpus, tmp_path / "tokens", max_bad_share=0.2))
    assert metrics["bad_records"] == 4 and metrics["utterances"] == 72
    with pytest.raises(UserError, match="bad"):
        encode.STAGE.execute(encode_config(trained, corpus, tmp_path / "tokens2", max_bad_share=0.02))


def test_too_many_labels_say_what_to_do(spoken: Path, tmp_path: Path) -> None:
    manifest = read_manifest(spoken / "train.jsonl")
    labels = Labels.from_texts([utterance.text for utterance in manifest.utterances], 40)
    with pytest.raises(UserError, match=r"labels outnumber .* CTC frames.*model.upsampling"):
        Examples(
            manifest.__class__(
                manifest.path,
                [Utterance(u.id, u.audio, u.duration / 8, u.text, u.speaker) for u in manifest.utterances],
                [],
            ),
            labels,
            DataConfig(),
            model=TokenizerModelConfig(),
            mel=LogMel(),
        )


def test_two_utterances_can_be_learnt_by_heart(tokenizer: SpeechTokenizer, spoken: Path) -> None:
    from tokenizer.training.initialise import initialise
    from tokenizer.training.objective import TokenizerObjective

    torch.manual_seed(0)
    manifest = read_manifest(spoken / "train.jsonl")
    two = manifest.__class__(manifest.path, manifest.utterances[:2], [])
    labels = tokenizer.labels
    small = SpeechTokenizer(
        TokenizerModelConfig(width=32, heads=2, subsampling_channels=8, chunk=4, upsampling=2),
        QuantiserConfig(codebook_size=16, start_step=40, kmeans_batches=1, commitment=1.0),
        labels,
        frames_per_batch=40,
    )
    initialise(small.front)
    data = DataConfig(batch_seconds=60)
    examples = Examples(two, labels, data, model=small.config, mel=small.log_mel)
    quiet = AugmentConfig(warp=0.0, stretch=0.0, tilt=0.0, frequency_masks=0, time_masks=0)
    objective = TokenizerObjective(small, examples, data, quiet, seed=1)
    optimizer = torch.optim.AdamW(small.parameters(), lr=4e-3)
    small.train()
    for step in range(160):
        optimizer.zero_grad()
        terms = objective.loss(step)
        terms["loss"].backward()
        optimizer.step()
    from corpus.audio.files import read_audio

    heard = small.transcribe([read_audio(utterance.audio) for utterance in two.utterances])
    assert heard == [utterance.text for utterance in two.utterances] and terms["ctc"] < 0.1


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"width": 30}, "model.width"),
        ({"left_context": 7}, "model.left_context"),
        ({"conv_kernel": 8}, "model.conv_kernel"),
    ],
)
def test_a_wrong_model_option_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        TokenizerModelConfig(**options)


def test_a_codebook_that_would_never_start_is_refused(spoken: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"vq\.start_step"):
        train_config(spoken, tmp_path, steps=100, vq=QuantiserConfig(start_step=100))
