"""Training utterances: read when first needed, kept in memory, drawn in an order set by the seed.

The batch of a step depends on (seed, step) alone: a resumed run, and every rank of one, draws the same.

Shapes: B batch, S samples, T tokens, F mel frames (`decoder.block_schedule`), M mel bins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from corpus.audio.files import SAMPLE_RATE, Samples
from corpus.audio.frame_rate import FrameRate
from corpus.audio.mel import LogMel
from corpus.audio.mel_config import LogMelConfig
from corpus.audio.segments import DURATION_TOLERANCE, read_segment
from corpus.manifest import Utterance, read_manifest
from corpus.tokens import TokenisedSpeech
from decoder.block_schedule import BlockSchedule
from decoder.speaker import Clips
from runtime.errors import UserError

CACHE_BYTES = 2 << 30
FULL_SCALE = 32768.0
Found = TypeVar("Found")


def read_split(corpus: Path | str, split: str, voices: Sequence[str], max_bad_share: float) -> list[Utterance]:
    """The utterances of ``<corpus>/<split>.jsonl`` in these voices (all voices where ``voices`` is empty).

    Raises:
        UserError: no manifest, too many bad records, or no utterance in these voices.
    """
    manifest = read_manifest(Path(corpus) / f"{split}.jsonl", max_bad_share, needs_text=False)
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
            raise UserError(name, found=found, remedy="repair the corpus, or raise max_bad_share")


@dataclass
class WaveformCache:
    """Waveforms by index, kept as 16-bit samples while they fit into ``cache_bytes``.

    Attributes:
        utterances: what may be drawn.
        max_bad_share: share of recordings that may be unreadable; they are replaced by their successor.
        mel: whose sample rate they are read at, and to whose hops they are padded.
        cache_bytes: memory for waveforms.
        tolerance: seconds by which the length of a recording may differ from the manifest's duration.
    """

    utterances: list[Utterance]
    max_bad_share: float = 0.01
    mel: LogMelConfig = field(default_factory=LogMelConfig)
    cache_bytes: int = CACHE_BYTES
    tolerance: float = DURATION_TOLERANCE
    cached: dict[int, npt.NDArray[np.int16]] = field(default_factory=dict)
    lengths: dict[int, int] = field(default_factory=dict)
    used: int = 0

    def __post_init__(self) -> None:
        self.bad = BadAudio(len(self.utterances), self.max_bad_share)

    def __len__(self) -> int:
        return len(self.utterances)

    def audio(self, index: int) -> Samples:
        """(S,) float32, zero-padded to whole mel frames; of the next good utterance if this one is bad."""
        return self._first_good(index, self._load).astype(np.float32) / FULL_SCALE

    def length(self, index: int) -> int:
        """Samples of `audio`; it reads a recording once at most, even where the samples are not cached."""
        return self._first_good(index, lambda at: self.lengths.get(at) or len(self._load(at)))

    def _first_good(self, index: int, get: Callable[[int], Found]) -> Found:
        for successor in range(len(self)):
            at = (index + successor) % len(self)
            if self.utterances[at].id in self.bad.reasons:
                continue
            try:
                return get(at)
            except UserError as error:
                self.bad.add(self.utterances[at].id, error)
        raise AssertionError("BadAudio raises before every recording is bad")

    def _load(self, index: int) -> npt.NDArray[np.int16]:
        if index in self.cached:
            return self.cached[index]
        audio = read_segment(self.utterances[index].segment, self.mel.sample_rate, tolerance=self.tolerance)
        audio = np.pad(audio, (0, -len(audio) % self.mel.hop))
        samples = np.clip(np.round(audio * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
        self.lengths[index] = len(samples)
        if self.used + samples.nbytes <= self.cache_bytes:
            self.cached[index] = samples
            self.used += samples.nbytes
        return samples


class DecoderExample(NamedTuple):
    """One utterance of a decoder's training: (T,) tokens, (F, M) normalised log-mel, its voice's row."""

    tokens: npt.NDArray[np.int64]
    mel: npt.NDArray[np.float16]
    speaker: int


def pair_examples(
    utterances: Sequence[Utterance],
    speech: TokenisedSpeech,
    log_mel: LogMel,
    schedule: BlockSchedule,
    speakers: Sequence[str],
    max_bad_share: float,
    tolerance: float = DURATION_TOLERANCE,
) -> Iterator[DecoderExample]:
    """Tokens and mel of each utterance, joined by id. Yields in the order of ``utterances``.

    Raises:
        UserError: too many recordings are unreadable, have no tokens, or tokens of another length.
    """
    tokens_of = {item.id: item.tokens for item in speech.items}
    time = FrameRate(speech.frame_rate)
    bad = BadAudio(len(utterances), max_bad_share)
    rate, hop = log_mel.config.sample_rate, log_mel.config.hop
    for utterance in utterances:
        try:
            audio = read_segment(utterance.segment, tolerance=tolerance)
            tokens = matching_tokens(utterance, tokens_of.get(utterance.id), time.num_tokens(len(audio)))
            audio = audio if rate == SAMPLE_RATE else read_segment(utterance.segment, rate, tolerance=tolerance)
        except UserError as error:
            bad.add(utterance.id, error)
            continue
        length = schedule.num_frames(len(tokens)) * hop
        framed = np.pad(audio[:length], (0, max(0, length - len(audio))))
        with torch.inference_mode():
            mel_FM = log_mel(torch.from_numpy(framed)[None])[0].T
        yield DecoderExample(
            tokens.astype(np.int64), mel_FM.numpy().astype(np.float16), speakers.index(utterance.speaker)
        )


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


class DecoderBatch(NamedTuple):
    """Padded examples: tokens (B, T), mel (B, F, M), rows of the voices (B,), mask of real tokens (B, T)."""

    tokens: torch.Tensor
    mel: torch.Tensor
    rows: torch.Tensor
    is_real: torch.Tensor

    def to(self, device: torch.device) -> DecoderBatch:
        """The same on ``device``."""
        return DecoderBatch(*(part.to(device) for part in self))

    def rows_of(self, chosen: slice) -> DecoderBatch:
        """Those of the examples ``chosen``."""
        return DecoderBatch(*(part[chosen] for part in self))


def collate(examples: Sequence[DecoderExample], schedule: BlockSchedule) -> DecoderBatch:
    """Pad to the longest."""
    longest = max(len(example.tokens) for example in examples)
    tokens_BT = torch.zeros(len(examples), longest, dtype=torch.long)
    mel_BFM = torch.zeros(len(examples), schedule.num_frames(longest), examples[0].mel.shape[1])
    is_real_BT = torch.zeros(len(examples), longest, dtype=torch.bool)
    for row, example in enumerate(examples):
        tokens_BT[row, : len(example.tokens)] = torch.from_numpy(example.tokens)
        mel_BFM[row, : len(example.mel)] = torch.from_numpy(example.mel.astype(np.float32))
        is_real_BT[row, : len(example.tokens)] = True
    return DecoderBatch(tokens_BT, mel_BFM, torch.tensor([example.speaker for example in examples]), is_real_BT)


def crop(
    example: DecoderExample, tokens: int, schedule: BlockSchedule, generator: np.random.Generator
) -> DecoderExample:
    """A random stretch of at most ``tokens`` tokens."""
    return stretch(example, int(generator.integers(0, max(0, len(example.tokens) - tokens) + 1)), tokens, schedule)


def prefix(
    example: DecoderExample, tokens: int, schedule: BlockSchedule, generator: np.random.Generator
) -> DecoderExample:
    """The first n blocks, n random, of at most ``tokens`` tokens: what a stream has to begin with (facts A9)."""
    blocks = min(tokens, len(example.tokens)) // schedule.block_tokens
    count = int(generator.integers(1, max(1, blocks) + 1)) * schedule.block_tokens
    return stretch(example, 0, count, schedule)


def stretch(example: DecoderExample, start: int, tokens: int, schedule: BlockSchedule) -> DecoderExample:
    """At most ``tokens`` tokens from ``start`` on, and their frames (at a fraction of frames a token within one)."""
    chosen = example.tokens[start : start + tokens]
    wanted, first = schedule.num_frames(len(chosen)), schedule.num_frames(start)
    mel_FM = example.mel[first : first + wanted]
    missing = wanted - len(mel_FM)  # 0, or 1 where the stretch's last frame begins after the utterance's
    return DecoderExample(chosen, np.pad(mel_FM, ((0, missing), (0, 0)), mode="edge"), example.speaker)


@dataclass(frozen=True)
class ClipSource:
    """Draws for an example a stretch of another utterance of its voice, where there is one.

    Attributes:
        examples: to draw from.
        frames: longest clip.
        share: of the examples that take their voice from the clip.
    """

    examples: Sequence[DecoderExample]
    frames: int
    share: float

    @cached_property
    def of_voice(self) -> dict[int, list[int]]:
        """The examples of each voice."""
        found: dict[int, list[int]] = {}
        for index, example in enumerate(self.examples):
            found.setdefault(example.speaker, []).append(index)
        return found

    def draw(self, drawn: Sequence[int], generator: np.random.Generator) -> Clips:
        """The clips of the examples ``drawn``."""
        mels = []
        for index in drawn:
            others = self.of_voice[self.examples[index].speaker]
            other = others[int(generator.integers(len(others)))]
            if other == index:  # a clip of the utterance itself would give away more than the voice
                other = others[(others.index(index) + 1) % len(others)]
            mel_FM = self.examples[other].mel
            start = int(generator.integers(0, max(0, len(mel_FM) - self.frames) + 1))
            mels.append(torch.from_numpy(mel_FM[start : start + self.frames].astype(np.float32)))
        mel_BFM = torch.nn.utils.rnn.pad_sequence(mels, batch_first=True)
        lengths_B = torch.tensor([len(mel) for mel in mels])
        is_real_BF = torch.arange(mel_BFM.shape[1])[None] < lengths_B[:, None]
        return Clips(mel_BFM, is_real_BF, torch.from_numpy(generator.random(len(mels)) < self.share))


def draw(count: int, batch: int, *, seed: int, step: int) -> list[int]:
    """The ``batch`` indices below ``count`` of this step: epoch after epoch, each in an order of its own."""
    places = range(step * batch, (step + 1) * batch)
    return [int(shuffled(count, seed, place // count)[place % count]) for place in places]


@lru_cache(maxsize=4)
def shuffled(count: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """The order of one epoch."""
    return np.random.default_rng((seed, epoch)).permutation(count)
