"""Speech tokenizer: log-mel -> front half -> VQ -> back half -> ASR heads (arXiv 2411.17607, section 2.1).

Only the front half and the codebook are needed to encode; the back half and the heads (CTC, attention decoder or both)
make the training loss, and read tokens back as text. Audio at 16 kHz is padded on the right to whole tokens: at 12.5
tokens a second T = ceil(S / 1280).

    tokenizer = SpeechTokenizer.from_pretrained("runs/tokenizer/artefact")
    tokens = tokenizer.encode([audio])

B batch, S samples, M mel bands, F mel frames, T tokens, D width, V labels, r CTC frames a token.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from corpus.audio.files import SAMPLE_RATE, Samples
from corpus.audio.mel import LogMel
from corpus.audio.mel_config import LogMelConfig
from runtime.artefact import identity
from runtime.errors import UserError

from .backbones.base import make_post_vq, make_pre_vq
from .backbones.config import TokenizerModelConfig
from .backbones.whisper_decoder import AttentionDecoder
from .inference_batches import LONGEST_BATCHED, batches_by_length
from .labels import Labels
from .pretrained import TokenizerArtefact, load_artefact, save_artefact, state_digest, unfitting_weights
from .quantisers.base import Quantised, make_quantiser
from .quantisers.config import QuantiserConfig
from .streaming import Codes, TokenStream, check_audio, inference

Piece = TypeVar("Piece", Samples, Codes)
LONGEST_READ = 120.0  # seconds; longer audio and tokens are read in pieces, which may break the words at their ends
LABELS_PER_SECOND = 25.0  # at most, in greedy reading by the attention decoder


class Output(NamedTuple):
    """The result of `SpeechTokenizer.forward` in training.

    Attributes:
        encoded: (B, T, D) of the back half, for the heads.
        quantised: the quantiser's result; None where it was bypassed.
    """

    encoded: Tensor
    quantised: Quantised | None


class SpeechTokenizer(nn.Module):
    """Waveform to tokens, tokens to text.

    Attributes:
        sample_rate: of the audio, Hz.
        frame_rate: tokens a second.
        time: frame-rate arithmetic at that rate.
        codebook_size: tokens are below it.
        labels: the ASR head's sub-word units.
    """

    sample_rate = SAMPLE_RATE

    def __init__(
        self,
        config: TokenizerModelConfig,
        vq: QuantiserConfig,
        labels: Labels,
        *,
        mel: LogMelConfig | None = None,
        frames_per_batch: float = 1000.0,
    ) -> None:
        super().__init__()
        self.config, self.vq, self.labels = config, vq, labels
        self.codebook_size = vq.codebook_size
        self.time, self.frame_rate = config.time, config.frame_rate
        self.front, self.back = make_pre_vq(config), make_post_vq(config)
        self.log_mel = LogMel(mel or self.front.mel_config(config))
        self.quantiser = make_quantiser(vq, config.width, frames_per_batch)
        self.head = nn.Linear(config.width, config.upsampling * labels.size) if config.ctc_weight else None
        self.decoder = AttentionDecoder(config, labels.size) if config.attention_weight else None

    def forward(self, hidden_BTD: Tensor, lengths_B: Tensor, *, quantise: bool) -> Output:
        """Training: (B, T, D) of the front half, of which ``lengths_B`` count, through bottleneck and back half."""
        quantised = None
        if quantise:
            quantised = self.quantiser(hidden_BTD, valid(hidden_BTD, lengths_B))
            hidden_BTD = quantised.hidden
        return Output(self.back(hidden_BTD, lengths_B), quantised)

    def ctc_log_probs(self, encoded_BTD: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """The CTC head: (B, T, D), of which ``lengths_B`` count, to log-probabilities (B, F, V) in float32.

        Returns:
            The log-probabilities, and the number of CTC frames of each row.
        """
        assert self.head is not None
        pooling, upsampling = self.config.ctc_pooling, self.config.upsampling
        if pooling > 1:
            encoded_BTD = mean_pool(encoded_BTD, lengths_B, pooling)
            lengths_B = (lengths_B + pooling - 1) // pooling
        logits_BTV = self.head(encoded_BTD)
        log_probs_BFV = logits_BTV.reshape(len(logits_BTV), -1, self.labels.size).float().log_softmax(-1)
        return log_probs_BFV, lengths_B * upsampling

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.log_mel.hann.device

    @property
    def fingerprint(self) -> str:
        """Digest of all that decides the tokens: mel and encoder settings, front half, codebook."""
        state = {f"front.{name}": value for name, value in self.front.state_dict().items()}
        settings = [identity(self.log_mel.config), identity(self.config)]
        return state_digest(settings, state | self.quantiser.deciding_state())

    def encode(self, audios: Sequence[Samples]) -> list[Codes]:
        """Audio, each (S,) float32 at 16 kHz, to tokens, each (T,) uint16; none for 0 samples.

        An array has no sample rate: `corpus.audio.files.read_audio` resamples files of any other rate to 16 kHz.

        Raises:
            UserError: audio that is not one-dimensional, of floating point and finite; a tokenizer trained without VQ.
        """
        self.require_codebook()
        found: list[Codes] = [np.zeros(0, dtype=np.uint16) for _ in audios]
        with self.inference():
            for rows in self.batches(self.lengths(audios)):
                for row, codes in zip(rows, self.encode_batch([audios[row] for row in rows]), strict=True):
                    found[row] = codes
        return found

    def encode_batch(self, audios: list[Samples]) -> list[Codes]:
        """One inference batch to tokens; an audio that is too long to batch comes alone and is streamed."""
        if self.time.num_tokens(len(audios[0])) > LONGEST_BATCHED * self.frame_rate:
            if (
                size := self.log_mel.config.piece
            ):  # pieces know nothing of each other, and a stream would clamp otherwise
                pieces = [audios[0][start : start + size] for start in range(0, len(audios[0]), size)]
                return [np.concatenate([self._encode_rows([piece])[0] for piece in pieces])]
            with self.streaming() as stream:
                return [np.concatenate([stream.feed(audio), stream.finish()]) for audio in audios]
        return self._encode_rows(audios)

    def _encode_rows(self, audios: list[Samples]) -> list[Codes]:
        hidden_BTD, lengths_B = self.hidden(audios)
        codes = self.quantiser.codes(hidden_BTD).cpu().numpy().astype(np.uint16)
        return [row[:length] for row, length in zip(codes, lengths_B.tolist(), strict=True)]

    def lengths(self, audios: Sequence[Samples]) -> list[int]:
        """The tokens of each audio, which is checked."""
        return [self.time.num_tokens(len(check_audio(audio, at))) for at, audio in enumerate(audios)]

    def hidden(self, audios: list[Samples]) -> tuple[Tensor, Tensor]:
        """The front half's output for audios: (B, T, D) and the tokens of each (B,)."""
        padded = [self.time.pad(audio.astype(np.float32, copy=False)) for audio in audios]
        lengths_B = torch.tensor([len(audio) // self.time.samples_per_token for audio in padded], device=self.device)
        padding_B = torch.tensor([self.time.num_padding_frames(len(audio)) for audio in audios], device=self.device)
        return self.front(self.mel_of(padded), lengths_B, padding_B), lengths_B

    def mel_of(self, audios: list[Samples]) -> Tensor:
        """Audios of whole tokens to (B, M, F) frames."""
        rows = [torch.from_numpy(audio) for audio in audios]
        if not self.log_mel.config.piece:
            return self.log_mel(pad_sequence(rows, batch_first=True).to(self.device))
        # Each row by itself: its end is mirrored, and what follows it in a batch must not be.
        frames_FM = [self.log_mel(row[None].to(self.device))[0].T for row in rows]
        return pad_sequence(frames_FM, batch_first=True).transpose(1, 2)

    def transcribe(self, audios: Sequence[Samples], *, quantise: bool = True) -> list[str]:
        """Audio to text by the whole net; ``quantise=False`` bypasses the quantiser."""
        if quantise:
            return self.read_tokens(self.encode(audios))
        longest = int(LONGEST_READ * self.frame_rate) * self.time.samples_per_token
        if any(len(audio) > longest for audio in audios):
            return in_pieces(audios, longest, lambda pieces: self.transcribe(pieces, quantise=False))
        found = [""] * len(audios)
        with self.inference():
            for rows in self.batches(self.lengths(audios)):
                texts = self.read_hidden(*self.hidden([audios[row] for row in rows]))
                for row, text in zip(rows, texts, strict=True):
                    found[row] = text
        return found

    def read_tokens(self, tokens: Sequence[Codes]) -> list[str]:
        """Tokens to text: codebook, back half, a head read greedily (CTC's where there is one)."""
        self.require_codebook()
        for at, codes in enumerate(tokens):
            if len(codes) and int(codes.max()) >= self.codebook_size:
                found = f"a token {int(codes.max())}, but the codebook has {self.codebook_size}"
                raise UserError(f"token sequence {at}", found=found, remedy="give tokens of this tokenizer")
        longest = int(LONGEST_READ * self.frame_rate)
        if any(len(codes) > longest for codes in tokens):
            return in_pieces(tokens, longest, self.read_tokens)
        found_texts = [""] * len(tokens)
        with self.inference():
            for rows in self.batches([len(codes) for codes in tokens]):
                lengths_B = torch.tensor([len(tokens[row]) for row in rows], device=self.device)
                batch_BT = np.zeros((len(rows), int(lengths_B.max())), dtype=np.int64)
                for line, row in zip(batch_BT, rows, strict=True):
                    line[: len(tokens[row])] = tokens[row]
                vectors_BTD = self.quantiser.vectors(torch.from_numpy(batch_BT).to(self.device))
                for row, text in zip(rows, self.read_hidden(vectors_BTD, lengths_B), strict=True):
                    found_texts[row] = text
        return found_texts

    def read_hidden(self, hidden_BTD: Tensor, lengths_B: Tensor) -> list[str]:
        """Greedy text of token vectors."""
        encoded_BTD = self.back(hidden_BTD, lengths_B)
        if self.head is None:
            assert self.decoder is not None
            longest = int(float(lengths_B.max()) / self.frame_rate * LABELS_PER_SECOND) + 1
            return [self.labels.decode(row) for row in self.decoder.read(encoded_BTD, lengths_B, longest)]
        log_probs_BFV, counts_B = self.ctc_log_probs(encoded_BTD, lengths_B)
        path_BF = log_probs_BFV.argmax(-1).cpu()
        return [self.labels.decode_ctc(row[:count].tolist()) for row, count in zip(path_BF, counts_B, strict=True)]

    def batches(self, lengths: list[int]) -> Iterator[list[int]]:
        """Rows in order of length, cut into inference batches; empty ones are left out."""
        return batches_by_length(lengths, self.frame_rate, longest=LONGEST_BATCHED)

    @contextlib.contextmanager
    def streaming(self) -> Iterator[TokenStream]:
        """A context that gives a `TokenStream`: ``feed(samples)`` and ``finish()`` return tokens as they are known."""
        yield self.open_stream()

    def open_stream(self) -> TokenStream:
        """A stream of audio to tokens: ``feed(samples)`` and ``finish()``.

        Raises:
            UserError: a tokenizer trained without VQ.
        """
        self.require_codebook()
        return TokenStream(self.log_mel, self.front, self.quantiser, self.time)

    def inference(self) -> contextlib.AbstractContextManager[None]:
        """Evaluation mode without gradients; the mode before comes back afterwards."""
        return inference(self)

    @property
    def has_codebook(self) -> bool:
        """Whether it was trained with vector quantisation, so that it can encode."""
        return self.vq.enabled and self.quantiser.is_ready

    def require_codebook(self) -> None:
        """Raise a `UserError` unless the tokenizer has a trained codebook."""
        if not self.has_codebook:
            remedy = "train with vq.enabled=true and fit.steps above vq.start_step"
            raise UserError("the tokenizer", found="it was trained without vector quantisation", remedy=remedy)

    @classmethod
    def from_pretrained(cls, folder: Path | str, device: str = "cpu") -> SpeechTokenizer:
        """Load what `save_pretrained` wrote; in evaluation mode.

        Raises:
            UserError: a file is missing, does not belong, or was changed.
        """
        saved = load_artefact(folder)
        tokenizer = cls(saved.config, saved.vq, saved.labels, mel=saved.mel)
        try:
            tokenizer.load_state_dict(saved.weights)
        except RuntimeError as error:
            raise unfitting_weights(folder, error) from error
        if tokenizer.fingerprint != saved.fingerprint:
            found = f"weights of fingerprint {tokenizer.fingerprint}, config.yaml says {saved.fingerprint}"
            remedy = "restore the folder: its files come from different tokenizers"
            raise UserError(str(folder), found=found, remedy=remedy)
        return tokenizer.to(device).eval()

    def save_pretrained(self, folder: Path | str, metrics: dict[str, Any] | None = None) -> None:
        """Write config.yaml, model.safetensors, labels.json, metrics.json and a model card, atomically."""
        artefact = TokenizerArtefact(
            config=self.config,
            vq=self.vq,
            mel=self.log_mel.config,
            labels=self.labels,
            weights=self.state_dict(),
            fingerprint=self.fingerprint,
        )
        save_artefact(artefact, folder, metrics or {}, num_parameters=self.num_parameters)

    @property
    def num_parameters(self) -> int:
        """Parameters of the whole net."""
        return sum(parameter.numel() for parameter in self.parameters())


def valid(hidden_BTD: Tensor, lengths_B: Tensor) -> Tensor:
    """(B, T): true at the tokens that count."""
    return torch.arange(hidden_BTD.shape[1], device=lengths_B.device) < lengths_B[:, None]


def mean_pool(x_BTD: Tensor, lengths_B: Tensor, size: int) -> Tensor:
    """(B, T, D) to (B, ceil(T / size), D): the mean of each ``size`` tokens, of those that count."""
    counts_BT = valid(x_BTD, lengths_B)
    missing = -x_BTD.shape[1] % size
    x_BTD = nn.functional.pad(x_BTD.masked_fill(~counts_BT[..., None], 0.0), (0, 0, 0, missing))
    sums_BFD = x_BTD.unflatten(1, (-1, size)).sum(2)
    counts_BF = nn.functional.pad(counts_BT, (0, missing)).unflatten(1, (-1, size)).sum(2)
    return sums_BFD / counts_BF.clamp_min(1)[..., None].to(sums_BFD.dtype)


def in_pieces(whole: Sequence[Piece], longest: int, read: Callable[[list[Piece]], list[str]]) -> list[str]:
    """Read sequences cut into pieces of at most ``longest``; the texts of a sequence are joined by spaces."""
    pieces = [[one[start : start + longest] for start in range(0, len(one), longest)] for one in whole]
    texts = iter(read([piece for own in pieces for piece in own]))
    return [" ".join(filter(None, [next(texts) for _ in own])) for own in pieces]
