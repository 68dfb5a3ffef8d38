"""Training end to end on made-up speech: it learns, resumes bit for bit, counts bad records."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corpus.audio.mel import LogMel
from corpus.manifest import Utterance, read_manifest, write_manifest
from runtime.artefact import file_digest
from runtime.errors import UserError
from runtime.fit import FittingLoop
from tests.support.changed_options import check_changed_options
from tests.support.odd_audio import SECONDS, check_warnings, write_odd_audio
from tests.support.tokenizer_runs import STEPS, encode_config, evaluate_config, train_config
from tokenizer import encode, evaluate, train
from tokenizer.backbones.config import TokenizerModelConfig
from tokenizer.data.config import AugmentConfig, DataConfig
from tokenizer.data.examples import Examples
from tokenizer.labels import Labels
from tokenizer.model import SpeechTokenizer
from tokenizer.quantisers.config import QuantiserConfig


class Killed(BaseException):
    pass


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
    bad.append(Utterance("talkative", good[0].audio, 0.5, "red cat one two three anna tom blue", "x", offset=0.0))
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
    small.front.initialise()
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


def test_changed_options(spoken: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = [f"corpus={spoken}", "model.width=64", "model.subsampling_channels=16", "model.num_labels=40"]
    words += ["vq.codebook_size=32", "vq.start_step=2", "vq.kmeans_batches=2", "data.batch_seconds=12"]
    words += ["fit.warmup_steps=2", "fit.log_every=1", "max_scored=1"]
    neutral = ["fit.checkpoint_every=3", "fit.threads=2", "device=cpu"]
    check_changed_options(train.STAGE.main, words, tmp_path / "run", capfd, steps="fit.steps", neutral=neutral)


def test_recordings_that_look_wrong_are_counted(spoken: Path, tmp_path: Path) -> None:
    """In training and in evaluation; audio without a header is a bad record."""
    utterances = read_manifest(spoken / "train.jsonl").utterances
    odd = [Utterance(file.name, file, SECONDS, "red", "x") for file in write_odd_audio(tmp_path / "odd")]
    for split in ("train", "heldout_sentence"):
        write_manifest(tmp_path / "corpus" / f"{split}.jsonl", [*utterances[:10], *odd])
    options = {"steps": 40, "data": DataConfig(batch_seconds=12, max_bad_share=0.2)}
    metrics = train.STAGE.execute(train_config(tmp_path / "corpus", tmp_path / "out", **options))
    check_warnings(tmp_path / "out", metrics)
    config = evaluate_config(tmp_path / "out/artefact", tmp_path / "corpus", tmp_path / "evaluation")
    config.splits, config.max_bad_share = ["heldout_sentence"], 0.2
    check_warnings(tmp_path / "evaluation", evaluate.STAGE.execute(config))
