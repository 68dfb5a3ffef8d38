"""Divergence from the model that reads the transcripts: by hand, in every layout, and what it leaves as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lm.data.clips import ClipDocument, ClipRecord, FeatureClip
from lm.data.corpora import TRANSCRIPTS, open_corpus, write_corpus
from lm.data.dataset import build_training_data
from lm.data.formats import ChatTurn, chat_document
from lm.training.config import LmTrainConfig
from lm.training.loop_config import LoopConfig
from lm.training.speech_config import SpeechConfig
from runtime.errors import UserError
from tests.support.speech_layout_table import LAYOUTS

KL: dict[str, Any] = {"forms": ("chat",), "packing": "best_fit", "speech": {"train": ["connector"], "loss": "kl"}}
SHORT = {"steps": 4, "warmup_steps": 1, "layers": 2, "init_std": 0.3}
TRIED = ("tensor and sequence", "virtual pipeline", "context", "data, distributed optimizer")
WORDS = [5, 17, 40, 81, 99]  # ids of text


def train(data: Any, run_ranks: Any, out: Path, size: int = 1, **options: Any) -> Any:
    return run_ranks(lambda: data.train(out, **{**SHORT, **KL, **options}), size)[0]


# -- the function ---------------------------------------------------------------------------------------------------


def shared_divergence(student: Any, teacher: Any) -> tuple[Any, Any]:
    """Values and gradient of this process's part of the ids."""
    import torch.distributed as dist

    from lm.training.divergence import divergence

    rank, size = dist.get_rank(), dist.get_world_size()
    part = torch.tensor(np.array_split(student, size, axis=1)[rank], requires_grad=True)
    found = divergence(part, torch.tensor(np.array_split(teacher, size, axis=1)[rank]), 2.0, dist.group.WORLD)
    (found * torch.arange(1.0, len(found) + 1)).sum().backward()
    assert part.grad is not None
    return found.tolist(), part.grad.numpy()


@pytest.mark.parametrize("size", [1, 2])
def test_the_vocabulary_may_be_shared(size: int, run_ranks: Any) -> None:
    draw = np.random.default_rng(0)
    student, teacher = (20 * draw.standard_normal((5, 8)).astype(np.float32) for _ in range(2))
    wanted = torch.tensor(student, requires_grad=True)
    log_q, p = torch.log_softmax(wanted / 2, -1), torch.softmax(torch.tensor(teacher) / 2, -1)
    each = torch.nn.functional.kl_div(log_q, p, reduction="none").sum(-1)
    (each * torch.arange(1.0, 6)).sum().backward()
    parts = run_ranks(lambda: shared_divergence(student, teacher), size)
    for values, _ in parts:
        assert values == pytest.approx(each.tolist(), rel=1e-5)
    np.testing.assert_allclose(np.concatenate([part[1] for part in parts], axis=1), wanted.grad, atol=1e-5)


# -- data -----------------------------------------------------------------------------------------------------------


def test_targets_stand_at_the_same_places_of_both(vectors: Any, tmp_path: Path) -> None:
    corpus = open_corpus(vectors.folder / "chat", vectors.vocabulary)
    assert corpus.transcripts is not None and corpus.transcripts.splits["train"].speech_tokens == 0
    options: dict[str, Any] = {"num_samples": 40, "sequence_length": 32, "seed": 1, "cache": tmp_path}
    data = build_training_data({"chat": corpus}, {"chat": 1.0}, vectors.vocabulary, packing=TRANSCRIPTS, **options)
    heard, read = (list(one.documents("train")) for one in (corpus, corpus.transcripts))
    assert {len(a) > len(b) for a, b in zip(heard, read, strict=True)} == {True, False}  # either may be padded
    seen = set()
    for number in range(40):
        sample: Any = data[number]
        target = sample["loss_mask"] > 0
        assert target.any()
        following = np.append(sample["transcript_tokens"][1:], -1)[target]
        known = following >= 0
        assert (following[known] == sample["labels"][target][known]).all()
        for name, tokens in (("documents", heard), ("transcript_documents", read)):
            ids = sample["tokens" if name == "documents" else "transcript_tokens"]
            for document in range(sample[name].max() + 1):
                row = ids[sample[name] == document].tolist()
                assert any(one.tolist()[: len(row)] == row for one in tokens)
        seen |= {tuple(sample["labels"][target])}
    assert len(seen) > 5


def test_documents_whose_answers_differ_are_refused(vectors: Any, tmp_path: Path) -> None:
    document = vectors.clip_document("asr", 3)
    other = chat_document([ChatTurn("a", "b")], vectors.vocabulary)
    for transcript in (other, document.ids[1:]):
        with pytest.raises(UserError, match="targets other than those of the document with the transcript"):
            write_corpus(
                tmp_path, "chat", vectors.vocabulary, [document._replace(transcript=transcript)], [], {},
                clips=vectors.record, has_transcripts=True,
            )  # fmt: skip


# -- the training ---------------------------------------------------------------------------------------------------


def by_hand(data: Any, out: Path) -> tuple[list[float], list[float]]:
    """Losses and divergences of the run's steps, and those of its documents one by one, by plain torch."""
    from lm.data.model_inputs import ClipBatch
    from lm.training.cross_entropy import LanguageModel
    from lm.training.trainer import Trainer

    run, found = Trainer._step, []

    def step(self: Any, number: int, batches: Any) -> Any:
        model = self.chunks[0].module
        assert isinstance(model, LanguageModel)
        vocabulary, corpus = self.vocabulary, self.corpora["chat"]
        table = corpus.clip_table("train")
        rows = np.fromfile(data.folder / "features.bin", dtype=np.float16).reshape(-1, 12)
        pairs = list(zip(corpus.documents("train"), corpus.transcripts.documents("train"), strict=True))
        sums = []
        for at in documents_of_step(self.data.training_data, number, self.loop.global_batch):
            heard, read = (torch.from_numpy(row).long()[None] for row in pairs[at])
            (span,) = table.of(at)
            frames = torch.tensor(rows[span["first"] : span["first"] + span["frames"]])[None]
            places = torch.full_like(heard, -1)
            places[0, vocabulary.is_speech(heard[0].numpy())] = torch.arange(frames.size(1))
            clips = ClipBatch(frames, torch.tensor([frames.size(1)]), places)
            with torch.no_grad():
                at_heard, at_read = (torch.arange(row.size(1) - 1)[None] for row in (heard, read))
                q = model(heard[:, :-1], at_heard, None, clips=clips._replace(places=places[:, :-1]))
                p = model(read[:, :-1], at_read, None, is_text=True)
            answer = int((heard[0] == vocabulary.special("assistant")).nonzero()) + 1
            size = heard.size(1) - answer
            q, p = torch.log_softmax(q[0, -size:] / 3, -1), torch.softmax(p[0, -size:] / 3, -1)
            sums.append((torch.nn.functional.kl_div(q, p, reduction="sum").item(), size))
        found.append(sum(one for one, _ in sums) / sum(size for _, size in sums))
        return run(self, number, batches)

    Trainer._step = step  # type: ignore[method-assign]  # this process is a fork
    options = KL | {"speech": KL["speech"] | {"temperature": 3.0}, "sequence_length": 48}
    trained = data.train(out, **{**SHORT, **options})
    return [row["kl"] for row in trained.rows if "kl" in row], found


def documents_of_step(dataset: Any, step: int, size: int) -> list[int]:
    return [part.document for number in range(step * size, (step + 1) * size) for part in dataset.parts(number)]


def test_divergences_are_those_of_single_documents(vectors: Any, run_ranks: Any, tmp_path: Path) -> None:
    """Packed with others, padded in front, over micro batches: as each document alone."""
    (found,) = run_ranks(lambda: by_hand(vectors, tmp_path), 1)
    assert found[0] == pytest.approx(found[1], rel=1e-4) and min(found[1]) > 1e-3


def test_layouts_train_alike(vectors: Any, run_ranks: Any, tmp_path: Path) -> None:
    def numbers(name: str, size: int, layout: dict[str, Any]) -> list[float]:
        options = {"steps": 8, "layers": 4, "micro_batch": 2, "sequence_length": 32, **layout}
        trained = train(vectors, run_ranks, tmp_path / name, size, **options)
        assert trained.metrics["val_kl.chat"] > 0
        rows = [row for row in trained.rows if "kl" in row]
        return [*(row["kl"] for row in rows), *trained.losses, trained.metrics["val_kl.chat"]]

    plain = numbers("plain", 1, {})
    assert plain[7] < plain[0]  # it learns
    for name in TRIED:
        assert numbers(name, *LAYOUTS[name]) == pytest.approx(plain, rel=1e-5), name


def weights_of(out: Path) -> dict[str, np.ndarray]:
    from megatron.core import dist_checkpointing

    from lm.training.checkpoint import find_checkpoint

    tensors = dist_checkpointing.load_plain_tensors(str(find_checkpoint(out)))
    found = {name: value.double().numpy() for name, value in tensors.items() if hasattr(value, "double")}
    return {name: value for name, value in found.items() if not name.startswith("optimizer")}


def test_gradients_go_to_the_connector_alone(vectors: Any, run_ranks: Any, tmp_path: Path) -> None:
    train(vectors, run_ranks, tmp_path / "kl")
    train(vectors, run_ranks, tmp_path / "still", learning_rate=1e-12, final_learning_rate=0)
    kl, still = run_ranks(lambda: [weights_of(tmp_path / name) for name in ("kl", "still")], 1)[0]
    for name, value in kl.items():
        is_connector = name.startswith("speech_input.connector.")
        assert np.array_equal(value, still[name]) != is_connector, name


def perfect(data: Any, out: Path) -> list[float]:
    """Train where the connector gives the embeddings of the words that are read."""
    from lm.training.trainer import Trainer

    begin = Trainer.__init__

    def start(self: Any, *arguments: Any) -> None:
        begin(self, *arguments)
        model = self.chunks[0].module
        with torch.no_grad():
            model.speech_input.connector.down.weight.copy_(torch.eye(32))
            vectors = torch.tensor(np.fromfile(out / "vectors.bin", dtype=np.float16).reshape(-1, 32)).float()
            model.embedding.word_embeddings.weight[WORDS] = vectors[: len(WORDS)]

    Trainer.__init__ = start  # type: ignore[method-assign]  # this process is a fork
    options = {"hidden": 32, "connector": {"kind": "linear"}, "learning_rate": 1e-12, "final_learning_rate": 0}
    config = data.config(out / "run", **{**SHORT, **KL, **options})
    config.corpora = {"chat": str(out / "chat")}
    from lm.train import STAGE
    from runtime.stage import Run

    (out / "run").mkdir()
    STAGE.run(config, Run(out / "run"))
    rows = [json.loads(line) for line in (out / "run" / "curve.jsonl").read_text().splitlines()]
    return [row["kl"] for row in rows if "kl" in row]


@pytest.mark.parametrize("is_perfect", [True, False])
def test_it_is_zero_where_speech_is_what_is_read(
    is_perfect: bool, vectors: Any, run_ranks: Any, tmp_path: Path
) -> None:
    """Vectors equal to the embeddings of the ids that stand in their places of the transcript."""
    vocabulary = vectors.vocabulary
    rows = np.random.default_rng(0).standard_normal((len(WORDS), 32)).astype(np.float16)
    given = rows if is_perfect else rows[::-1] + np.float16(1)
    np.concatenate([rows, given]).tofile(tmp_path / "vectors.bin")
    heard = chat_document([ChatTurn(np.zeros(len(WORDS), dtype=np.uint16), "ba be")], vocabulary)
    read = heard.copy()
    read[vocabulary.is_speech(heard)] = WORDS
    document = ClipDocument(heard, [FeatureClip(tmp_path / "vectors.bin", len(WORDS), len(WORDS))], read)
    record = ClipRecord(kind="features", encoder="x", positions_per_second=12.5, width=32)
    write_corpus(
        tmp_path / "chat", "chat", vocabulary, [document] * 8, [], {}, clips=record, has_transcripts=True
    )  # fmt: skip
    (found,) = run_ranks(lambda: perfect(vectors, tmp_path), 1)
    assert len(found) == 4 and (max(found) < 1e-9 if is_perfect else min(found) > 1e-3)


# -- what is refused ------------------------------------------------------------------------------------------------


def test_runs_that_cannot_be(vectors: Any, run_ranks: Any, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="corpus asr: no documents with the transcripts"):
        train(vectors, run_ranks, tmp_path, forms=("asr",))


@pytest.mark.parametrize(
    ("words", "speech", "loop"),
    [
        (r"speech\.loss: found 'kl'.*leave lm out", {"train": ["connector", "lm"]}, {}),
        (r"speech\.loss: found 'kl'.*no transcripts", {"source": "codes", "encoder": "e"}, {}),
        (r"train\.packing: found 'stream'.*best_fit", {}, {"packing": "stream"}),
        (r"train\.reset_attention", {}, {"reset_attention": False}),
        (r"train\.z_loss", {}, {"z_loss": 1e-4}),
    ],
)
def test_options_that_contradict_each_other(words: str, speech: dict[str, Any], loop: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=words):
        LmTrainConfig(
            out="o", vocabulary="v", corpora={"chat": "c"},
            speech=SpeechConfig(**{"train": ["connector"], "loss": "kl"} | speech),
            train=LoopConfig(**{"packing": "best_fit"} | loop),
        )  # fmt: skip
