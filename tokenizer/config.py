"""The tokenizer's options, apart from the modules they build so that ``--help`` needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from corpus.audio.frame_rate import FRAME_RATES, FrameRate
from runtime.artefact import OMIT_IF_DEFAULT
from runtime.errors import check_option

LAYERS = ("front_layers", "back_layers", "decoder_layers")
SIZES = ("width", "heads", *LAYERS, "feed_forward", "subsampling_channels", "chunk", "num_mels")


@dataclass(kw_only=True)
class TokenizerModelConfig:
    """Sizes of the encoder that is cut in two by the quantiser. The defaults suit a laptop (6 M parameters).

    Attributes:
        backbone: ``fastconformer`` (NeMo's, the default) or ``whisper`` (the paper's; any size of Hugging Face's
            Whisper: large-v3 is width 1280, heads 20, front_layers 16, back_layers 16, num_mels 128).
        num_mels: mel bands of the front end.
        width: of all layers, and of the codebook's vectors.
        heads: attention heads; they divide ``width``.
        front_layers: Conformer layers before the quantiser; they stream.
        back_layers: Conformer layers after it; they see the whole utterance and serve the ASR loss only.
        feed_forward: width of the feed-forward layers, in multiples of ``width``.
        conv_kernel: (fastconformer) taps of the convolution in each layer (odd; causal in the front half).
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
        positions: (whisper) at 50 Hz, as the checkpoint has them; longer audio is encoded in windows of so many.
        ctc_weight: weight of the CTC loss; 0 leaves the CTC head out.
        attention_weight: weight of the attention decoder's cross-entropy; 0 leaves the decoder out. With both heads
            text is read by CTC.
        decoder_layers: layers of the attention decoder.
    """

    width: int = 256
    heads: int = 4
    front_layers: int = 2
    back_layers: int = 2
    feed_forward: int = 4
    conv_kernel: int = 9
    subsampling_channels: int = 32
    left_context: int = 64
    chunk: int = 8
    dropout: float = 0.0
    upsampling: int = 1
    ctc_pooling: int = field(default=1, metadata=OMIT_IF_DEFAULT)
    num_labels: int = 128
    frame_rate: float = field(default=12.5, metadata=OMIT_IF_DEFAULT)
    backbone: str = field(default="fastconformer", metadata=OMIT_IF_DEFAULT)
    num_mels: int = field(default=80, metadata=OMIT_IF_DEFAULT)
    positions: int = field(default=1500, metadata=OMIT_IF_DEFAULT)
    ctc_weight: float = field(default=1.0, metadata=OMIT_IF_DEFAULT)
    attention_weight: float = field(default=0.0, metadata=OMIT_IF_DEFAULT)
    decoder_layers: int = field(default=2, metadata=OMIT_IF_DEFAULT)

    def __post_init__(self) -> None:
        remedy = "choose 50, 25, 12.5 or 6.25 (tokens a second)"
        check_option(self.frame_rate in FRAME_RATES, "model.frame_rate", self.frame_rate, remedy)
        remedy = "choose fastconformer or whisper"
        check_option(self.backbone in ("fastconformer", "whisper"), "model.backbone", self.backbone, remedy)
        for name in SIZES:
            check_option(getattr(self, name) >= 1, f"model.{name}", getattr(self, name), "give at least 1")
        check_option(self.width % (2 * self.heads) == 0, "model.width", self.width, "give a multiple of 2 x heads")
        check_option(self.conv_kernel % 2 == 1, "model.conv_kernel", self.conv_kernel, "give an odd number")
        check_option(
            self.backbone == "whisper" or (self.left_context >= 0 and self.left_context % self.chunk == 0),
            "model.left_context",
            self.left_context,
            f"give a multiple of model.chunk ({self.chunk})",
        )
        for name in ("ctc_weight", "attention_weight"):
            check_option(getattr(self, name) >= 0, f"model.{name}", getattr(self, name), "give 0 or more")
        check_option(
            self.ctc_weight + self.attention_weight > 0,
            "model.ctc_weight",
            self.ctc_weight,
            "give it or model.attention_weight more than 0: there must be an ASR loss",
        )
        remedy = "give at least 16: a token's worth at 6.25 Hz"
        check_option(self.positions >= 16, "model.positions", self.positions, remedy)
        check_option(0 <= self.dropout < 1, "model.dropout", self.dropout, "it must lie between 0 and 1")
        check_option(1 <= self.upsampling <= 8, "model.upsampling", self.upsampling, "give 1 to 8")
        check_option(1 <= self.ctc_pooling <= 16, "model.ctc_pooling", self.ctc_pooling, "give 1 to 16")
        only_one = "it contradicts model.upsampling above 1: set one of the two to 1"
        check_option(1 in (self.upsampling, self.ctc_pooling), "model.ctc_pooling", self.ctc_pooling, only_one)
        check_option(self.num_labels >= 4, "model.num_labels", self.num_labels, "give at least 4")

    def num_ctc_frames(self, tokens: int) -> int:
        """CTC frames of an utterance of so many tokens."""
        return -(-tokens // self.ctc_pooling) * self.upsampling

    @property
    def time(self) -> FrameRate:
        """The rule of time at ``frame_rate``."""
        return FrameRate(self.frame_rate)


@dataclass(kw_only=True)
class QuantiserConfig:
    """The quantiser: by default an EMA codebook with commitment loss and dead-code restart.

    Attributes:
        enabled: False trains the same encoder without a bottleneck (for comparison); it cannot encode.
        kind: ``vq`` (EMA codebook; the paper), ``fsq`` (finite scalar quantisation, arXiv 2309.15505: rounded
            projections, no codebook to learn and no commitment loss) or ``simvq`` (arXiv 2411.02038: frozen vectors
            under a learnt linear map).
        codebook_size: number of codes, at most 65536.
        levels: of ``fsq``: values that each projection is rounded to; their product is ``codebook_size``. Empty makes
            them 8s and 4s, which needs a power of two.
        decay: of the running averages that make the codebook (``fsq`` and ``simvq``: that count its use).
        commitment: weight of the commitment loss (the paper: 10; the released GLM-4-Voice tokenizer: 0.25).
        start_step: steps without quantisation first; then the codebook is made by k-means over real frames.
        kmeans_batches: batches whose frames the k-means takes.
        restart_share: a code used less than this share of the mean use is restarted from a random frame; 0: never
            (``vq`` only: the others have no vectors to restart).
        rotation_trick: pass gradients through by rotation (arXiv 2410.06424) instead of straight through.
    """

    enabled: bool = True
    codebook_size: int = 512
    decay: float = 0.99
    commitment: float = 10.0
    start_step: int = 500
    kmeans_batches: int = 8
    restart_share: float = 0.1
    rotation_trick: bool = False
    kind: str = "vq"
    levels: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_option(self.kind in ("vq", "fsq", "simvq"), "vq.kind", self.kind, "choose vq, fsq or simvq")
        check_option(not self.levels or self.kind == "fsq", "vq.levels", self.levels, "set vq.kind=fsq or leave it")
        check_option(2 <= self.codebook_size <= 65536, "vq.codebook_size", self.codebook_size, "give 2 to 65536")
        check_option(0 < self.decay < 1, "vq.decay", self.decay, "it must lie between 0 and 1")
        check_option(self.commitment >= 0, "vq.commitment", self.commitment, "give 0 or more")
        check_option(self.start_step >= 0, "vq.start_step", self.start_step, "give 0 or more")
        check_option(self.kmeans_batches >= 1, "vq.kmeans_batches", self.kmeans_batches, "give at least 1")
        check_option(0 <= self.restart_share < 1, "vq.restart_share", self.restart_share, "give 0 (never) to below 1")
        if self.kind == "fsq":
            self._check_levels()

    def _check_levels(self) -> None:
        check_option(all(level >= 3 for level in self.levels), "vq.levels", self.levels, "give 3 or more each")
        product = math.prod(self.fsq_levels)
        remedy = f"it must be the product of vq.levels ({product})" if self.levels else "give a power of 2 from 4 on"
        check_option(product == self.codebook_size, "vq.codebook_size", self.codebook_size, remedy)

    @property
    def fsq_levels(self) -> list[int]:
        """The levels of ``fsq``: as given, or 8s followed by 4s whose product is ``codebook_size``."""
        if self.levels:
            return self.levels
        bits = round(math.log2(self.codebook_size))
        fours = {0: 0, 1: 2, 2: 1}[bits % 3] if bits > 1 else 0
        return [8] * ((bits - 2 * fours) // 3) + [4] * fours


@dataclass(kw_only=True)
class AugmentConfig:
    """Random changes of the mel frames in training, so that the units stand for what is said, not for who says it.

    Attributes:
        warp: largest relative stretch of the frequency axis, as by a longer or shorter vocal tract.
        stretch: largest relative change of speed.
        tilt: largest slope added over the frequency axis, in standard deviations of the mel.
        frequency_masks: bands blanked an utterance.
        frequency_width: their largest width, in mel bands.
        time_masks: gaps an utterance.
        time_width: their largest length, in frames.
    """

    warp: float = 0.1
    stretch: float = 0.1
    tilt: float = 0.3
    frequency_masks: int = 1
    frequency_width: int = 12
    time_masks: int = 1
    time_width: int = 8

    def __post_init__(self) -> None:
        for name in ("warp", "stretch"):
            check_option(0 <= getattr(self, name) < 0.5, f"augment.{name}", getattr(self, name), "give 0 to below 0.5")
        for name in ("tilt", "frequency_masks", "frequency_width", "time_masks", "time_width"):
            check_option(getattr(self, name) >= 0, f"augment.{name}", getattr(self, name), "give 0 or more")


@dataclass(kw_only=True)
class TrainingNoiseConfig:
    """Added noise in training, in the waveform: plain augmentation, and the loss that makes tokens withstand it.

    Attributes:
        share: of the utterances that the ASR loss hears with noise.
        consistency: weight of the loss that draws the front half's output for the noised utterance towards that for
            the clean one (see `tokenizer.training.objective.consistency_loss`); it doubles the front half's work. 0:
            none. It begins at ``vq.start_step``: before the ASR loss has shaped that output, it makes it say nothing at
            all.
        kinds: of noise, drawn alike: ``white``, ``pink`` and ``babble`` (other utterances of the batch).
        min_snr: lowest signal-to-noise ratio, dB.
        max_snr: highest; drawn evenly between.
    """

    share: float = 0.0
    consistency: float = 0.0
    kinds: list[str] = field(default_factory=lambda: ["white", "pink", "babble"])
    min_snr: float = 5.0
    max_snr: float = 25.0

    def __post_init__(self) -> None:
        check_option(0 <= self.share <= 1, "noise.share", self.share, "give 0 to 1")
        check_option(self.consistency >= 0, "noise.consistency", self.consistency, "give 0 or more")
        known = {"white", "pink", "babble"}
        check_option(bool(self.kinds) and set(self.kinds) <= known, "noise.kinds", self.kinds, f"choose of {known}")
        remedy = f"it must be at least noise.min_snr ({self.min_snr})"
        check_option(self.max_snr >= self.min_snr, "noise.max_snr", self.max_snr, remedy)

    @property
    def is_on(self) -> bool:
        """Whether any noise is made."""
        return self.share > 0 or self.consistency > 0


@dataclass(kw_only=True)
class DataConfig:
    """How utterances become batches.

    Attributes:
        batch_seconds: seconds of audio in a batch, padding included.
        min_seconds: shorter utterances are left out.
        max_seconds: longer utterances are left out.
        cache_mb: memory for mel frames kept from one epoch to the next.
        workers: threads that load the next batches ahead; 0 loads when needed.
        max_bad_share: share of bad records (unreadable audio, no transcript, too many labels) that is put up with.
    """

    batch_seconds: float = 40.0
    min_seconds: float = 0.1
    max_seconds: float = 30.0
    cache_mb: int = 2000
    workers: int = 0
    max_bad_share: float = 0.02

    def __post_init__(self) -> None:
        check_option(self.batch_seconds > 0, "data.batch_seconds", self.batch_seconds, "give a positive number")
        check_option(
            0 <= self.min_seconds < self.max_seconds,
            "data.max_seconds",
            self.max_seconds,
            f"it must exceed data.min_seconds ({self.min_seconds})",
        )
        check_option(self.cache_mb >= 0, "data.cache_mb", self.cache_mb, "give 0 or more")
        check_option(self.workers >= 0, "data.workers", self.workers, "give 0 or more")
        check_option(0 <= self.max_bad_share <= 1, "data.max_bad_share", self.max_bad_share, "give 0 to 1")
