"""Unreadable clips, a share of which is tolerated: left out alike in every layout, counted, named, and resumed over."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.speech_layout_table import LAYOUTS, MODES, STEPS
from tests.support.tiny_lm import train_and_die

TOLERANT: dict[str, Any] = {**MODES["encoder, connector and lm"], "max_unreadable_share": 0.5}
SHORT: dict[str, Any] = {**STEPS, "steps": 8, "forms": ("asr", "text"), "speech": TOLERANT}
BROKEN = (2, 5, 11)  # documents of the training split


def break_clips(audio: Any, tar: Path, broken: tuple[int, ...] = BROKEN) -> None:
    """Read clips from a copy of the tar in which those of some documents are overwritten (this process is a fork)."""
    from lm.data import clips
    from lm.data.corpora import open_corpus

    if not tar.exists():
        content = bytearray((audio.folder / "speech.tar").read_bytes())
        table = open_corpus(audio.folder / "asr", audio.vocabulary).clip_table("train")
        for document in broken:
            for span in table.of(document):
                begin, end = int(span["offset"]), int(span["offset"] + span["bytes"])
                content[begin:end] = bytes(end - begin)
        temporary = tar.with_suffix(".part")
        temporary.write_bytes(content)
        temporary.rename(tar)
    clips.ClipTable.shard = lambda self, number: tar  # type: ignore[method-assign]


def trained_on_broken(audio: Any, tar: Path, out: Path, train: Callable[..., Any] | None = None, **options: Any) -> Any:
    break_clips(audio, tar)
    if train is not None:
        return train(audio, out, **options)
    return audio.train(out, **options)


@pytest.fixture(scope="module")
def tar(audio: Any, run_ranks: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("broken") / "speech.tar"
    run_ranks(lambda: break_clips(audio, made), 1)
    return made


@pytest.fixture(scope="module")
def whole(audio: Any, tar: Path, run_ranks: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """An unbroken run of one process."""
    out = tmp_path_factory.mktemp("whole")
    return run_ranks(lambda: trained_on_broken(audio, tar, out, checkpoint_every=3, **SHORT), 1)[0], out


def test_they_are_counted_and_change_the_training(whole: Any, audio: Any, run_ranks: Any, tmp_path: Path) -> None:
    trained, _ = whole
    assert 0 < trained.metrics["unreadable_clips"] < trained.metrics["clips"]
    good = run_ranks(lambda: audio.train(tmp_path, **SHORT), 1)[0]
    assert good.metrics["unreadable_clips"] == 0 and good.metrics["clips"] == trained.metrics["clips"]
    assert good.losses != trained.losses


@pytest.mark.parametrize("name", ["virtual pipeline", "tensor and sequence", "context", "data"])
def test_every_layout_leaves_out_the_same(
    name: str, whole: Any, audio: Any, tar: Path, run_ranks: Any, tmp_path: Path
) -> None:
    size, layout = LAYOUTS[name]
    found = run_ranks(lambda: trained_on_broken(audio, tar, tmp_path, **{**SHORT, **layout}), size)[0]
    assert found.losses == pytest.approx(whole[0].losses, rel=1e-5)
    for count in ("clips", "unreadable_clips"):
        assert found.metrics[count] == whole[0].metrics[count]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_killed_run_goes_on_as_the_unbroken_one(
    workers: int, whole: Any, audio: Any, tar: Path, run_ranks: Any, tmp_path: Path
) -> None:
    options = {**SHORT, "checkpoint_every": 3, "data_workers": workers}

    def killed() -> Any:
        return trained_on_broken(
            audio, tar, tmp_path, lambda *places, **more: train_and_die(*places, 5, signal.SIGKILL, **more), **options
        )

    assert run_ranks(killed, 1) == [None]
    resumed = run_ranks(lambda: trained_on_broken(audio, tar, tmp_path, **options), 1)[0]
    assert resumed.rows == whole[0].rows
    for count in ("clips", "unreadable_clips"):
        assert resumed.metrics[count] == whole[0].metrics[count]


def test_more_than_the_share_is_an_error(audio: Any, tar: Path, run_ranks: Any, tmp_path: Path) -> None:
    words = (
        r"speech\.tar \(offset \d+, .* document \d+: .*with it 2 of \d+ clips read so far.*max_unreadable_share=0.01"
    )
    with pytest.raises(RuntimeError, match=words):
        run_ranks(
            lambda: trained_on_broken(
                audio, tar, tmp_path, **{**SHORT, "speech": TOLERANT | {"max_unreadable_share": 0.01}}
            ),
            2,
        )


def test_imitation_by_divergence(vectors: Any, run_ranks: Any, tmp_path: Path) -> None:
    """Stored vectors that end early: the targets are left out of the reading of the transcripts, too."""
    content = (vectors.folder / "features.bin").read_bytes()
    short = tmp_path / "features.bin"
    short.write_bytes(content[: int(len(content) * 0.95) // 24 * 24])
    speech = {"train": ["connector"], "loss": "kl", "max_unreadable_share": 0.5}
    options: dict[str, Any] = {
        **STEPS,
        "steps": 6,
        "forms": ("chat",),
        "packing": "best_fit",
        "speech": speech,
        "sequence_length": 64,
    }

    def train(out: Path, **layout: Any) -> Any:
        from lm.data import clips

        clips.ClipTable.shard = lambda self, number: short  # type: ignore[method-assign]  # this process is a fork
        return vectors.train(out, **{**options, **layout})

    plain = run_ranks(lambda: train(tmp_path / "plain"), 1)[0]
    assert plain.metrics["unreadable_clips"] > 0
    found = run_ranks(lambda: train(tmp_path / "two", pipeline=2), 2)[0]
    assert [row["kl"] for row in found.rows if "kl" in row] == pytest.approx(
        [row["kl"] for row in plain.rows if "kl" in row], rel=1e-5
    )


def test_the_whole_document_is_left_out(vectors: Any) -> None:
    """And no other: its clips have no places, and its positions do not count."""
    from lm.data.clip_batches import ClipCollation, ClipReader, DocumentSlice, SampleClips
    from runtime.errors import UserError

    class HalfReader(ClipReader):
        def check(self, document: int, lengths: Any) -> None: ...

        def fetch(self, document: int, number: int, ids: Any) -> Any:
            if (document, number) == (1, 1):
                raise UserError("clip", found="broken", remedy="write it again")
            return np.ones((len(ids), 12), np.float16)

    one, text = vectors.vocabulary.speech_offset, vectors.vocabulary.encode_text("a")[0]
    document = np.array([text, one, one, text, one, text])
    parts = [DocumentSlice(0, 0, 6), DocumentSlice(1, 0, 6), DocumentSlice(2, 0, 6)]
    sample: Any = SampleClips(HalfReader(), parts, [document] * 3, [0, 6, 12])
    strict = ClipCollation(vectors.vocabulary, np.zeros((1, 12), np.float16))
    with pytest.raises(UserError, match="broken"):
        strict([sample], 17)
    found = ClipCollation(vectors.vocabulary, np.zeros((1, 12), np.float16), is_tolerant=True)([sample], 17)
    assert found.tensors["left_out"].nonzero()[:, 1].tolist() == list(range(6, 12))
    has_vector = (found.tensors["clip_places"][0] >= 0).nonzero()[:, 0].tolist()
    assert has_vector == [1, 2, 4, 13, 14, 16]
    assert found.num_clips == 6 and len(found.failures) == 1
