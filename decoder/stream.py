"""Speech while the tokens still come: each block of tokens becomes sound as soon as it is there, at a constant cost.

    with decoder.streaming(speaker="anna") as stream:
        for tokens in pieces:                        # of any length
            play(stream.feed(tokens))                # (S,) samples, perhaps none
        play(stream.finish())

What is fed in which pieces changes nothing: the samples, put together, are those of `SpeechDecoder.decode`. Kept
between blocks are keys and values of the last `past_blocks` blocks (for the encoder and for every evaluation of the
flow's estimator), the vocoder's frames that it still needs, and the place in the noise; all of it is bounded, so
that ten minutes of speech take no more memory than ten seconds.

Shapes: T tokens, F mel frames, P patches, M mel bins, S samples.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from runtime.errors import UserError

from .flow import Conditions
from .noise import Noise
from .speaker import Speakers

if TYPE_CHECKING:
    from .model import Audio, SpeechDecoder, Tokens


class DecoderStream:
    """One utterance in the making. Use it in a ``with`` statement, or call `finish` when no token follows.

    Args:
        decoder: its weights are shared, so that many streams may run side by side.
        speakers: one voice.
        steps: of the solver; 0 speaks the regressed mean.
        guidance: classifier-free guidance.
        solver: ``euler`` or ``midpoint``.
    """

    def __init__(self, decoder: SpeechDecoder, speakers: Speakers, *, steps: int, guidance: float, solver: str) -> None:
        self.decoder, self.speakers = decoder, speakers
        self.steps, self.guidance, self.solver = steps, guidance, solver
        self.noise = Noise(decoder.log_mel.config.num_mels)
        self.encoder_cache = decoder.encoder.backbone.empty_cache(1)
        self.flow_caches = decoder.flow.empty_caches(1, steps=steps, guidance=guidance, solver=solver)
        self.vocoder = decoder.vocoder.streaming()
        lookahead = decoder.config.lookahead_tokens
        # Those not made yet, and as many before them as the encoder looks at; -1 is none.
        self.tokens_T = torch.full((lookahead,), -1, dtype=torch.long)
        self.num_made = self.num_fed = self.num_blocks = 0  # tokens made and fed, blocks made
        self.num_patches = 0
        device = decoder.device
        self.means_1FM = torch.zeros(1, 0, decoder.log_mel.config.num_mels, device=device)  # of unfinished patches
        self.is_open = True

    def __enter__(self) -> DecoderStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def feed(self, tokens: Tokens) -> Audio:
        """Take (T,) tokens, T may be 0; returns the samples (S,) that are now known.

        Raises:
            UserError: a token out of range, or the stream is over.
        """
        if not self.is_open:
            raise UserError("the stream", found="tokens after its end", remedy="open a new stream for each utterance")
        fed = np.asarray(tokens)
        if fed.size or fed.ndim != 1:
            self.decoder.check_tokens(fed, f"tokens from {self.num_fed} of the stream on")
        self.tokens_T = torch.cat([self.tokens_T, torch.from_numpy(fed.astype(np.int64))])
        self.num_fed += len(fed)
        made = []
        while (end := self.decoder.timing.end_of_block(self.num_blocks)) + self.decoder.config.lookahead_tokens <= (
            self.num_fed
        ):
            made.append(self._speak(end, is_last=False))
        return joined(made)

    def finish(self) -> Audio:
        """No token follows: the remaining samples (S,).

        Raises:
            UserError: the stream was given no token, or was over before.
        """
        if not self.is_open:
            raise UserError("the stream", found="finished twice", remedy="open a new stream for each utterance")
        if not self.num_fed:
            self.close()
            raise UserError("the stream", found="no tokens", remedy="feed at least one before finish")
        made = []
        while self.num_made < self.num_fed:
            end = min(self.decoder.timing.end_of_block(self.num_blocks), self.num_fed)
            made.append(self._speak(end, is_last=end == self.num_fed))
        if self.means_1FM.shape[1]:  # every token was made, but the last patch still waited for frames
            made.append(self._sound(self.means_1FM, is_last=True))
        made.append(self.vocoder.finish().cpu().numpy())
        self.close()
        return joined(made)

    def close(self) -> None:
        """Free what is kept."""
        self.is_open = False
        self.flow_caches = []
        self.encoder_cache.layers = []

    @torch.inference_mode()
    def _speak(self, end: int, *, is_last: bool) -> Audio:
        """The samples that the tokens up to ``end``, the end of a block, add."""
        decoder, count = self.decoder, end - self.num_made
        lookahead = decoder.config.lookahead_tokens
        window_T = self.tokens_T[: count + 2 * lookahead]
        missing = count + 2 * lookahead - len(window_T)  # after the last token
        window_1T = torch.nn.functional.pad(window_T, (0, missing), value=-1)[None].to(decoder.device)
        mean_1FM = decoder.encoder.block(
            window_1T.clamp(min=0), window_1T >= 0, self.speakers, first=self.num_made, cache=self.encoder_cache
        )
        self.tokens_T = self.tokens_T[count:]
        self.num_made, self.num_blocks = end, self.num_blocks + 1
        return self._sound(torch.cat([self.means_1FM, mean_1FM.float()], dim=1), is_last=is_last)

    @torch.inference_mode()
    def _sound(self, means_1FM: Tensor, *, is_last: bool) -> Audio:
        """The samples that these frames' means add; those of an unfinished patch wait, unless it is the last one."""
        decoder = self.decoder
        patch = decoder.timing.patch_frames
        frames = means_1FM.shape[1] if is_last else means_1FM.shape[1] // patch * patch
        mean_1FM, self.means_1FM = means_1FM[:, :frames], means_1FM[:, frames:]
        noise_1FM = self.noise.draw(frames)[None].to(mean_1FM)
        if not frames:
            return np.zeros(0, dtype=np.float32)
        mel_1FM = mean_1FM
        if self.steps:
            first, self.num_patches = self.num_patches, self.num_patches + decoder.timing.num_patches(frames)
            blocks_P = decoder.timing.blocks_of_patches(torch.arange(first, self.num_patches))
            is_real_1F = torch.ones(1, frames, dtype=torch.bool, device=mean_1FM.device)
            mel_1FM = decoder.flow.sample(
                noise_1FM,
                Conditions(mean_1FM, self.speakers, is_real_1F, blocks_P),
                steps=self.steps,
                guidance=self.guidance,
                solver=self.solver,
                caches=self.flow_caches,
            )
        samples: Audio = self.vocoder.feed(mel_1FM.transpose(1, 2)).cpu().numpy()
        return samples


def joined(pieces: list[Audio]) -> Audio:
    """One array of many, or of none."""
    return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.float32)
