"""Training examples: utterances with their labels, and their mel frames, read when needed and kept in memory.

Bad records are left out and counted; when they exceed the set share, a `UserError` names the first.

M mel bands, F mel frames (a whole number of tokens).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from corpus.audio.files import Samples
from corpus.audio.mel import LogMel
from corpus.audio.noise import add_noise, make_noise
from corpus.audio.segments import read_segment
from corpus.manifest import BadRecord, Manifest, Utterance, check_bad_share
from runtime.errors import UserError
from tokenizer.backbones.config import TokenizerModelConfig
from tokenizer.backbones.whisper_decoder import MAX_LABELS
from tokenizer.labels import Labels, num_ctc_frames

from .config import DataConfig, TrainingNoiseConfig


@dataclass(frozen=True)
class AsrExample:
    """An utterance, its labels, and its length in tokens by the manifest's duration."""

    utterance: Utterance
    labels: list[int]
    num_tokens: int


class Examples:
    """The usable utterances of a manifest.

    Attributes:
        items: the examples, in the manifest's order.
        bad: the records left out, with reasons (grows as audio is read).
    """

    def __init__(
        self,
        manifest: Manifest,
        labels: Labels,
        config: DataConfig,
        *,
        model: TokenizerModelConfig,
        mel: LogMel,
        noise: TrainingNoiseConfig | None = None,
    ) -> None:
        self.config, self.model, self.mel, self.time = config, model, mel, model.time
        self.noise = noise or TrainingNoiseConfig()
        self.items: list[AsrExample] = []
        self.bad: list[BadRecord] = list(manifest.bad)
        self.num_records = len(manifest.utterances) + len(manifest.bad)
        self.num_outside = 0  # too short or too long: left out on purpose, not bad
        for utterance in manifest.utterances:
            self._take(utterance, labels.encode(utterance.text))
        self._check()
        if not self.items:
            found = f"no utterance of {config.min_seconds} to {config.max_seconds} s"
            raise UserError(str(manifest.path), found=found, remedy="set data.min_seconds and data.max_seconds")
        self.cache: dict[int, Tensor | None] = {}
        self.padding: dict[int, int] = {}  # frames after the audio's end, of the examples that were read
        self.waveforms: dict[int, npt.NDArray[np.float16]] = {}  # samples, kept where noise is added to them
        self.cache_bytes = 0

    def _take(self, utterance: Utterance, labels: list[int]) -> None:
        tokens = self.time.num_tokens(round(utterance.duration * self.mel.config.sample_rate))
        if not self.config.min_seconds <= utterance.duration <= self.config.max_seconds:
            self.num_outside += 1
        elif not labels:
            self.bad.append(BadRecord(f"utterance {utterance.id}", "a transcript without words"))
        elif self.model.attention_weight and len(labels) >= MAX_LABELS:
            reason = f"{len(labels)} labels, but the attention decoder reads {MAX_LABELS - 1}: raise model.num_labels"
            self.bad.append(BadRecord(f"utterance {utterance.id}", reason))
        elif self.model.ctc_weight and num_ctc_frames(labels) > self.model.num_ctc_frames(tokens):
            reason = (
                f"{num_ctc_frames(labels)} labels outnumber {self.model.num_ctc_frames(tokens)} CTC frames"
                f" ({tokens} tokens at {self.time.frame_rate} Hz): raise model.upsampling or model.num_labels,"
                " or lower model.ctc_pooling"
            )
            self.bad.append(BadRecord(f"utterance {utterance.id}", reason))
        else:
            self.items.append(AsrExample(utterance, labels, tokens))

    def _check(self) -> None:
        check_bad_share(self.bad, self.num_records, self.config.max_bad_share)

    def frames(self, row: int) -> Tensor | None:
        """The (M, F) frames of an example; None if its audio is bad (then counted)."""
        if row in self.cache:
            kept = self.cache[row]
            return None if kept is None else kept.float()
        try:
            frames = self.mel_of(self.samples(row))
        except UserError as error:
            self.cache[row] = None
            self.bad.append(BadRecord(str(self.items[row].utterance.audio), error.found))
            self._check()
            return None
        if self._may_keep(2 * frames.numel()):
            self.cache[row] = frames
        return frames.float()

    def samples(self, row: int) -> Samples:
        """The (S,) samples of an example, padded to whole tokens."""
        if row in self.waveforms:
            return self.waveforms[row].astype(np.float32)
        segment, rate = self.items[row].utterance.segment, self.mel.config.sample_rate
        audio = read_segment(segment, rate, tolerance=self.config.duration_tolerance)
        self.padding[row] = self.time.num_padding_frames(len(audio))
        audio = self.time.pad(audio)
        if not self.noise.is_on:
            return audio
        rounded = audio.astype(np.float16)  # rounded alike, kept or not
        if self._may_keep(rounded.nbytes):
            self.waveforms[row] = rounded
        return rounded.astype(np.float32)

    def mel_of(self, audio: Samples) -> Tensor:
        """(S,) samples to (M, F) frames in half precision: rounded alike, kept or not."""
        with torch.no_grad():
            return self.mel(torch.from_numpy(audio)[None])[0].half()

    def _may_keep(self, num_bytes: int) -> bool:
        is_room = self.cache_bytes + num_bytes <= self.config.cache_mb * 2**20
        self.cache_bytes += num_bytes if is_room else 0
        return is_room

    def collate(self, rows: Sequence[int], *, noise_seed: tuple[int, int] = (0, 0)) -> AsrBatch:
        """The good ones of ``rows`` as one batch; ``noise_seed`` (seed, place of the batch) decides its noise."""
        found = {row: frames for row in rows if (frames := self.frames(row)) is not None}
        if not found:
            remedy = "mend or drop these records"
            raise UserError(self.bad[-1].place, found="a whole batch of unreadable audio", remedy=remedy)
        labels = [self.items[row].labels for row in found]
        return AsrBatch(
            mel=stack(list(found.values())),
            lengths=torch.tensor([frames.shape[1] // self.time.frames_per_token for frames in found.values()]),
            padding=torch.tensor([self.padding[row] for row in found]),
            labels=torch.tensor([label for own in labels for label in own]),
            label_counts=torch.tensor([len(own) for own in labels]),
            noised=stack(self.noised(list(found), noise_seed)) if self.noise.is_on else None,
        )

    def noised(self, rows: list[int], seed: tuple[int, int]) -> list[Tensor]:
        """The (M, F) frames of examples under noise of a random kind and strength each."""
        audios = [self.samples(row) for row in rows]
        random = np.random.default_rng(seed)
        frames = []
        for at, audio in enumerate(audios):
            kind = self.noise.kinds[random.integers(len(self.noise.kinds))]
            others = audios[:at] + audios[at + 1 :]
            if kind == "babble" and not others:
                kind = "pink"  # no other utterance is in the batch
            noise = make_noise(kind, str(at), len(audio), others, int(random.integers(2**31)))
            snr = random.uniform(self.noise.min_snr, self.noise.max_snr)
            frames.append(self.mel_of(add_noise(audio, noise, snr)).float())
        return frames


def stack(frames: list[Tensor]) -> Tensor:
    """(M, F) frames of any F to (B, M, longest F), zero at padding."""
    longest = max(item.shape[1] for item in frames)
    return torch.stack([torch.nn.functional.pad(item, (0, longest - item.shape[1])) for item in frames])


@dataclass(frozen=True)
class AsrBatch:
    """One training batch.

    Attributes:
        mel: (B, M, F), zero at padding.
        lengths: (B,) tokens.
        padding: (B,) frames of the last token that lie after the audio.
        labels: (sum of label_counts,) the labels of all rows, one after the other.
        label_counts: (B,).
        noised: (B, M, F) the same under noise; None where no noise is asked for.
    """

    mel: Tensor
    lengths: Tensor
    padding: Tensor
    labels: Tensor
    label_counts: Tensor
    noised: Tensor | None = None

    def to(self, device: torch.device) -> AsrBatch:
        """The batch on another device."""
        return AsrBatch(
            mel=self.mel.to(device),
            lengths=self.lengths.to(device),
            padding=self.padding.to(device),
            labels=self.labels.to(device),
            label_counts=self.label_counts.to(device),
            noised=None if self.noised is None else self.noised.to(device),
        )
