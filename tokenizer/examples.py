"""Training examples: utterances with their labels, and their mel frames, read when needed and kept in memory.

Bad records are left out and counted; when they exceed the set share, the first is named in a `UserError`.

M mel bands, F mel frames (a whole number of tokens).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from corpus.audio import read_audio
from corpus.errors import UserError
from corpus.manifest import BadRecord, Manifest, Utterance, check_bad_share
from corpus.mel import LogMel
from corpus.token_time import TokenTime

from .config import DataConfig
from .labels import Labels, num_ctc_frames


@dataclass(frozen=True)
class Example:
    """An utterance, its labels, and its length in tokens by the manifest's duration."""

    utterance: Utterance
    labels: list[int]
    num_tokens: int


class Examples:
    """The usable utterances of a manifest.

    Attributes:
        items: the examples, in the manifest's order.
        bad: what was left out, and why (grows as audio is read).
    """

    def __init__(
        self,
        manifest: Manifest,
        labels: Labels,
        config: DataConfig,
        *,
        upsampling: int,
        mel: LogMel,
        time: TokenTime | None = None,
    ) -> None:
        self.config, self.mel, self.time = config, mel, time or TokenTime()
        self.items: list[Example] = []
        self.bad: list[BadRecord] = list(manifest.bad)
        self.num_records = len(manifest.utterances) + len(manifest.bad)
        self.num_outside = 0  # too short or too long: left out on purpose, not bad
        for utterance in manifest.utterances:
            self._take(utterance, labels.encode(utterance.text), upsampling)
        self._check()
        if not self.items:
            found = f"no utterance of {config.min_seconds} to {config.max_seconds} s"
            raise UserError(str(manifest.path), found=found, remedy="set data.min_seconds and data.max_seconds")
        self.cache: dict[int, Tensor | None] = {}
        self.cache_bytes = 0

    def _take(self, utterance: Utterance, labels: list[int], upsampling: int) -> None:
        tokens = self.time.num_tokens(round(utterance.duration * self.mel.config.sample_rate))
        if not self.config.min_seconds <= utterance.duration <= self.config.max_seconds:
            self.num_outside += 1
        elif not labels:
            self.bad.append(BadRecord(f"utterance {utterance.id}", "a transcript without words"))
        elif num_ctc_frames(labels) > upsampling * tokens:
            reason = (
                f"{num_ctc_frames(labels)} labels outnumber {upsampling * tokens} CTC frames"
                f" ({tokens} tokens at {self.time.frame_rate} Hz): raise model.upsampling or model.num_labels"
            )
            self.bad.append(BadRecord(f"utterance {utterance.id}", reason))
        else:
            self.items.append(Example(utterance, labels, tokens))

    def _check(self) -> None:
        check_bad_share(self.bad, self.num_records, self.config.max_bad_share)

    def frames(self, row: int) -> Tensor | None:
        """The (M, F) frames of an example; None if its audio is bad (then counted)."""
        if row in self.cache:
            kept = self.cache[row]
            return None if kept is None else kept.float()
        utterance = self.items[row].utterance
        try:
            audio = self.time.pad(read_audio(utterance.audio, self.mel.config.sample_rate))
        except UserError as error:
            self.cache[row] = None
            self.bad.append(BadRecord(str(utterance.audio), error.found))
            self._check()
            return None
        with torch.no_grad():
            frames = self.mel(torch.from_numpy(audio)[None])[0].half()  # rounded alike, kept or not
        if self.cache_bytes + 2 * frames.numel() <= self.config.cache_mb * 2**20:
            self.cache[row] = frames
            self.cache_bytes += 2 * frames.numel()
        return frames.float()

    def collate(self, rows: Sequence[int]) -> Batch:
        """The good ones of ``rows`` as one batch."""
        found = [(frames, self.items[row].labels) for row in rows if (frames := self.frames(row)) is not None]
        if not found:
            remedy = "mend or drop these records"
            raise UserError(self.bad[-1].place, found="a whole batch of unreadable audio", remedy=remedy)
        longest = max(frames.shape[1] for frames, _ in found)
        mel_BMF = torch.stack([torch.nn.functional.pad(frames, (0, longest - frames.shape[1])) for frames, _ in found])
        return Batch(
            mel=mel_BMF,
            lengths=torch.tensor([frames.shape[1] // self.time.frames_per_token for frames, _ in found]),
            labels=torch.tensor([label for _, labels in found for label in labels]),
            label_counts=torch.tensor([len(labels) for _, labels in found]),
        )


@dataclass(frozen=True)
class Batch:
    """One training batch.

    Attributes:
        mel: (B, M, F), zero at padding.
        lengths: (B,) tokens.
        labels: (sum of label_counts,) the labels of all rows, one after the other.
        label_counts: (B,).
    """

    mel: Tensor
    lengths: Tensor
    labels: Tensor
    label_counts: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        return Batch(*(x.to(device) for x in (self.mel, self.lengths, self.labels, self.label_counts)))
