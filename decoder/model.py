"""The speech decoder: tokens -> mel mean -> mel (flow matching) -> waveform (vocoder).

Laws (tests/decoder): T tokens make exactly as many samples as `decoder.block_schedule` says (1280 T at 16 kHz and 12.5
Hz); the same tokens make the same samples, alone, in a batch or streamed in any pieces; noise belongs to the frame's
position, not to the utterance's length.

Shapes: B batch, T tokens, F mel frames, M mel bins, S samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from corpus.audio.files import Samples
from corpus.audio.mel import LogMel
from corpus.audio.mel_config import LogMelConfig
from runtime.errors import UserError

from .block_schedule import BlockSchedule, frames_per_token
from .config import VOCODERS, DecoderConfig, VocoderConfig
from .encoder import TokenEncoder, Tokens
from .flow import Conditions, FlowMatching, check_sampling
from .folder import load_artefact, save_artefact
from .griffin_lim import griffin_lim
from .losses import prior_loss
from .noise import Noise
from .speaker import FROM_CLIP, Clips, SpeakerEncoder, Speakers, embed_speaker
from .stream import DecoderStream
from .vocoder import Vocoder


class SpeechDecoder(nn.Module):
    """Encoder, flow and vocoder in one.

    Attributes:
        sample_rate: Hz.
        tokenizer: fingerprint of the tokenizer it was trained with.
        codebook_size: number of different tokens.
        speakers: names of its voices; the first is the default.
    """

    def __init__(self, config: DecoderConfig, vocoder: Vocoder) -> None:
        super().__init__()
        self.config, self.vocoder = config, vocoder
        self.sample_rate = vocoder.mel.sample_rate
        self.tokenizer, self.codebook_size = config.tokenizer, config.codebook_size
        self.speakers = list(config.speakers)
        num_mels, num_speakers = vocoder.mel.num_mels, len(self.speakers)
        self.schedule = BlockSchedule(
            frames_per_token=frames_per_token(config.token_rate, vocoder.mel),
            patch_frames=config.flow.patch_frames,
            block_tokens=config.block_tokens,
            lookahead_tokens=config.lookahead_tokens,
        )
        self.encoder = TokenEncoder(config, self.schedule, num_mels)
        clip_width = config.speaker.embedding
        self.flow = FlowMatching(
            config.flow,
            num_mels=num_mels,
            num_speakers=num_speakers,
            past=config.past_blocks,
            window=config.past_blocks * self.schedule.patches_per_block if config.is_causal else None,
            clip_width=clip_width,
        )
        self.speaker_encoder: SpeakerEncoder | None = None
        if clip_width:
            self.speaker_encoder = SpeakerEncoder(config.speaker, num_mels=num_mels, num_speakers=num_speakers)
        self.log_mel = LogMel(vocoder.mel)

    def change_vocoder(self, vocoder: Vocoder, subject: str) -> None:
        """Replace the vocoder.

        Raises:
            UserError: it was trained on another mel; names ``subject``.
        """
        if vocoder.mel != self.vocoder.mel:
            found = f"a vocoder of another mel ({vocoder.mel}; the decoder makes {self.vocoder.mel})"
            raise UserError(subject, found=found, remedy="train a vocoder with the decoder's mel (mel.*)")
        self.vocoder = vocoder

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.encoder.device

    def loss(
        self,
        tokens_BT: Tensor,
        mel_BFM: Tensor,
        rows_B: Tensor,
        is_real_BT: Tensor,
        *,
        clips: Clips | None = None,
        naming_weight: float = 0.1,
    ) -> dict[str, Tensor]:
        """Prior loss of the mean plus flow-matching loss; the gradient of the flow stops at the mean.

        With clips some examples take their voice from the speaker encoder, trained by that and by classifying voices.
        """
        speakers, terms = Speakers(rows_B), {}
        if clips is not None:
            assert self.speaker_encoder is not None, "clips need a speaker encoder"
            clips_BE = self.speaker_encoder(clips.mel, clips.is_real)
            terms["naming"] = self.speaker_encoder.classification_loss(clips_BE, rows_B)
            speakers = Speakers(torch.where(clips.is_used, FROM_CLIP, rows_B), clips_BE)
        conditions = self.conditions(tokens_BT, speakers, is_real_BT)
        prior = prior_loss(conditions.mean, mel_BFM, conditions.is_real)
        flow = self.flow.loss(mel_BFM, conditions._replace(mean=conditions.mean.detach()))
        loss = prior + flow
        if clips is not None:
            loss = loss + naming_weight * terms["naming"]
        return {"loss": loss, "prior": prior, "flow": flow} | terms

    def conditions(self, tokens_BT: Tensor, speakers: Speakers, is_real_BT: Tensor) -> Conditions:
        """The flow's conditions: the encoder's mean, the voices, the real frames and the patches' blocks."""
        mean_BFM = self.encoder(tokens_BT, speakers, is_real_BT).float()
        patches_P = torch.arange(self.schedule.num_patches(mean_BFM.shape[1]))
        blocks_P = self.schedule.blocks_of_patches(patches_P)
        return Conditions(mean_BFM, speakers, self.schedule.real_frames(is_real_BT), blocks_P)

    @torch.inference_mode()
    def mel(
        self,
        tokens_BT: Tensor,
        speakers: Speakers,
        is_real_BT: Tensor,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        solver: str | None = None,
    ) -> Tensor:
        """The normalised log-mel (B, F, M); 0 steps give the regressed mean."""
        conditions = self.conditions(tokens_BT, speakers, is_real_BT)
        mean_BFM = conditions.mean
        if (self.config.flow.steps if steps is None else steps) == 0:
            return mean_BFM
        noise_BFM = Noise(mean_BFM.shape[2]).draw(mean_BFM.shape[1]).to(mean_BFM).expand_as(mean_BFM)
        return self.flow.sample(noise_BFM, conditions, steps=steps, guidance=guidance, solver=solver)

    def streaming(
        self,
        speaker: str | None = None,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        solver: str | None = None,
    ) -> DecoderStream:
        """A stream of one utterance (`decoder.stream`): feed tokens, get samples, at a constant cost a block.

        Args:
            speaker: as for `decode_batch`; a reference clip is embedded once, here.
            steps: of the solver; None is the trained default, as for guidance and solver.
            guidance: classifier-free guidance.
            solver: ``euler`` or ``midpoint``.

        Raises:
            UserError: an unknown voice, or a decoder that needs the whole utterance (block_tokens=0).
        """
        check_sampling(steps, guidance, solver)
        if not self.config.block_tokens:
            remedy = "train with block_tokens=10 to stream, or use decode"
            raise UserError("the decoder", found="block_tokens=0: it needs the whole utterance", remedy=remedy)
        sampling = self.flow.sampling(steps, guidance, solver)
        return DecoderStream(self.encoder, self.flow, self.vocoder, self.voices([speaker]), sampling)

    def decode(
        self,
        tokens: Tokens,
        speaker: str | None = None,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        solver: str | None = None,
        vocoder: str = "model",
    ) -> Samples:
        """One utterance: (T,) tokens -> (S,) samples; see `decode_batch`."""
        options = {"guidance": guidance, "solver": solver, "vocoder": vocoder}
        return self.decode_batch([tokens], [speaker], steps=steps, **options)[0]  # type: ignore[arg-type]

    @torch.inference_mode()
    def decode_batch(
        self,
        tokens: Sequence[Tokens],
        speakers: Sequence[str | None] | None = None,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        solver: str | None = None,
        vocoder: str = "model",
    ) -> list[Samples]:
        """Many utterances at once, each as it would be alone.

        Args:
            tokens: (T,) integers below ``codebook_size`` each, lengths may differ.
            speakers: a voice for each: its tag, or the path of a reference clip; None is the first of
                ``self.speakers``.
            steps: of the solver; None is the trained default, 0 the regressed mean.
            guidance: classifier-free guidance; None is the trained default.
            solver: ``euler`` or ``midpoint``; None is the trained default.
            vocoder: ``model``, or ``griffin_lim`` (no training, rougher).

        Returns:
            float32 waveforms at ``sample_rate``, full scale 1.

        Raises:
            UserError: no tokens, a token out of range, an unknown voice, solver or vocoder, an unreadable clip.
        """
        if vocoder not in VOCODERS:
            raise UserError("vocoder", found=repr(vocoder), remedy=f"choose one of {', '.join(VOCODERS)}")
        check_sampling(steps, guidance, solver)
        if not len(tokens):
            return []
        batch = self.batch(tokens, speakers or [None] * len(tokens))
        mel_BMF = self.mel(*batch, steps=steps, guidance=guidance, solver=solver).transpose(1, 2)
        lengths = [self.schedule.num_frames(len(item)) for item in tokens]
        if vocoder == "griffin_lim":
            made = [griffin_lim(mel_BMF[i : i + 1, :, :length], self.log_mel)[0] for i, length in enumerate(lengths)]
        else:
            made = list(self.vocoder(mel_BMF, self.schedule.real_frames(batch[2])))
        hop = self.log_mel.config.hop
        return [audio[: length * hop].cpu().numpy() for audio, length in zip(made, lengths, strict=True)]

    def batch(self, tokens: Sequence[Tokens], speakers: Sequence[str | None]) -> tuple[Tensor, Speakers, Tensor]:
        """Padded tokens (B, T), the voices and the mask of real tokens (B, T), checked."""
        for index, item in enumerate(tokens):
            self.check_tokens(np.asarray(item), f"utterance {index + 1} of {len(tokens)}")
        longest = max(map(len, tokens), default=0)
        tokens_BT = torch.zeros(len(tokens), longest, dtype=torch.long)
        is_real_BT = torch.zeros(len(tokens), longest, dtype=torch.bool)
        for row, item in enumerate(tokens):
            tokens_BT[row, : len(item)] = torch.from_numpy(np.asarray(item).astype(np.int64))
            is_real_BT[row, : len(item)] = True
        return tokens_BT.to(self.device), self.voices(speakers), is_real_BT.to(self.device)

    def check_tokens(self, tokens: Tokens, subject: str) -> None:
        """Raise a `UserError` unless (T,) ``tokens`` can be decoded."""
        self.encoder.check_tokens(tokens, subject)

    def speaker_row(self, name: str | None) -> int:
        """The embedding row of a voice's tag."""
        if name is None:
            return 0
        if name not in self.speakers:
            known = ", ".join(self.speakers[:10]) + (", ..." if len(self.speakers) > 10 else "")
            or_clip = ", or give the path of a recording" if self.speaker_encoder is not None else ""
            remedy = f"choose one of: {known}{or_clip}"
            raise UserError("speaker", found=f"{name!r} is no voice of this decoder", remedy=remedy)
        return self.speakers.index(name)

    def voices(self, names: Sequence[str | None]) -> Speakers:
        """The voices of tags and reference clips; a clip is a name with a file's suffix, or one that is a file.

        Raises:
            UserError: an unknown tag, an unreadable or silent clip, or a clip for a decoder that knows tags only.
        """
        clips = {name: self.embed_speaker(name) for name in set(names) if name is not None and self.is_clip(name)}
        rows = [FROM_CLIP if name in clips else self.speaker_row(name) for name in names]
        rows_B = torch.tensor(rows, dtype=torch.long, device=self.device)
        if not clips:
            return Speakers(rows_B)
        none_E = torch.zeros(self.config.speaker.embedding, device=self.device)
        return Speakers(rows_B, torch.stack([none_E if name is None else clips.get(name, none_E) for name in names]))

    def is_clip(self, name: str) -> bool:
        """Whether ``name`` is meant as a recording and not as a tag."""
        return name not in self.speakers and (bool(Path(name).suffix) or Path(name).is_file())

    def embed_speaker(self, clip: str) -> Tensor:
        """The embedding (E,) of the voice in an audio file (its first 10 s)."""
        if self.speaker_encoder is None:
            known = ", ".join(self.speakers[:10])
            found = f"the recording {clip}, but this decoder knows voices by their tags only"
            remedy = f"choose one of: {known}; or train it with speaker.embedding=64 reference_share=0.5"
            raise UserError("speaker", found=found, remedy=remedy)
        return embed_speaker(Path(clip), self.speaker_encoder, self.log_mel)

    def save_pretrained(self, folder: Path | str, metrics: Mapping[str, Any] | None = None) -> None:
        """Write the artefact folder, the vocoder inside."""
        size = sum(parameter.numel() for parameter in self.parameters())
        facts = {
            "parameters": f"{size:,} (of which the vocoder {sum(p.numel() for p in self.vocoder.parameters()):,})",
            "input": f"{self.config.token_rate:g} Hz tokens of tokenizer {self.tokenizer}, codebook of "
            f"{self.codebook_size}",
            "voices": ", ".join(self.speakers),
            "sampling": f"{self.config.flow.steps} steps of {self.config.flow.solver}, guidance "
            f"{self.config.flow.guidance:g}",
            "streaming": f"blocks of {self.config.block_tokens} tokens, {self.config.lookahead_tokens} tokens ahead",
        }
        config = {"decoder": self.config, "vocoder": self.vocoder.config, "mel": self.vocoder.mel}
        save_artefact(folder, kind="decoder", config=config, module=self, metrics=metrics or {}, facts=facts)

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> SpeechDecoder:
        """Load an artefact folder, in evaluation mode."""
        artefact = load_artefact(folder, kind="decoder")
        vocoder = Vocoder(artefact.part("vocoder", VocoderConfig), artefact.part("mel", LogMelConfig))
        decoder = cls(artefact.part("decoder", DecoderConfig), vocoder)
        artefact.load_weights(decoder)
        return decoder.eval()
