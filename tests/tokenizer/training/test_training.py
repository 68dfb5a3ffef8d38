"""Laws of training: exact resume with noise and on two ranks, weighted manifests, both heads, both backbones."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.audio.files import read_audio
from corpus.audio.mel import LogMel
from corpus.audio.noise import add_noise, make_noise
from corpus.manifest import read_manifest
from corpus.text.word_errors import corpus_word_errors
from runtime.artefact import file_digest
from runtime.errors import UserError
from runtime.fit import FittingLoop
from runtime.stage import Run
from tokenizer import train
from tokenizer.backbones.config import TokenizerModelConfig
from tokenizer.data.batches import SourceMixture
from tokenizer.data.config import AugmentConfig, DataConfig, TrainingNoiseConfig
from tokenizer.data.examples import Examples
from tokenizer.model import SpeechTokenizer
from tokenizer.quantisers.base import make_quantiser
from tokenizer.quantisers.config import QuantiserConfig
from tokenizer.training.config import TokenizerFitConfig, TokenizerTrainConfig
from tokenizer.training.objective import TokenizerObjective, consistency_loss

RECIPES = Path(train.__file__).parent.parent / "recipes"
SMALL: dict[str, Any] = {"width": 32, "heads": 2, "subsampling_channels": 8, "num_labels": 40, "chunk": 4}
WHISPER: dict[str, Any] = SMALL | {"backbone": "whisper", "feed_forward": 2, "decoder_layers": 1}


class Killed(BaseException):
    pass


def config(corpus: Path, out: Path, **options: Any) -> TokenizerTrainConfig:
    vq = {"codebook_size": 17, "start_step": 4, "commitment": 1.0, "kmeans_batches": 1, "restart_share": 0.5}
    return TokenizerTrainConfig(
        corpus=str(corpus),
        out=str(out),
        device="cpu",
        max_scored=1,
        model=TokenizerModelConfig(**(SMALL | options.pop("model", {}))),
        vq=QuantiserConfig(**(vq | options.pop("vq", {}))),
        data=options.pop("data", DataConfig(batch_seconds=6)),
        fit=TokenizerFitConfig(
            steps=options.pop("steps", 10), warmup_steps=2, checkpoint_every=3, log_every=2, learning_rate=3e-3
        ),
        **options,
    )


def kill_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    advance = FittingLoop.advance

    def advance_until(loop: FittingLoop, loss: Any) -> float:
        if loop.step == step:
            loss(step)  # the codebook may change before the kill
            raise Killed
        return advance(loop, loss)

    monkeypatch.setattr(FittingLoop, "advance", advance_until)


@pytest.mark.parametrize(
    "options",
    [
        {"noise": TrainingNoiseConfig(share=0.5, consistency=1.0)},
        {"model": WHISPER | {"attention_weight": 0.7, "ctc_weight": 0.3}, "noise": TrainingNoiseConfig(share=0.5)},
        {
            "vq": {"kind": "simvq"},
            "model": {"frame_rate": 6.25, "upsampling": 4, "dropout": 0.1, "attention_weight": 0.5},
        },
    ],
    ids=["noise", "whisper", "simvq-attention"],
)
def test_killed_and_resumed_equals_unbroken(
    spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    train.STAGE.execute(config(spoken, tmp_path / "unbroken", **options))
    kill_at(7, monkeypatch)
    with pytest.raises(Killed):
        train.STAGE.execute(config(spoken, tmp_path / "broken", **options))
    monkeypatch.undo()
    metrics = train.STAGE.execute(config(spoken, tmp_path / "broken", **options))
    for name in ("artefact/model.safetensors", "artefact/config.yaml", "curve.jsonl"):
        assert file_digest(tmp_path / "unbroken" / name) == file_digest(tmp_path / "broken" / name), name
    row = json.loads((tmp_path / "broken/curve.jsonl").read_text().splitlines()[-1])
    noise, model = options.get("noise", TrainingNoiseConfig()), options.get("model", {})
    assert ("consistency" in row) == (noise.consistency > 0) and ("attention" in row) == ("attention_weight" in model)
    assert np.isfinite(metrics["wer_with_vq"]) and "ctc" in row


def one_rank(rank: int, folder: str, corpus: str, last: int | None) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its threads did not come along with the fork

    torch.set_num_threads(1)
    store = f"file://{folder}/store-{last}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    written = config(
        Path(corpus),
        Path(folder),
        noise=TrainingNoiseConfig(share=0.5, consistency=0.5),
        model={"dropout": 0.1},
        steps=8,
    )
    written.max_scored = 1
    fitted: list[SpeechTokenizer] = []
    whole, advance = TokenizerObjective.__init__, FittingLoop.advance

    def keep(objective: TokenizerObjective, tokenizer: SpeechTokenizer, *rest: Any, **more: Any) -> None:
        fitted.append(tokenizer)
        whole(objective, tokenizer, *rest, **more)

    def advance_until(loop: FittingLoop, loss: Any) -> float:
        if loop.step == last:
            raise Killed
        return advance(loop, loss)

    TokenizerObjective.__init__, FittingLoop.advance = keep, advance_until  # type: ignore[method-assign]
    try:
        train.STAGE.run(written, Run(Path(folder)))
        torch.save(fitted[0].state_dict(), f"{folder}/rank-{rank}.pt")
    except Killed:
        pass
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def on_two_ranks(folder: Path, corpus: Path, last: int | None = None) -> None:
    from tokenizer.backbones.nemo import quiet_nemo

    quiet_nemo()  # once, before the ranks are forked
    folder.mkdir(exist_ok=True)
    context = multiprocessing.get_context("fork")
    ranks = [context.Process(target=one_rank, args=(rank, str(folder), str(corpus), last)) for rank in (0, 1)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(600)
        assert process.exitcode == 0


def test_two_ranks_stay_equal_and_resume_exactly(spoken: Path, tmp_path: Path) -> None:
    """Weights, codebook and counts of the ranks are equal to the bit; so are a broken and an unbroken run's."""
    on_two_ranks(tmp_path / "unbroken", spoken)
    on_two_ranks(tmp_path / "broken", spoken, last=7)  # the last checkpoint is of step 6
    on_two_ranks(tmp_path / "broken", spoken)
    states = [
        torch.load(tmp_path / name / f"rank-{rank}.pt", weights_only=True)
        for name in ("unbroken", "broken")
        for rank in (0, 1)
    ]
    for other in states[1:]:
        assert all(torch.equal(states[0][name], other[name]) for name in states[0])
    assert (tmp_path / "unbroken/curve.jsonl").read_bytes() == (tmp_path / "broken/curve.jsonl").read_bytes()


@settings(max_examples=30, deadline=None)
@given(weights=st.lists(st.floats(0.1, 5.0), min_size=1, max_size=4), steps=st.integers(1, 3000))
def test_sources_are_mixed_by_weight(weights: list[float], steps: int) -> None:
    mixture = SourceMixture(weights)
    drawn = [mixture.at(step) for step in range(steps)]
    for source, weight in enumerate(weights):
        places = [place for own, place in drawn if own == source]
        assert places == list(range(len(places)))  # each batch of a source once, in its order
        assert abs(len(places) - steps * weight / sum(weights)) < 10
    other = SourceMixture(weights)
    assert [other.at(step) for step in (steps - 1, 0, steps // 2)] == [drawn[steps - 1], drawn[0], drawn[steps // 2]]


def test_weighted_manifests_are_trained_on(spoken: Path, tmp_path: Path) -> None:
    files = [str(spoken / f"{name}.jsonl") for name in ("train", "heldout_sentence")]
    written = config(spoken, tmp_path / "out", manifests=files, weights=[1.0, 3.0], steps=5)
    assert train.STAGE.execute(written)["utterances"] == 66
    with pytest.raises(UserError, match=r"weights.*2 manifests"):
        config(spoken, tmp_path, manifests=files, weights=[1.0])


def test_some_kinds_are_trained_on(spoken: Path, tmp_path: Path) -> None:
    lines = (spoken / "train.jsonl").read_text().splitlines()
    rows = [json.loads(line) | {"kind": "fragment" if at < 20 else "random"} for at, line in enumerate(lines)]
    absolute = [row | {"audio_filepath": str(spoken / row["audio_filepath"])} for row in rows]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in absolute))
    files = [str(tmp_path / "train.jsonl")]
    written = config(spoken, tmp_path / "out", manifests=files, kinds=["random", "user"], steps=5)
    assert train.STAGE.execute(written)["utterances"] == 40
    with pytest.raises(UserError, match="no utterance of the kinds story"):
        train.STAGE.execute(config(spoken, tmp_path / "none", manifests=files, kinds=["story"], steps=5))


def examples_of(
    spoken: Path, tokenizer: SpeechTokenizer, rows: int, noise: TrainingNoiseConfig | None = None
) -> Examples:
    manifest = read_manifest(spoken / "train.jsonl")
    few = manifest.__class__(manifest.path, manifest.utterances[:rows], [])
    return Examples(few, tokenizer.labels, DataConfig(), model=tokenizer.config, mel=LogMel(), noise=noise)


def test_noise_depends_on_its_seed_alone_and_leaves_the_clean_view(spoken: Path, tokenizer: SpeechTokenizer) -> None:
    noisy = examples_of(spoken, tokenizer, 6, TrainingNoiseConfig(share=1.0))
    first, again, other = (noisy.collate([0, 3, 5], noise_seed=(1, place)) for place in (7, 7, 8))
    assert torch.equal(first.noised, again.noised) and not torch.equal(first.noised, other.noised)
    assert torch.allclose(first.mel, other.mel) and (first.noised - first.mel).abs().mean() > 0.1
    alone = noisy.collate([2], noise_seed=(1, 7))
    assert torch.isfinite(alone.noised).all() and not torch.equal(alone.noised, alone.mel)
    assert examples_of(spoken, tokenizer, 6).collate([0, 3]).noised is None


@pytest.mark.parametrize("kind", [None, "vq", "fsq", "simvq"])
def test_consistency_draws_the_noised_view_to_the_clean_one(kind: str | None) -> None:
    torch.manual_seed(0)
    clean_ND = torch.randn(200, 8, requires_grad=True)
    noise_ND = torch.randn(200, 8)
    quantiser = None
    if kind:
        quantiser = make_quantiser(QuantiserConfig(kind=kind, codebook_size=16), 8, 200)
        quantiser.start(clean_ND.detach())
    losses = [consistency_loss(clean_ND, clean_ND.detach() + size * noise_ND, quantiser) for size in (0.0, 0.3, 1.0)]
    assert losses[0] < losses[1] < losses[2] and (kind in ("vq", "simvq") or losses[0] == 0)
    noised_ND = (clean_ND.detach() + noise_ND).requires_grad_()
    consistency_loss(clean_ND, noised_ND, quantiser).backward()
    assert clean_ND.grad is None and noised_ND.grad is not None
    assert float((noised_ND.grad * noise_ND).sum()) > 0  # it falls towards the clean side
    assert consistency_loss(clean_ND[:0], noised_ND[:0], quantiser) == 0  # a rank whose batch is all padding


def test_with_consistency_the_tokens_withstand_noise_and_say_as_much(
    spoken: Path, make_tokenizer: Callable[..., SpeechTokenizer]
) -> None:
    quiet = AugmentConfig(warp=0.0, stretch=0.05, tilt=0.1, frequency_masks=0, time_masks=0)
    said = read_manifest(spoken / "heldout_sentence.jsonl").utterances
    audios = [read_audio(one.audio) for one in said]
    noised = [add_noise(audio, make_noise("white", str(at), len(audio), [], 5), 10) for at, audio in enumerate(audios)]
    changed = []
    for weight in (0.0, 0.3):
        vq = QuantiserConfig(codebook_size=32, start_step=60, kmeans_batches=2, commitment=1.0)
        tokenizer = make_tokenizer(vq, upsampling=1)
        tokenizer.quantiser.vq._codebook.initted.fill_(False)
        noise = TrainingNoiseConfig(consistency=weight)
        examples = examples_of(spoken, tokenizer, 60, noise)
        objective = TokenizerObjective(tokenizer, examples, DataConfig(batch_seconds=12), quiet, seed=1, noise=noise)
        optimizer = torch.optim.AdamW(tokenizer.parameters(), lr=3e-3)
        tokenizer.train()
        for step in range(130):
            optimizer.zero_grad()
            objective.loss(step)["loss"].backward()
            torch.nn.utils.clip_grad_norm_(tokenizer.parameters(), 1.0)
            optimizer.step()
        tokenizer.eval()
        pairs = list(zip(tokenizer.encode(audios), tokenizer.encode(noised), strict=True))
        changed.append(sum(int((one != other).sum()) for one, other in pairs) / sum(len(one) for one, _ in pairs))
        assert corpus_word_errors([one.text for one in said], tokenizer.transcribe(audios)).rate < 0.2
    assert changed[1] < 0.4 * changed[0]


def test_two_utterances_are_learnt_by_heart_by_whisper_and_its_decoder(
    spoken: Path, make_tokenizer: Callable[..., SpeechTokenizer]
) -> None:
    tokenizer = make_tokenizer(
        QuantiserConfig(codebook_size=16, start_step=40, kmeans_batches=1, commitment=0.25),
        **(WHISPER | {"ctc_weight": 0.0, "attention_weight": 1.0}),
    )
    tokenizer.quantiser.vq._codebook.initted.fill_(False)
    quiet = AugmentConfig(warp=0.0, stretch=0.0, tilt=0.0, frequency_masks=0, time_masks=0)
    examples = examples_of(spoken, tokenizer, 2)
    objective = TokenizerObjective(tokenizer, examples, DataConfig(batch_seconds=60), quiet, seed=1)
    optimizer = torch.optim.AdamW(tokenizer.parameters(), lr=3e-3)
    tokenizer.train()
    for step in range(120):
        optimizer.zero_grad()
        terms = objective.loss(step)
        terms["loss"].backward()
        optimizer.step()
    tokenizer.eval()
    said = [item.utterance for item in examples.items]
    assert tokenizer.transcribe([read_audio(one.audio) for one in said]) == [one.text for one in said]
    assert "ctc" not in terms and terms["attention"] < 0.1


@pytest.mark.parametrize(("name", "seconds", "commitment"), [("paper", 2.0, 10.0), ("released", 4.0, 0.25)])
def test_presets(name: str, seconds: float, commitment: float) -> None:
    written = train.STAGE.compose(["--config", str(RECIPES / f"tokenizer_{name}.yaml"), "corpus=x", "out=y"])
    model = written.model
    assert (model.width, model.heads, model.front_layers + model.back_layers) == (1280, 20, 32)
    assert model.chunk / model.frame_rate == seconds and written.vq.commitment == commitment
    assert written.vq.codebook_size == 16384 and written.vq.decay == 0.99


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"model": {"backbone": "wav2vec"}}, "option backbone"),
        ({"model": {"ctc_weight": 0.0}}, r"model\.ctc_weight"),
        ({"noise": {"kinds": ["brown"]}}, "option kinds"),
        ({"noise": {"min_snr": 30.0}}, r"noise\.max_snr"),
    ],
)
def test_a_wrong_option_is_named(spoken: Path, tmp_path: Path, options: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        config(spoken, tmp_path, model=options.get("model", {}), noise=TrainingNoiseConfig(**options.get("noise", {})))
