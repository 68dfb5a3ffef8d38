"""The utterances a decoder is trained on: read when first needed, kept in memory, drawn in an order set by the seed.

The batch of a step depends on (seed, step) alone, so that a resumed run sees what an unbroken one would have seen.

Shapes: S samples, T tokens, F = 8 T mel frames, M mel bins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from corpus.audio import Samples, read_audio
from corpus.errors import UserError
from corpus.manifest import Utterance, read_manifest
from corpus.mel import LogMel
from corpus.token_time import DEFAULT_TIME, FRAMES_PER_TOKEN, num_tokens, pad_to_token
from corpus.tokens import TokenisedSpeech

CACHE_BYTES = 2 << 30
FULL_SCALE = 32768.0


def read_split(corpus: Path | str, split: str, voices: Sequence[str], max_bad_share: float) -> list[Utterance]:
    """The utterances of ``<corpus>/<split>.jsonl`` in these voices (all voices where ``voices`` is empty).

    Raises:
        UserError: no manifest, too many bad records, or no utterance in these voices.
    """
    manifest = read_manifest(Path(corpus) / f"{split}.jsonl", max_bad_share)
    chosen = [item for item in manifest.utterances if not voices or item.speaker in voices]
    if not chosen:
        found = f"no utterance in the voices {', '.join(voices)}"
        known = ", ".join(sorted({item.speaker for item in manifest.utterances}))
        raise UserError(str(manifest.path), found=found, remedy=f"choose among: {known}")
    return chosen


class BadAudio:
    """Counts recordings that cannot be used; more than ``max_share`` of ``total`` are an error."""

    def __init__(self, total: int, max_share: float) -> None:
        self.total, self.max_share = total, max_share
        self.reasons: dict[str, str] = {}

    def add(self, name: str, error: UserError) -> None:
        """Note a bad recording; raises a `UserError` when there are too many."""
        self.reasons[name] = str(error)
        if len(self.reasons) > self.max_share * self.total:
            found = f"{len(self.reasons)} of {self.total} recordings are bad; the last: {error}"
            raise UserError(name, found=found, remedy="mend the corpus, or raise max_bad_share")


@dataclass
class Recordings:
    """Waveforms by index, kept as 16-bit samples while they fit into ``cache_bytes``.

    Attributes:
        utterances: what may be drawn.
        max_bad_share: share of recordings that may be unreadable; they are replaced by their successor.
        cache_bytes: memory for waveforms.
    """

    utterances: list[Utterance]
    max_bad_share: float = 0.01
    cache_bytes: int = CACHE_BYTES
    cached: dict[int, npt.NDArray[np.int16]] = field(default_factory=dict)
    used: int = 0

    def __post_init__(self) -> None:
        self.bad = BadAudio(len(self.utterances), self.max_bad_share)

    def __len__(self) -> int:
        return len(self.utterances)

    def audio(self, index: int) -> Samples:
        """(S,) float32, zero-padded to whole tokens; of the next good utterance if this one is bad."""
        for successor in range(len(self)):
            at = (index + successor) % len(self)
            if self.utterances[at].id in self.bad.reasons:
                continue
            try:
                return self._load(at).astype(np.float32) / FULL_SCALE
            except UserError as error:
                self.bad.add(self.utterances[at].id, error)
        raise AssertionError("BadAudio raises before every recording is bad")

    def _load(self, index: int) -> npt.NDArray[np.int16]:
        if index in self.cached:
            return self.cached[index]
        audio = pad_to_token(read_audio(self.utterances[index].audio))
        samples = np.clip(np.round(audio * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
        if self.used + samples.nbytes <= self.cache_bytes:
            self.cached[index] = samples
            self.used += samples.nbytes
        return samples


class Example(NamedTuple):
    """One utterance of a decoder's training: (T,) tokens, (8 T, M) normalised log-mel, its voice's row."""

    tokens: npt.NDArray[np.int64]
    mel: npt.NDArray[np.float16]
    speaker: int


def pair_examples(
    utterances: Sequence[Utterance],
    speech: TokenisedSpeech,
    log_mel: LogMel,
    speakers: Sequence[str],
    max_bad_share: float,
) -> Iterator[Example]:
    """Tokens and mel of each utterance, joined by id. Yields in the order of ``utterances``.

    Raises:
        UserError: too many recordings are unreadable, have no tokens, or tokens of another length; or the tokens are
            not at 12.5 Hz.
    """
    if speech.frame_rate != DEFAULT_TIME.frame_rate:
        found = f"tokens at {speech.frame_rate} Hz"
        remedy = f"give tokens at {DEFAULT_TIME.frame_rate} Hz: the decoder makes {FRAMES_PER_TOKEN} frames of each"
        raise UserError("the tokens", found=found, remedy=remedy)
    tokens_of = {item.id: item.tokens for item in speech.items}
    bad = BadAudio(len(utterances), max_bad_share)
    for utterance in utterances:
        try:
            audio = read_audio(utterance.audio)
            tokens = matching_tokens(utterance, tokens_of.get(utterance.id), num_tokens(len(audio)))
        except UserError as error:
            bad.add(utterance.id, error)
            continue
        with torch.inference_mode():
            mel_FM = log_mel(torch.from_numpy(pad_to_token(audio))[None])[0].T
        yield Example(tokens.astype(np.int64), mel_FM.numpy().astype(np.float16), speakers.index(utterance.speaker))


def matching_tokens(
    utterance: Utterance, tokens: npt.NDArray[np.uint16] | None, expected: int
) -> npt.NDArray[np.uint16]:
    """The tokens of an utterance, which must be there and as many as its audio has."""
    remedy = "run tokenizer.encode on this corpus again"
    if tokens is None:
        raise UserError(f"utterance {utterance.id}", found="no tokens", remedy=remedy)
    if len(tokens) != expected:
        found = f"{len(tokens)} tokens for audio of {expected}"
        raise UserError(f"utterance {utterance.id}", found=found, remedy=remedy)
    return tokens


class Batch(NamedTuple):
    """Padded examples: tokens (B, T), mel (B, 8 T, M), voices (B,), mask of real tokens (B, T)."""

    tokens: torch.Tensor
    mel: torch.Tensor
    speakers: torch.Tensor
    is_real: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on ``device``."""
        return Batch(*(part.to(device) for part in self))


def collate(examples: Sequence[Example]) -> Batch:
    """Pad to the longest."""
    longest = max(len(example.tokens) for example in examples)
    tokens_BT = torch.zeros(len(examples), longest, dtype=torch.long)
    mel_BFM = torch.zeros(len(examples), longest * FRAMES_PER_TOKEN, examples[0].mel.shape[1])
    is_real_BT = torch.zeros(len(examples), longest, dtype=torch.bool)
    for row, example in enumerate(examples):
        tokens_BT[row, : len(example.tokens)] = torch.from_numpy(example.tokens)
        mel_BFM[row, : len(example.mel)] = torch.from_numpy(example.mel.astype(np.float32))
        is_real_BT[row, : len(example.tokens)] = True
    return Batch(tokens_BT, mel_BFM, torch.tensor([example.speaker for example in examples]), is_real_BT)


def crop(example: Example, tokens: int, generator: np.random.Generator) -> Example:
    """A random stretch of at most ``tokens`` tokens."""
    start = int(generator.integers(0, max(0, len(example.tokens) - tokens) + 1))
    frames = slice(start * FRAMES_PER_TOKEN, (start + tokens) * FRAMES_PER_TOKEN)
    return Example(example.tokens[start : start + tokens], example.mel[frames], example.speaker)


def draw(count: int, batch: int, *, seed: int, step: int) -> list[int]:
    """The ``batch`` indices below ``count`` of this step: epoch after epoch, each in an order of its own."""
    places = range(step * batch, (step + 1) * batch)
    return [int(shuffled(count, seed, place // count)[place % count]) for place in places]


@lru_cache(maxsize=4)
def shuffled(count: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """The order of one epoch."""
    return np.random.default_rng((seed, epoch)).permutation(count)
