"""Streaming decoder: each block of tokens is decoded as soon as it is complete, at a constant cost.

    with decoder.streaming(speaker="anna") as stream:
        for tokens in pieces:                        # of any length
            play(stream.feed(tokens))                # (S,) samples, perhaps none
        play(stream.finish())

The sizes of the pieces change nothing: the samples, put together, are those of `SpeechDecoder.decode`. Kept
between blocks are keys and values of the last `past_blocks` blocks (for the encoder and for every evaluation of the
flow's estimator), the vocoder's frames that it still needs, and the place in the noise; all of it is bounded, so
that ten minutes of speech take no more memory than ten seconds.

Shapes: T tokens, F mel frames, P patches, M mel bins, S samples.
"""

from __future__ import annotations

from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from corpus.audio.files import Samples
from runtime.errors import UserError

from .encoder import TokenEncoder, Tokens
from .flow import Conditions, FlowMatching, Sampling
from .noise import Noise
from .speaker import Speakers
from .vocoder import Vocoder


class DecoderStream:
    """One utterance in progress. Use it in a ``with`` statement, or call `finish` when no token follows.

    Args:
        encoder: of the tokens; the weights of all parts are shared by any number of streams.
        flow: the estimator and its solver.
        vocoder: mel to samples.
        speakers: one voice.
        sampling: options of the solver.
    """

    def __init__(
        self, encoder: TokenEncoder, flow: FlowMatching, vocoder: Vocoder, speakers: Speakers, sampling: Sampling
    ) -> None:
        self.encoder, self.flow, self.speakers, self.sampling = encoder, flow, speakers, sampling
        self.schedule = encoder.schedule
        self.noise = Noise(encoder.num_mels)
        self.encoder_cache = encoder.backbone.empty_cache(1)
        self.flow_caches = flow.empty_caches(1, sampling)
        self.vocoder = vocoder.streaming()
        # Tokens that are not decoded yet, and as many before them as the encoder looks at; -1 is none.
        self.tokens_T = torch.full((encoder.lookahead,), -1, dtype=torch.long)
        self.num_decoded = self.num_fed = self.num_blocks = 0  # tokens decoded and fed, blocks decoded
        self.num_patches = 0
        self.means_1FM = torch.zeros(1, 0, encoder.num_mels, device=encoder.device)  # of unfinished patches
        self.is_open = True

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
        if not self.is_open:
            raise UserError("the stream", found="tokens after its end", remedy="open a new stream for each utterance")
        fed = np.asarray(tokens)
        if fed.size or fed.ndim != 1:
            self.encoder.check_tokens(fed, f"tokens from {self.num_fed} of the stream on")
        self.tokens_T = torch.cat([self.tokens_T, torch.from_numpy(fed.astype(np.int64))])
        self.num_fed += len(fed)
        pieces = []
        while (end := self.schedule.end_of_block(self.num_blocks)) + self.encoder.lookahead <= self.num_fed:
            pieces.append(self._decode_block(end, is_last=False))
        return joined(pieces)

    def finish(self) -> Samples:
        """No token follows: the remaining samples (S,).

        Raises:
            UserError: the stream was given no token, or was over before.
        """
        if not self.is_open:
            raise UserError("the stream", found="finished twice", remedy="open a new stream for each utterance")
        if not self.num_fed:
            self.close()
            raise UserError("the stream", found="no tokens", remedy="feed at least one before finish")
        pieces = []
        while self.num_decoded < self.num_fed:
            end = min(self.schedule.end_of_block(self.num_blocks), self.num_fed)
            pieces.append(self._decode_block(end, is_last=end == self.num_fed))
        if self.means_1FM.shape[1]:  # every token was decoded, but the last patch still waited for frames
            pieces.append(self._synthesise(self.means_1FM, is_last=True))
        pieces.append(self.vocoder.finish().cpu().numpy())
        self.close()
        return joined(pieces)

    def close(self) -> None:
        """Free what is kept."""
        self.is_open = False
        self.flow_caches = []
        self.encoder_cache.layers = []

    @torch.inference_mode()
    def _decode_block(self, end: int, *, is_last: bool) -> Samples:
        """The samples that the tokens up to ``end``, the end of a block, add."""
        count, lookahead = end - self.num_decoded, self.encoder.lookahead
        window_T = self.tokens_T[: count + 2 * lookahead]
        missing = count + 2 * lookahead - len(window_T)  # after the last token
        window_1T = torch.nn.functional.pad(window_T, (0, missing), value=-1)[None].to(self.encoder.device)
        mean_1FM = self.encoder.block(
            window_1T.clamp(min=0), window_1T >= 0, self.speakers, first=self.num_decoded, cache=self.encoder_cache
        )
        self.tokens_T = self.tokens_T[count:]
        self.num_decoded, self.num_blocks = end, self.num_blocks + 1
        return self._synthesise(torch.cat([self.means_1FM, mean_1FM.float()], dim=1), is_last=is_last)

    @torch.inference_mode()
    def _synthesise(self, means_1FM: Tensor, *, is_last: bool) -> Samples:
        """The samples that these frames' means add; those of an unfinished patch wait, unless it is the last one."""
        patch = self.schedule.patch_frames
        frames = means_1FM.shape[1] if is_last else means_1FM.shape[1] // patch * patch
        mean_1FM, self.means_1FM = means_1FM[:, :frames], means_1FM[:, frames:]
        noise_1FM = self.noise.draw(frames)[None].to(mean_1FM)
        if not frames:
            return np.zeros(0, dtype=np.float32)
        mel_1FM = mean_1FM
        if self.sampling.steps:
            first, self.num_patches = self.num_patches, self.num_patches + self.schedule.num_patches(frames)
            blocks_P = self.schedule.blocks_of_patches(torch.arange(first, self.num_patches))
            is_real_1F = torch.ones(1, frames, dtype=torch.bool, device=mean_1FM.device)
            mel_1FM = self.flow.sample(
                noise_1FM,
                Conditions(mean_1FM, self.speakers, is_real_1F, blocks_P),
                **self.sampling._asdict(),
                caches=self.flow_caches,
            )
        samples: Samples = self.vocoder.feed(mel_1FM.transpose(1, 2)).cpu().numpy()
        return samples


def joined(pieces: list[Samples]) -> Samples:
    """One array of many, or of none."""
    return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.float32)
