"""Streaming decoder: each block of tokens is decoded as soon as it is complete, at a constant cost.

    with decoder.streaming(speaker="anna") as stream:
        for tokens in pieces:                        # of any length
            play(stream.feed(tokens))                # (S,) samples, perhaps none
        play(stream.finish())

The sizes of the pieces change nothing: the samples, put together, are those of `SpeechDecoder.decode`. Kept
between blocks are keys and values of the last `past_blocks` blocks (for the encoder and for every evaluation of the
flow's estimator), the vocoder's frames that it still needs, and the place in the noise; all of it is bounded, so
that ten minutes of speech take no more memory than ten seconds.

Many streams of a decoder run as rows of one batch, each at its own place (`runtime.streaming.feed_rows`).

Shapes: N streams, T tokens, F mel frames, P patches, M mel bins, S samples.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence
from types import TracebackType
from typing import ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from corpus.audio.files import Samples
from runtime.errors import UserError
from runtime.streaming import MIN_POSITIONS, BlockStream, feed_rows, finish_rows

from .backbone import stack_caches, take_back
from .encoder import TokenEncoder, Tokens
from .flow import Conditions, FlowMatching, Sampling
from .noise import Noise
from .speaker import Speakers, stack_speakers
from .vocoder import MelPiece, Vocoder


class Block(NamedTuple):
    """Work of one step: the tokens before ``end`` that are not decoded yet (perhaps none), and what follows them.

    Attributes:
        end: number of the token that the block ends before.
        is_last: no token follows: an unfinished patch is decoded too.
        is_rest: nothing is left to decode: the samples that the vocoder still holds.
    """

    end: int
    is_last: bool
    is_rest: bool = False


class DecoderStream(BlockStream[Block]):
    """One utterance in progress: tokens to samples. Use it in a ``with`` statement, or call `finish` at the end.

    Args:
        encoder: of the tokens; the weights of all parts are shared by any number of streams.
        flow: the estimator and its solver.
        vocoder: mel to samples.
        speakers: one voice.
        sampling: options of the solver.
    """

    input_type: ClassVar[type[np.generic]] = np.int64
    output_type: ClassVar[type[np.generic]] = np.float32

    def __init__(
        self, encoder: TokenEncoder, flow: FlowMatching, vocoder: Vocoder, speakers: Speakers, sampling: Sampling
    ) -> None:
        self.encoder, self.flow, self.speakers, self.sampling = encoder, flow, speakers, sampling
        self.schedule = encoder.schedule
        self.vocoder = vocoder.streaming()
        self.reset()

    def reset(self) -> None:
        """Begin another utterance of the same voice."""
        encoder = self.encoder
        self.noise = Noise(encoder.num_mels)
        self.encoder_cache = encoder.backbone.empty_cache(1)
        self.flow_caches = self.flow.empty_caches(1, self.sampling)
        self.vocoder.reset()
        # Tokens that are not decoded yet, and as many before them as the encoder looks at; -1 is none.
        self.tokens_T = torch.full((encoder.lookahead,), -1, dtype=torch.long)
        self.num_decoded = self.num_fed = self.num_blocks = 0  # tokens decoded and fed, blocks decoded
        self.num_patches = 0
        self.means_1FM = torch.zeros(1, 0, encoder.num_mels, device=encoder.device)  # of unfinished patches
        self.is_open, self.is_over = True, False  # over: no token follows

    def __enter__(self) -> DecoderStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def feed(self, tokens: Tokens) -> Samples:
        """Take (T,) tokens, T may be 0; returns the samples (S,) that are now known.

        Raises:
            UserError: a token out of range, or the stream is over.
        """
        return feed_rows([self], [tokens])[0]

    def finish(self) -> Samples:
        """No token follows: the remaining samples (S,).

        Raises:
            UserError: the stream was given no token, or was over before.
        """
        return finish_rows([self])[0]

    def close(self) -> None:
        """Free what is kept."""
        self.is_open = False
        self.flow_caches = []
        self.encoder_cache.layers = []

    def fork(self) -> Self:
        """A stream at the same place that goes on by itself."""
        twin = copy.copy(self)
        twin.noise, twin.vocoder = copy.deepcopy(self.noise), self.vocoder.fork()
        twin.encoder_cache, twin.flow_caches = self.encoder_cache.fork(), [cache.fork() for cache in self.flow_caches]
        return twin

    def check(self, piece: Tokens, *, is_last: bool) -> None:
        """Raise a `UserError` unless the stream can take (T,) tokens, and end after them if they are the last."""
        if not self.is_open or self.is_over:
            found = "tokens after its end" if piece.size or not is_last else "finished twice"
            raise UserError("the stream", found=found, remedy="open a new stream for each utterance")
        if piece.size or piece.ndim != 1:
            self.encoder.check_tokens(piece, f"tokens from {self.num_fed} of the stream on")
        elif is_last and not self.num_fed:
            self.close()
            raise UserError("the stream", found="no tokens", remedy="feed at least one before finish")

    def append(self, piece: Tokens, *, is_last: bool) -> None:
        """Take (T,) tokens."""
        self.tokens_T = torch.cat([self.tokens_T, torch.from_numpy(piece.astype(np.int64))])
        self.num_fed += len(piece)
        self.is_over = is_last

    def next_block(self) -> Block | None:
        """The next block that can be decoded."""
        if not self.is_open:
            return None
        end = self.schedule.end_of_block(self.num_blocks)
        if not self.is_over:
            return Block(end, is_last=False) if end + self.encoder.lookahead <= self.num_fed else None
        end = min(end, self.num_fed)
        is_more = self.num_decoded < self.num_fed or self.means_1FM.shape[1] > 0
        return Block(end, is_last=end == self.num_fed, is_rest=not is_more)

    def num_frames(self, block: Block) -> int:
        """Frames that are decoded with ``block``; those of an unfinished patch wait, unless it is the last one."""
        frames = (
            self.means_1FM.shape[1] + self.schedule.num_frames(block.end) - self.schedule.num_frames(self.num_decoded)
        )
        return frames if block.is_last else frames // self.schedule.patch_frames * self.schedule.patch_frames

    def blocks_of_tokens(self, block: Block) -> Tensor:
        """The block of each token of ``block``."""
        return self.schedule.blocks_of_tokens(torch.arange(self.num_decoded, block.end))

    def blocks_of_patches(self, frames: int) -> Tensor:
        """The block of each patch of the next ``frames`` frames."""
        patches = self.num_patches + self.schedule.num_patches(frames)
        return self.schedule.blocks_of_patches(torch.arange(self.num_patches, patches))

    def shape(self, block: Block) -> Hashable | None:
        """The shapes of caches, tokens, frames and vocoder; None where there are too few positions to be batched."""
        if block.is_rest:
            return self.vocoder.shape(self._rest())
        tokens, frames = block.end - self.num_decoded, self.num_frames(block)
        patches = self.schedule.num_patches(frames)
        if tokens < MIN_POSITIONS or (self.sampling.steps and patches < MIN_POSITIONS):
            return None
        vocoder = self.vocoder.shape(MelPiece(self.means_1FM.new_empty(1, self.encoder.num_mels, frames), False))
        if vocoder is None:
            return None
        of_flow = None
        if self.sampling.steps:
            of_flow = self.flow_caches[0].shape(self.blocks_of_patches(frames))
        return (
            self.sampling,
            self.speakers.clips is None,
            self.encoder_cache.shape(self.blocks_of_tokens(block)),
            tuple(self.encoder.taken_slots(self.num_decoded, block.end).tolist()),
            self.means_1FM.shape[1],
            frames,
            of_flow,
            vocoder,
        )

    @classmethod
    @torch.inference_mode()
    def step(cls, streams: Sequence[DecoderStream], blocks: Sequence[Block]) -> list[Samples]:
        """The samples (S,) that the blocks of streams of equal shape add."""
        if blocks[0].is_rest:
            pieces = [stream._rest() for stream in streams]
            rests = type(streams[0].vocoder).step([stream.vocoder for stream in streams], pieces)
            for stream in streams:
                stream.close()
            return [rest.cpu().numpy() for rest in rests]
        frames = streams[0].num_frames(blocks[0])
        if blocks[0].end > streams[0].num_decoded:
            cls._encode(streams, blocks)
        means_NFM = torch.cat([stream.means_1FM[:, :frames] for stream in streams])
        noise = []
        for stream in streams:
            stream.means_1FM = stream.means_1FM[:, frames:]
            noise.append(stream.noise.draw(frames))
        if not frames:
            return [np.zeros(0, dtype=np.float32) for _ in streams]
        mel_NFM = means_NFM
        if streams[0].sampling.steps:
            mel_NFM = cls._sample(streams, means_NFM, torch.stack(noise).to(means_NFM))
        mel_NMF = mel_NFM.transpose(1, 2)
        pieces = [MelPiece(mel_NMF[row : row + 1], is_last=False) for row in range(len(streams))]
        samples = type(streams[0].vocoder).step([stream.vocoder for stream in streams], pieces)
        return [added.cpu().numpy() for added in samples]

    def _rest(self) -> MelPiece:
        """No more frames for the vocoder."""
        return MelPiece(self.means_1FM.new_zeros(1, self.encoder.num_mels, 0), is_last=True)

    @staticmethod
    def _encode(streams: Sequence[DecoderStream], blocks: Sequence[Block]) -> None:
        """The means of the frames of the blocks' tokens, added to those that wait."""
        encoder, first = streams[0].encoder, streams[0].num_decoded
        length = blocks[0].end - first + 2 * encoder.lookahead
        windows = [stream.tokens_T[:length] for stream in streams]
        windows = [torch.nn.functional.pad(window, (0, length - len(window)), value=-1) for window in windows]
        window_NT = torch.stack(windows).to(encoder.device)
        first_blocks = [int(s.blocks_of_tokens(block)[0]) for s, block in zip(streams, blocks, strict=True)]
        cache = stack_caches([stream.encoder_cache for stream in streams])
        speakers = stack_speakers([stream.speakers for stream in streams])
        mean_NFM = encoder.block(window_NT.clamp(min=0), window_NT >= 0, speakers, first=first, cache=cache).float()
        take_back(cache, [stream.encoder_cache for stream in streams], first_blocks)
        for row, (stream, block) in enumerate(zip(streams, blocks, strict=True)):
            stream.means_1FM = torch.cat([stream.means_1FM, mean_NFM[row : row + 1]], dim=1)
            stream.tokens_T = stream.tokens_T[block.end - stream.num_decoded :]
            stream.num_decoded, stream.num_blocks = block.end, stream.num_blocks + 1

    @staticmethod
    def _sample(streams: Sequence[DecoderStream], means_NFM: Tensor, noise_NFM: Tensor) -> Tensor:
        """The mel (N, F, M) of the frames that follow in each stream."""
        frames = means_NFM.shape[1]
        blocks = [stream.blocks_of_patches(frames) for stream in streams]
        caches = [stack_caches(same) for same in zip(*(stream.flow_caches for stream in streams), strict=True)]
        is_real_NF = torch.ones(len(streams), frames, dtype=torch.bool, device=means_NFM.device)
        speakers = stack_speakers([stream.speakers for stream in streams])
        mel_NFM = streams[0].flow.sample(
            noise_NFM,
            Conditions(means_NFM, speakers, is_real_NF, blocks[0]),
            **streams[0].sampling._asdict(),
            caches=caches,
        )
        for number, cache in enumerate(caches):
            own = [stream.flow_caches[number] for stream in streams]
            take_back(cache, own, [int(blocks_P[0]) for blocks_P in blocks])
        for stream, blocks_P in zip(streams, blocks, strict=True):
            stream.num_patches += len(blocks_P)
        return mel_NFM
