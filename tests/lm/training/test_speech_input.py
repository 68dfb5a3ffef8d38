"""Speech read as vectors: it matters, it reaches its places, and what may not go wrong silently does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lm.training.connector import Connector
from lm.training.speech_config import CONNECTORS, STRIDED, ConnectorConfig, SpeechConfig
from runtime.errors import UserError

SHORT = {"steps": 4, "warmup_steps": 1, "layers": 2}


# -- the connector --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CONNECTORS)
def test_padding_and_batch_mates_change_no_vector(kind: str) -> None:
    torch.manual_seed(0)
    stride = 3 if kind in STRIDED else 1
    connector = Connector(ConnectorConfig(kind=kind, stride=stride), 5, 8)
    clips = [torch.randn(length, 5) for length in (7, 1, 4)]
    lengths = torch.tensor([7, 1, 4])
    padded = 3 * torch.randn(3, 9, 5)  # of whatever was in memory
    for row, clip in zip(padded, clips, strict=True):
        row[: len(clip)] = clip
    together = connector(padded, lengths)
    assert together.shape == (3, -(-9 // stride), 8)
    for row, clip in zip(together, clips, strict=True):
        alone = connector(clip[None], torch.tensor([len(clip)]))[0]
        assert len(alone) == -(-len(clip) // stride)
        torch.testing.assert_close(row[: len(alone)], alone)


def test_a_convolution_hears_its_own_vectors_and_those_before() -> None:
    torch.manual_seed(0)
    connector = Connector(ConnectorConfig(kind="conv", stride=2), 5, 8)
    clip = torch.randn(1, 8, 5)
    before = connector(clip, torch.tensor([8]))
    clip[0, 4] += 1
    changed = (connector(clip, torch.tensor([8])) != before).any(-1)[0]
    assert changed.tolist() == [False, False, True, True]


def test_options_that_contradict_each_other() -> None:
    for words, options in (
        ("only conv and stack", {"connector": {"stride": 2}}),
        ("tokenizer that made", {"source": "codes"}),
        ("on recordings", {"source": "codes", "encoder": "e", "train": ["encoder"]}),
        ("at least one of", {"train": []}),
    ):
        with pytest.raises(UserError, match=words):
            SpeechConfig(**{**options, "connector": ConnectorConfig(**options.pop("connector", {}))})


# -- the model ------------------------------------------------------------------------------------------------------


def train(data: Any, run_ranks: Any, out: Path, size: int = 1, **options: Any) -> Any:
    return run_ranks(lambda: data.train(out, **{**SHORT, **options}), size)[0]


def zeroed(data: Any, out: Path, **options: Any) -> Any:
    """Train on vectors of zeros."""
    from lm.data.clip_batches import FeatureReader

    read = FeatureReader.fetch
    FeatureReader.fetch = lambda *arguments: 0 * read(*arguments)  # type: ignore[method-assign]  # this process is a fork
    return data.train(out, **SHORT, **options)


def test_speech_matters(vectors: Any, run_ranks: Any, tmp_path: Path) -> None:
    with_speech = train(vectors, run_ranks, tmp_path / "with", forms=("asr",))
    without = run_ranks(lambda: zeroed(vectors, tmp_path / "without", forms=("asr",)), 1)[0]
    differences = [abs(a - b) for a, b in zip(with_speech.losses, without.losses, strict=True)]
    assert min(differences) > 1e-5 and with_speech.metrics["val_loss.asr"] != without.metrics["val_loss.asr"]


def test_rows_of_the_table_take_the_places_of_tokens() -> None:
    from lm.data.model_inputs import POSITION_BITS
    from lm.training.speech_input import merge

    hidden_SBH, table_CPH = torch.randn(4, 2, 3), torch.randn(2, 5, 3)
    second = 1 << POSITION_BITS
    places_BS = torch.tensor([[-1, 3, 4, second], [second + 4, -1, -1, 0]])
    got = merge(hidden_SBH, table_CPH, places_BS, is_sequence_parallel=False)
    first_row = torch.stack([hidden_SBH[0, 0], table_CPH[0, 3], table_CPH[0, 4], table_CPH[1, 0]])
    second_row = torch.stack([table_CPH[1, 4], hidden_SBH[1, 1], hidden_SBH[2, 1], table_CPH[0, 0]])
    assert torch.equal(got, torch.stack([first_row, second_row], dim=1)) and got.is_contiguous()


def overlapped(data: Any, out: Path, **options: Any) -> Any:
    """Train with the reduction of gradients overlapped with their computation, as on GPUs."""
    from lm.training import model

    plain = model.DistributedDataParallelConfig
    model.DistributedDataParallelConfig = lambda **given: plain(**{**given, "overlap_grad_reduce": True})
    return data.train(out, **SHORT, **options)


@pytest.mark.parametrize("train", [["connector", "lm"], ["connector"]], ids=["all", "connector"])
def test_micro_batches_without_speech(train: list[str], vectors: Any, run_ranks: Any, tmp_path: Path) -> None:
    """One micro batch of text alone must not stop the reduction of gradients that overlaps with their computation."""
    options = {"forms": ("text", "asr"), "weights": {"text": 0.95, "asr": 0.05}, "speech": {"train": train}}
    options |= {"micro_batch": 1, "global_batch": 4}
    plain = run_ranks(lambda: vectors.train(tmp_path / "plain", **SHORT, **options), 1)[0]
    got = run_ranks(lambda: overlapped(vectors, tmp_path / "overlapped", **options), 2)[0]
    assert got.losses == pytest.approx(plain.losses, rel=1e-5)


def weights_of(out: Path) -> dict[str, np.ndarray]:
    from megatron.core import dist_checkpointing

    from lm.training.checkpoint import find_checkpoint

    tensors = dist_checkpointing.load_plain_tensors(str(find_checkpoint(out)))
    found = {name: value.double().numpy() for name, value in tensors.items() if hasattr(value, "double")}
    return {name: value for name, value in found.items() if not name.startswith("optimizer")}


def test_a_connector_learns_beside_a_frozen_text_model(vectors: Any, run_ranks: Any, tmp_path: Path) -> None:
    """From the checkpoint of a text model: its weights stay, bit for bit, the connector's begin as by themselves."""
    train(vectors, run_ranks, tmp_path / "text", forms=("text",))
    assert json.loads((tmp_path / "text/checkpoint/step_00000004/checkpoint.json").read_text())["speech"] is None
    begun: dict[str, Any] = {"init": str(tmp_path / "text"), "speech": {"train": ["connector"]}}
    train(vectors, run_ranks, tmp_path / "one", learning_rate=1e-12, final_learning_rate=0, **begun)
    train(vectors, run_ranks, tmp_path / "two", size=2, tensor=2, **begun)
    train(vectors, run_ranks, tmp_path / "fresh", learning_rate=1e-12, final_learning_rate=0)
    names = ("text", "one", "two", "fresh")
    text, one, two, fresh = run_ranks(lambda: [weights_of(tmp_path / name) for name in names], 1)[0]
    connector = {name for name in one if name.startswith("speech_input.connector.")}
    assert len(connector) == 6 and one.keys() == two.keys() == text.keys() | connector
    for name in text:
        assert np.array_equal(text[name], one[name]) and np.array_equal(text[name], two[name]), name
    for name in connector:
        np.testing.assert_allclose(one[name], fresh[name], atol=1e-9)
        assert not np.allclose(two[name], one[name], atol=1e-4) or name.endswith("norm.bias")
    for name, value in {"norm.weight": 1, "norm.bias": 0, "up.bias": 0}.items():
        np.testing.assert_allclose(one[f"speech_input.connector.{name}"], value, atol=1e-9)
    again = train(vectors, run_ranks, tmp_path / "again", forms=("text",), init=str(tmp_path / "two"))
    assert again.losses[0] > 0  # a model that reads speech goes on as a text model


def test_rates_of_their_own(vectors: Any, run_ranks: Any, tmp_path: Path) -> None:
    """A connector at a rate of next to nothing stays where it began, and the model beside it does not."""
    train(vectors, run_ranks, tmp_path / "slow", speech={"learning_rate": 1e-12})
    train(vectors, run_ranks, tmp_path / "still", learning_rate=1e-12, final_learning_rate=0)
    slow, still = run_ranks(lambda: [weights_of(tmp_path / name) for name in ("slow", "still")], 1)[0]
    for name, value in slow.items():
        assert np.allclose(value, still[name], atol=1e-9) == name.startswith("speech_input."), name


def test_a_frozen_encoder_stays_outside_the_model(audio: Any, run_ranks: Any, tmp_path: Path) -> None:
    """In its own precision, in no checkpoint; a trained one begins as it was loaded and is in each."""
    from tokenizer.hearing.load import load_encoder

    def frozen() -> Any:
        from lm.training.trainer import Trainer

        precisions = []
        step = Trainer._step

        def look(self: Any, *arguments: Any) -> Any:
            speech = self.chunks[0].module.module.speech_input
            (encoder,) = speech._outside
            precisions.append((next(encoder.parameters()).dtype, next(speech.parameters()).dtype))
            return step(self, *arguments)

        Trainer._step = look  # type: ignore[method-assign]  # this process is a fork
        options = {"precision": "bf16", "learning_rate": 1e-3, "final_learning_rate": 1e-4}
        return audio.train(tmp_path / "frozen", **{**SHORT, **options}).losses, set(precisions)

    losses, precisions = run_ranks(frozen, 1)[0]
    assert precisions == {(torch.float32, torch.bfloat16)} and np.isfinite(losses).all()
    everything = {"train": ["encoder", "connector", "lm"], "encoder_learning_rate": 1e-12}
    train(audio, run_ranks, tmp_path / "trained", speech=everything)
    ours, theirs = run_ranks(lambda: [weights_of(tmp_path / name) for name in ("frozen", "trained")], 1)[0]
    loaded = load_encoder(audio.folder / "tokenizer", "front").state_dict()
    held = {name.removeprefix("speech_input.encoder."): value for name, value in theirs.items()}
    assert not any("speech_input.encoder" in name for name in ours) and loaded.keys() <= held.keys()
    for name, value in loaded.items():
        np.testing.assert_allclose(held[name], value.double().numpy(), atol=1e-9)
    # Tuning goes on with the encoder of the checkpoint, trained or not.
    begun = {"init": str(tmp_path / "trained"), "speech": {"train": ["connector"]}}
    train(audio, run_ranks, tmp_path / "on", **begun)
    record = json.loads((tmp_path / "on/checkpoint/step_00000004/checkpoint.json").read_text())
    assert record["speech"]["holds_encoder"] and record["speech"]["kind"] == "audio"


def heard_shares(data: Any, out: Path, **options: Any) -> tuple[list[tuple[int, int]], float]:
    """Train; the clips of each micro batch and those that this process encoded, and the largest difference of a vector
    from those of all clips encoded here.
    """
    from lm.training.speech_input import SpeechInput

    vectors, encode = SpeechInput._vectors, SpeechInput._encode
    counts: list[tuple[int, int]] = []
    differences: list[float] = []

    def compared(self: Any, clips: Any) -> Any:
        encoded: list[int] = []

        def counted(own: Any, encoder: Any, some: Any) -> Any:
            encoded.append(len(some.lengths))
            return encode(own, encoder, some)

        SpeechInput._encode = counted  # type: ignore[method-assign]  # this process is a fork
        found, positions = vectors(self, clips)
        counts.append((len(clips.lengths), *encoded))
        (encoder,) = self._outside
        with torch.no_grad():
            whole = encoder(clips.frames, clips.lengths)
        assert positions.tolist() == whole.positions.tolist()
        differences.append(float((found - whole.vectors).abs().max()))
        return found, positions

    SpeechInput._vectors = compared  # type: ignore[method-assign]
    data.train(out, **options)
    return counts, max(differences)


def test_tensor_processes_share_a_frozen_encoder_s_work(audio: Any, run_ranks: Any, tmp_path: Path) -> None:
    options = {**SHORT, "steps": 3, "tensor": 2, "speech": {"train": ["connector"]}}
    answers = run_ranks(lambda: heard_shares(audio, tmp_path / "two", **options), 2)
    for counts, difference in answers:
        assert difference < 1e-6
        assert all(own == -(-clips // 2) for clips, own in counts if clips > 1)
        assert any(clips > 2 for clips, _ in counts)


def test_a_trained_encoder_stays_in_evaluation_mode(audio: Any) -> None:
    from lm.training.speech_config import SpeechRecord
    from lm.training.speech_input import SpeechInput

    record = SpeechRecord(
        kind="audio",
        encoder=audio.encoder.fingerprint,
        source="",
        layer="front",
        positions_per_second=12.5,
        width=16,
        connector=ConnectorConfig(dropout=0.5),
        holds_encoder=True,
    )
    speech = SpeechInput(record, audio.encoder, 32, is_sequence_parallel=False).train()
    assert speech.connector.dropout.training and not any(module.training for module in speech.encoder.modules())


def reads(data: Any, out: Path, **options: Any) -> int:
    """Clips that this process reads in a run."""
    from lm.data.clip_batches import FeatureReader

    read, count = FeatureReader.fetch, 0

    def counted(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        return read(*arguments)

    FeatureReader.fetch = counted  # type: ignore[method-assign]  # this process is a fork
    data.train(out, **{**SHORT, "layers": 4}, **options)
    return count


def test_only_the_first_chunk_of_the_first_stage_reads_clips(vectors: Any, run_ranks: Any, tmp_path: Path) -> None:
    (alone,) = run_ranks(lambda: reads(vectors, tmp_path / "alone"), 1)
    pipeline = run_ranks(lambda: reads(vectors, tmp_path / "pipeline", pipeline=2, virtual=2), 2)
    assert pipeline == [alone, 0] and alone > 0


@pytest.mark.parametrize("layer", ["front", "back"])
def test_codes_are_read_as_the_vectors_of_their_tokenizer(
    layer: str, audio: Any, run_ranks: Any, tmp_path: Path
) -> None:
    """A corpus of codes needs no waveform; its codes are inputs and no targets."""
    speech = {"source": "codes", "encoder": str(audio.folder / "tokenizer"), "layer": layer}
    options = {"forms": ("text", "asr", "interleaved"), "speech": SpeechConfig(**speech)}
    one = train(audio.codes_data, run_ranks, tmp_path / "one", **options)
    two = train(audio.codes_data, run_ranks, tmp_path / "two", size=2, tensor=2, sequence=True, **options)
    assert two.losses == pytest.approx(one.losses, rel=1e-5)
    assert not any("speech" in name for row in one.rows for name in row)


def test_a_table_of_codes_is_the_codebook(audio: Any) -> None:
    from lm.data.model_inputs import ClipBatch
    from lm.training.speech_config import SpeechRecord
    from lm.training.speech_input import SpeechInput

    encoder = audio.encoder
    about = {"kind": "codes", "encoder": "", "source": "", "layer": "front", "positions_per_second": 12.5}
    record = SpeechRecord(**about, width=16, connector=ConnectorConfig(kind="linear"))
    speech = SpeechInput(record, encoder, 32, is_sequence_parallel=False)
    clips = ClipBatch(torch.tensor([[3, 5, 31], [7, 0, 0]]), torch.tensor([3, 1]), torch.zeros(0))
    table = speech(clips)
    for place, code in {(0, 0): 3, (0, 2): 31, (1, 0): 7}.items():
        torch.testing.assert_close(table[place], speech.connector.down(encoder.codebook[code]))
    assert not any(name.startswith("encoder") for name, _ in speech.named_parameters())


# -- what is refused ------------------------------------------------------------------------------------------------


def refused(data: Any, run_ranks: Any, out: Path, words: str, size: int = 1, **options: Any) -> None:
    with pytest.raises(RuntimeError, match=words):
        train(data, run_ranks, out, size, **options)


def test_runs_that_cannot_be(tiny: Any, vectors: Any, strided: Any, audio: Any, run_ranks: Any, tmp_path: Path) -> None:
    frozen = {"pipeline": 2, "distributed_optimizer": True, "speech": {"train": ["connector"]}}
    refused(vectors, run_ranks, tmp_path, "stages without trained parameters cannot be saved", 2, **frozen)
    refused(strided, run_ranks, tmp_path, r"connector\.stride: 1, but .* every 2 vectors")
    refused(vectors, run_ranks, tmp_path, "encoder, but the corpora have stored", speech={"train": ["encoder", "lm"]})
    refused(vectors, run_ranks, tmp_path, r"losses\.asr: all, but .*no target", losses={"asr": "all"})
    refused(vectors, run_ranks, tmp_path, "no corpus with clips", forms=("text",), connector={"kind": "linear"})
    refused(audio, run_ranks, tmp_path, r"but the corpora were written for", speech={"layer": "back"})
    codes = SpeechConfig(source="codes", encoder=str(audio.folder / "tokenizer"))
    refused(tiny, run_ranks, tmp_path, "codes of tokenizer .*vocabulary's are of abc", forms=("asr",), speech=codes)
    refused(audio.codes_data, run_ranks, tmp_path, "corpus tts: format tts", forms=("asr", "tts"), speech=codes)
    train(vectors, run_ranks, tmp_path / "linear", connector={"kind": "linear"}, forms=("asr",), steps=2)
    words = r"speech connector\.kind=linear \(this run: mlp\)"
    refused(vectors, run_ranks, tmp_path / "on", words, init=str(tmp_path / "linear"))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_clip_that_cannot_be_read_is_named(workers: int, audio: Any, run_ranks: Any, tmp_path: Path) -> None:
    content = (audio.folder / "speech.tar").read_bytes()

    def broken() -> Any:
        tar = audio.folder / f"speech-{workers}.tar"
        tar.write_bytes(content[: len(content) // 2])
        from lm.data import clips

        clips.ClipTable.shard = lambda self, number: tar  # type: ignore[method-assign]  # this process is a fork
        return audio.train(tmp_path, **SHORT, data_workers=workers)

    with pytest.raises(RuntimeError, match=r"speech-\d\.tar \(offset \d+, bytes \d+.* document \d+: the file ends"):
        run_ranks(broken, 1)


def train_counting_loads(data: Any, out: Path, **options: Any) -> tuple[int, list[float]]:
    """How often this process loads an encoder to train, and the losses."""
    from lm.training import speech_setup

    loads: list[Any] = []
    load = speech_setup.load_encoder

    def counted(*arguments: Any) -> Any:
        loads.append(arguments)
        return load(*arguments)

    speech_setup.load_encoder = counted  # this process is a fork
    losses = data.train(out, **SHORT, **options).losses
    return len(loads), losses


def test_only_the_beginning_of_the_model_loads_the_encoder(audio: Any, run_ranks: Any, tmp_path: Path) -> None:
    options = {"forms": ("asr",), "speech": {"train": ["connector", "lm"]}}
    ((once, plain),) = run_ranks(lambda: train_counting_loads(audio, tmp_path / "plain", **options), 1)
    first, last = run_ranks(lambda: train_counting_loads(audio, tmp_path / "stages", pipeline=2, **options), 2)
    assert (once, first[0], last[0]) == (1, 1, 0)
    assert first[1] == pytest.approx(plain, rel=1e-5)
