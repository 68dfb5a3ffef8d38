"""The shapes of the decoder's networks, apart from the networks so that a stage's ``--help`` needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.errors import check_option

SOLVERS = ("euler", "midpoint")
VOCODERS = ("model", "griffin_lim")


@dataclass(kw_only=True)
class BackboneConfig:
    """A block-causal transformer with a causal convolution in each layer (see `decoder.backbone`).

    Attributes:
        width: features per position.
        layers: number of layers.
        heads: attention heads; they must divide ``width``.
        expansion: the feed-forward's width over ``width``.
        kernel: positions that the causal depth-wise convolution of a layer sees (itself and those before).
        dropout: on what each branch adds, in training.
    """

    width: int = 256
    layers: int = 4
    heads: int = 4
    expansion: int = 3
    kernel: int = 5
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_option(0 <= self.dropout < 1, "dropout", self.dropout, "give 0 to below 1")
        check_option(self.layers >= 1, "layers", self.layers, "give at least 1")
        is_even = self.heads >= 1 and self.width % (2 * self.heads) == 0
        check_option(is_even, "width", self.width, f"it must be a multiple of 2 * heads = {2 * self.heads}")
        check_option(self.expansion >= 1, "expansion", self.expansion, "give at least 1")
        check_option(self.kernel >= 1, "kernel", self.kernel, "give at least 1")


@dataclass(kw_only=True)
class FlowConfig:
    """Flow matching: the estimator's shape and the path (see `decoder.flow`).

    Attributes:
        estimator: the estimator's backbone; its positions are patches.
        patch_frames: mel frames per position of the estimator.
        prediction: what the estimator gives: ``x1`` (the clean mel; best at small budgets) or ``velocity``.
        sigma_min: the spread left at the end of the optimal-transport path.
        condition_drop: share of training examples without condition, for classifier-free guidance.
        steps: steps of the solver; 0 gives the regressed mean itself.
        solver: ``euler`` (one evaluation of the estimator a step) or ``midpoint`` (two, of second order).
        guidance: classifier-free guidance beta in ``(1 + beta) v(condition) - beta v(nothing)``; 0 is none.
        temperature: the spread of the noise that sampling starts from.
    """

    estimator: BackboneConfig = field(default_factory=BackboneConfig)
    patch_frames: int = 4
    prediction: str = "x1"
    sigma_min: float = 1e-6
    condition_drop: float = 0.2
    steps: int = 4
    solver: str = "euler"
    guidance: float = 0.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_option(self.patch_frames in (1, 2, 4, 8), "patch_frames", self.patch_frames, "choose 1, 2, 4 or 8")
        check_option(self.prediction in ("x1", "velocity"), "prediction", self.prediction, "choose x1 or velocity")
        check_option(0 < self.sigma_min < 1, "sigma_min", self.sigma_min, "it must lie between 0 and 1")
        check_option(0 <= self.condition_drop < 1, "condition_drop", self.condition_drop, "give 0 to below 1")
        check_option(self.steps >= 0, "steps", self.steps, "give 0 (the mean) or more")
        check_option(self.solver in SOLVERS, "solver", self.solver, f"choose {' or '.join(SOLVERS)}")
        check_option(self.guidance >= 0, "guidance", self.guidance, "give 0 (none) or more")
        check_option(self.temperature >= 0, "temperature", self.temperature, "give 0 or more")


@dataclass(kw_only=True)
class MelConfig:
    """The mel that a vocoder is trained on, as `corpus.audio.mel.LogMelConfig` (which needs torch) has it.

    Attributes:
        sample_rate: of the sound, Hz.
        n_fft: length of the Fourier transform.
        win: window length in samples.
        hop: samples a frame.
        num_mels: mel bands, from 0 Hz to half the sample rate.
    """

    sample_rate: int = 16000
    n_fft: int = 512
    win: int = 400
    hop: int = 160
    num_mels: int = 80

    def __post_init__(self) -> None:
        check_option(self.sample_rate >= 8000, "mel.sample_rate", self.sample_rate, "give at least 8000 Hz")
        check_option(self.num_mels >= 1, "mel.num_mels", self.num_mels, "give at least 1")
        check_option(1 <= self.hop <= self.win <= self.n_fft, "mel.win", self.win, "hop <= win <= n_fft must hold")


@dataclass(kw_only=True)
class VocoderConfig:
    """The iSTFT vocoder's shape (see `decoder.vocoder`).

    Attributes:
        width: features per frame.
        layers: ConvNeXt blocks.
        expansion: a block's inner width over ``width``.
        kernel: frames that the first convolution and each block's depth-wise convolution see.
        lookahead: how many of a block's ``kernel`` frames lie in the future; 0 is causal but for the first
            convolution, ``(kernel - 1) // 2`` is symmetric. A stream waits for ``layers * lookahead + kernel // 2``
            frames and half a window.
        n_fft: samples per synthesis window; an even multiple of the mel's hop, at least 4 hops.
    """

    width: int = 256
    layers: int = 6
    expansion: int = 3
    kernel: int = 7
    lookahead: int = 3
    n_fft: int = 640

    def __post_init__(self) -> None:
        check_option(self.width >= 1, "width", self.width, "give at least 1")
        check_option(self.layers >= 1, "layers", self.layers, "give at least 1")
        check_option(self.kernel >= 1 and self.kernel % 2 == 1, "kernel", self.kernel, "give an odd number")
        check_option(0 <= self.lookahead < self.kernel, "lookahead", self.lookahead, f"give 0 to {self.kernel - 1}")


@dataclass(kw_only=True)
class AdversaryConfig:
    """Discriminators a vocoder is trained against (`decoder.discriminators`); off unless ``weight`` is set.

    Attributes:
        weight: of the generator's adversarial loss; 0 trains without discriminators.
        feature_weight: of the distance between their features of true and made sound; HiFi-GAN's 2 lies in NeMo's loss.
        start_step: the step they come in at: the spectral losses alone find the way until then.
        is_small: a tenth of their widths (NeMo's debugging size), for tests and laptops.
    """

    weight: float = 0.0
    feature_weight: float = 1.0
    start_step: int = 0
    is_small: bool = False

    def __post_init__(self) -> None:
        check_option(self.weight >= 0, "adversary.weight", self.weight, "give 0 (none) or more")
        check_option(self.feature_weight >= 0, "adversary.feature_weight", self.feature_weight, "give 0 or more")
        check_option(self.start_step >= 0, "adversary.start_step", self.start_step, "give 0 or more")


@dataclass(kw_only=True)
class SpeakerConfig:
    """The encoder of reference clips (see `decoder.speaker`).

    Attributes:
        embedding: features of a clip's embedding; 0 leaves the encoder out: voices are known by their tags only.
        width: features per frame.
        layers: convolutions; each sees twice as far as the one before.
    """

    embedding: int = 0
    width: int = 96
    layers: int = 4

    def __post_init__(self) -> None:
        check_option(self.embedding >= 0, "embedding", self.embedding, "give 0 (tags only) or more")
        check_option(self.width >= 1, "width", self.width, "give at least 1")
        check_option(1 <= self.layers <= 8, "layers", self.layers, "give 1 to 8")


@dataclass(kw_only=True)
class DecoderConfig:
    """The whole decoder: what it takes in and the shapes of its networks.

    Attributes:
        codebook_size: number of different speech tokens.
        speakers: the voices it can speak with; the first is the default.
        tokenizer: fingerprint of the tokenizer whose tokens it was trained on.
        encoder: the token encoder's backbone; its positions are tokens.
        flow: the flow-matching part.
        block_tokens: tokens per block (10 tokens = 0.8 s): a position sees its own block whole and those before,
            none after, so that speech can be streamed block by block; 0 sees everything.
        past_blocks: earlier blocks that a position sees; with a fixed number each block costs the same.
        lookahead_tokens: tokens after its own that the mean of a token looks at, and that a block waits for: tokens
            of a streaming tokenizer lag behind the sound. The first block is shorter by as many tokens.
        token_rate: tokens a second.
        is_causal: a position sees as far back as ``past_blocks`` blocks reach and nothing after itself, instead of its
            block whole: blocks then meet without a seam, and only ``lookahead_tokens`` tells what comes.
        speaker: the encoder of reference clips.
    """

    codebook_size: int
    speakers: list[str]
    tokenizer: str
    encoder: BackboneConfig = field(default_factory=BackboneConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    block_tokens: int = 10
    past_blocks: int = 3
    lookahead_tokens: int = 0
    token_rate: float = 12.5
    is_causal: bool = False
    speaker: SpeakerConfig = field(default_factory=SpeakerConfig)

    def __post_init__(self) -> None:
        check_option(self.codebook_size >= 2, "codebook_size", self.codebook_size, "give at least 2")
        check_option(len(self.speakers) >= 1, "speakers", self.speakers, "name at least one voice")
        check_option(self.block_tokens >= 0, "block_tokens", self.block_tokens, "give 0 (everything) or more")
        check_option(self.past_blocks >= 0, "past_blocks", self.past_blocks, "give 0 or more")
        is_short = self.lookahead_tokens >= 0 and (not self.block_tokens or self.lookahead_tokens < self.block_tokens)
        remedy = "give 0 or more, fewer than block_tokens"
        check_option(is_short, "lookahead_tokens", self.lookahead_tokens, remedy)
        is_bounded = not self.is_causal or self.block_tokens > 0
        check_option(is_bounded, "is_causal", self.is_causal, "it needs block_tokens above 0")
        check_option(self.token_rate > 0, "token_rate", self.token_rate, "give a positive number")
