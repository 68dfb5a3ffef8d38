"""Contract of a speech encoder: audio -> frames (in a data worker) -> one vector a position (in the model).

The front end turns samples into frames on a CPU and has no weights, so that it may go to other processes; the encoder
turns padded frames of several clips into vectors. Padding and batch mates change no vector (but for the rounding of
matrix products), and rows behind a clip's end are zero, so that a convolution over vectors sees none of them either.

    encoder = load_encoder("runs/tokenizer/artefact", layer="back")
    frames = [encoder.mel(samples) for samples in clips]
    vectors, positions = encoder(pad_sequence(frames, batch_first=True), torch.tensor([len(one) for one in frames]))

C clips, S samples, F frames, M values of a frame, T positions, E width of a vector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from corpus.audio.files import SAMPLE_RATE, Samples
from runtime.errors import UserError
from tokenizer.inference_batches import LONGEST_BATCHED, batches_by_length
from tokenizer.streaming import VectorStream, check_audio, inference


class SpeechVectors(NamedTuple):
    """Vectors of a batch of clips.

    Attributes:
        vectors: (C, T, E); zero from each clip's ``positions`` on.
        positions: (C,) int64, those that count.
    """

    vectors: Tensor
    positions: Tensor

    @classmethod
    def masked(cls, vectors_CTE: Tensor, positions_C: Tensor) -> SpeechVectors:
        """Vectors with zeros behind each clip's end."""
        is_real_CT = torch.arange(vectors_CTE.shape[1], device=positions_C.device) < positions_C[:, None]
        return cls(vectors_CTE.masked_fill(~is_real_CT[..., None], 0.0), positions_C)


class SpeechFrontEnd(ABC):
    """Samples to the frames that an encoder takes, on a CPU; without weights, so it may be sent to data workers.

    Attributes:
        sample_rate: of the audio, Hz.
        positions_per_second: of the encoder's vectors.
        frame_width: M, values of a frame.
    """

    sample_rate: int = SAMPLE_RATE
    positions_per_second: float
    frame_width: int

    @abstractmethod
    def num_positions(self, num_samples: int) -> int:
        """Positions T of a clip of ``num_samples``; 0 of none."""

    @abstractmethod
    def mel(self, samples: Samples) -> Tensor:
        """(S,) float32 samples of full scale 1, at ``sample_rate``, to (F, M) float32."""


class SpeechEncoder(nn.Module, ABC):
    """Frames to one vector a position.

    A module to train or to freeze. It is loaded in evaluation mode.

    Attributes:
        front_end: samples to frames.
        width: E.
        layer: name of the layer whose vectors it gives.
        fingerprint: digest of all that decides the vectors, of the weights as they were loaded.
        codebook_size: codes that `from_codes` knows; 0: none.
        codes_fingerprint: the fingerprint of the tokenizer whose codes those are; "" where there are none.
    """

    front_end: SpeechFrontEnd
    width: int
    layer: str
    fingerprint: str
    codebook_size: int = 0
    codes_fingerprint: str = ""

    @property
    def sample_rate(self) -> int:
        """Of the audio, Hz."""
        return self.front_end.sample_rate

    @property
    def positions_per_second(self) -> float:
        """Vectors a second."""
        return self.front_end.positions_per_second

    def num_positions(self, num_samples: int) -> int:
        """Positions T of a clip of ``num_samples``; 0 of none."""
        return self.front_end.num_positions(num_samples)

    def mel(self, samples: Samples) -> Tensor:
        """(S,) float32 samples of full scale 1, at ``sample_rate``, to (F, M) float32."""
        return self.front_end.mel(samples)

    @abstractmethod
    def forward(self, mel_CFM: Tensor, frames_C: Tensor) -> SpeechVectors:
        """Vectors of padded clips.

        Args:
            mel_CFM: (C, F, M) frames of `mel`, anything behind each clip's end, in any dtype.
            frames_C: (C,) frames of each.

        Returns:
            Vectors; T is at least 1 where F is, also if no position counts.
        """

    def from_codes(self, codes_CT: Tensor, positions_C: Tensor) -> SpeechVectors:
        """Vectors of a tokenizer's codes, for corpora that hold codes and no audio.

        Args:
            codes_CT: (C, T) int64 below ``codebook_size``, anything valid behind each clip's end.
            positions_C: (C,) codes of each clip.

        Raises:
            UserError: an encoder without a codebook.
        """
        found = "no codebook: it is not made of a tokenizer that was trained with vector quantisation"
        raise UserError("the speech encoder", found=found, remedy="give the artefact of the corpus's own tokenizer")

    @property
    def is_streaming(self) -> bool:
        """Whether `open_stream` gives final vectors before the audio ends."""
        return False

    def open_stream(self) -> VectorStream:
        """A stream of audio to vectors: ``feed(samples)`` and ``finish()`` give final (T, E) as soon as they are known.

        Raises:
            UserError: an encoder whose vectors depend on the whole clip.
        """
        found = f"layer {self.layer}, whose vectors depend on the whole clip"
        raise UserError("the speech encoder", found=found, remedy="give layer=front of a tokenizer")

    def encode(self, audios: Sequence[Samples]) -> list[Tensor]:
        """Vectors (T, E) float32 on the CPU of audios of any length, for inference; none for 0 samples.

        Raises:
            UserError: audio that is not one-dimensional, of floating point and finite.
        """
        lengths = [self.num_positions(len(check_audio(audio, at))) for at, audio in enumerate(audios)]
        found = [torch.zeros(0, self.width) for _ in audios]
        with inference(self):
            for rows in batches_by_length(lengths, self.positions_per_second):
                given = [audios[row] for row in rows]
                for row, vectors_TE in zip(rows, self._encode_batch(given), strict=True):
                    found[row] = vectors_TE.float().cpu()
        return found

    def _encode_batch(self, audios: list[Samples]) -> list[Tensor]:
        """An inference batch; a long audio comes alone, and is streamed where the encoder can."""
        if self.is_streaming and len(audios[0]) > LONGEST_BATCHED * self.sample_rate:
            return [torch.from_numpy(self.open_stream().encode(audio)) for audio in audios]
        frames = [self.mel(audio) for audio in audios]
        device = next(self.parameters()).device
        mel_CFM = pad_sequence(frames, batch_first=True).to(device)
        result = self(mel_CFM, torch.tensor([len(one) for one in frames], device=device))
        return [row[:count] for row, count in zip(result.vectors, result.positions.tolist(), strict=True)]
