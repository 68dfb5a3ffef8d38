"""Options of the encoder and its ASR heads, free of torch so that ``--help`` stays light."""

from __future__ import annotations

from dataclasses import dataclass

from corpus.audio.frame_rate import FRAME_RATES, FrameRate
from runtime.config import Options, option
from runtime.errors import check_option

from .table import BACKBONES


@dataclass(kw_only=True)
class TokenizerModelConfig(Options):
    """Sizes of the encoder that is cut in two by the quantiser. The defaults suit a laptop (6 M parameters).

    Attributes:
        backbone: ``fastconformer`` (NeMo's, the default) or ``whisper`` (the paper's; any size of Hugging Face's
            Whisper: large-v3 is width 1280, heads 20, front_layers 16, back_layers 16, num_mels 128).
        num_mels: mel bands of the front end.
        width: of all layers, and of the codebook's vectors.
        heads: attention heads; they divide ``width``.
        front_layers: layers before the quantiser; they stream.
        back_layers: layers after it; they see the whole utterance and serve the ASR loss only.
        feed_forward: width of the feed-forward layers, in multiples of ``width``.
        conv_kernel: (fastconformer) taps of the convolution in each layer (odd; causal before the quantiser).
        subsampling_channels: (fastconformer) channels of the strided convolutions that make ``frame_rate`` of 100 Hz.
        left_context: (fastconformer) tokens that a front layer sees to the left of its chunk; a multiple of ``chunk``.
            Whisper's layers see all of their 30-second window.
        chunk: tokens that are encoded together, and so the streaming latency (8 tokens = 0.64 s at 12.5 Hz).
            Whisper: the attention's block; the paper's 2 s are 25 tokens at 12.5 Hz, the released tokenizer's 4 s 50.
        dropout: in all layers.
        upsampling: CTC frames per token; more than 1 where labels outnumber tokens.
        ctc_pooling: tokens averaged to one CTC frame; more than 1 where tokens far outnumber labels (4 at 50 Hz), since
            CTC learns slowly over long runs of blanks.
        num_labels: sub-word units of the ASR head, blank and unknown included.
        frame_rate: tokens a second: 50, 25, 12.5 or 6.25. ``chunk`` and ``left_context`` are in tokens: multiply them
            with the rate to keep latency and context.
        positions: (whisper) window at 50 Hz, as the checkpoint has it; longer audio is encoded window by window.
        released_rules: (whisper) encode as GLM-4-Voice's released tokenizer does, which its weights need: the log-mel
            of each window by itself, with mirrored ends, clamped at 8 (log10) below its largest value; padding within
            the last token is masked. Streams clamp below the largest value up to each chunk's end, so that their codes
            differ where speech grows louder later; without these rules streams are exact.
        ctc_weight: weight of the CTC loss; 0 leaves the CTC head out.
        attention_weight: weight of the attention decoder's cross-entropy; 0 leaves the decoder out. With both heads
            text is read by CTC.
        decoder_layers: layers of the attention decoder.
    """

    width: int = option(256, at_least=1)
    heads: int = option(4, at_least=1)
    front_layers: int = option(2, at_least=1)
    back_layers: int = option(2, at_least=1)
    feed_forward: int = option(4, at_least=1)
    conv_kernel: int = 9
    subsampling_channels: int = option(32, at_least=1)
    left_context: int = 64
    chunk: int = option(8, at_least=1)
    dropout: float = option(0.0, at_least=0, below=1)
    upsampling: int = option(1, at_least=1, at_most=8)
    ctc_pooling: int = option(1, at_least=1, at_most=16, is_later=True)
    num_labels: int = option(128, at_least=4)
    frame_rate: float = option(12.5, one_of=FRAME_RATES, is_later=True)
    backbone: str = option("fastconformer", one_of=BACKBONES, is_later=True)
    num_mels: int = option(80, at_least=1, is_later=True)
    positions: int = option(1500, at_least=16, remedy="give at least 16: a token's worth at 6.25 Hz", is_later=True)
    released_rules: bool = option(False, is_later=True)
    ctc_weight: float = option(1.0, at_least=0, is_later=True)
    attention_weight: float = option(0.0, at_least=0, is_later=True)
    decoder_layers: int = option(2, at_least=1, is_later=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(self.width % (2 * self.heads) == 0, "model.width", self.width, "give a multiple of 2 x heads")
        check_option(self.conv_kernel % 2 == 1, "model.conv_kernel", self.conv_kernel, "give an odd number")
        check_option(
            "left_context" not in BACKBONES[self.backbone].options
            or (self.left_context >= 0 and self.left_context % self.chunk == 0),
            "model.left_context",
            self.left_context,
            f"give a multiple of model.chunk ({self.chunk})",
        )
        check_option(
            self.ctc_weight + self.attention_weight > 0,
            "model.ctc_weight",
            self.ctc_weight,
            "give it or model.attention_weight more than 0: there must be an ASR loss",
        )
        check_option(
            not self.released_rules or "released_rules" in BACKBONES[self.backbone].options,
            "model.released_rules",
            self.released_rules,
            f"set model.backbone=whisper (it is {self.backbone}), or leave it out",
        )
        only_one = "it contradicts model.upsampling above 1: set one of the two to 1"
        check_option(1 in (self.upsampling, self.ctc_pooling), "model.ctc_pooling", self.ctc_pooling, only_one)

    def num_ctc_frames(self, tokens: int) -> int:
        """CTC frames of an utterance of ``tokens`` tokens."""
        return -(-tokens // self.ctc_pooling) * self.upsampling

    @property
    def time(self) -> FrameRate:
        """Frame-rate arithmetic at ``frame_rate``."""
        return FrameRate(self.frame_rate)
