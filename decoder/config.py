"""Shapes of the decoder's networks, free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.config import Options, option
from runtime.errors import check_option

SOLVERS = ("euler", "midpoint")
VOCODERS = ("model", "griffin_lim")


@dataclass(kw_only=True)
class BackboneConfig(Options):
    """A block-causal transformer with a causal convolution in each layer (see `decoder.backbone`).

    Attributes:
        width: features per position.
        layers: number of layers.
        heads: attention heads; they must divide ``width``.
        expansion: the feed-forward's width over ``width``.
        kernel: positions that the causal depth-wise convolution of a layer sees (itself and those before).
        dropout: on what each branch adds, in training.
    """

    width: int = option(256, at_least=1)
    layers: int = option(4, at_least=1)
    heads: int = option(4, at_least=1)
    expansion: int = option(3, at_least=1)
    kernel: int = option(5, at_least=1)
    dropout: float = option(0.0, at_least=0, below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        is_even = self.width % (2 * self.heads) == 0
        check_option(is_even, "width", self.width, f"it must be a multiple of 2 * heads = {2 * self.heads}")


@dataclass(kw_only=True)
class FlowConfig(Options):
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
    patch_frames: int = option(4, one_of=(1, 2, 4, 8))
    prediction: str = option("x1", one_of=("x1", "velocity"))
    sigma_min: float = option(1e-6, above=0, below=1)
    condition_drop: float = option(0.2, at_least=0, below=1)
    steps: int = option(4, at_least=0)
    solver: str = option("euler", one_of=SOLVERS)
    guidance: float = option(0.0, at_least=0)
    temperature: float = option(1.0, at_least=0)


@dataclass(kw_only=True)
class VocoderConfig(Options):
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

    width: int = option(256, at_least=1)
    layers: int = option(6, at_least=1)
    expansion: int = option(3, at_least=1)
    kernel: int = option(7, at_least=1)
    lookahead: int = option(3, at_least=0)
    n_fft: int = 640

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(self.kernel % 2 == 1, "kernel", self.kernel, "give an odd number")
        check_option(self.lookahead < self.kernel, "lookahead", self.lookahead, f"give 0 to {self.kernel - 1}")


@dataclass(kw_only=True)
class AdversaryConfig(Options):
    """Discriminators of the vocoder's training (`decoder.losses`); off unless ``weight`` is set.

    Attributes:
        weight: of the generator's adversarial loss; 0 trains without discriminators.
        feature_weight: of the feature matching loss; HiFi-GAN's factor 2 lies in NeMo's loss.
        start_step: first step with discriminators; before it the spectral losses are alone.
        is_small: a tenth of their widths (NeMo's debugging size), for tests and laptops.
    """

    weight: float = option(0.0, at_least=0)
    feature_weight: float = option(1.0, at_least=0)
    start_step: int = option(0, at_least=0)
    is_small: bool = False


@dataclass(kw_only=True)
class SpeakerConfig(Options):
    """The encoder of reference clips (see `decoder.speaker`).

    Attributes:
        embedding: features of a clip's embedding; 0 leaves the encoder out: voices are selected by their tags only.
        width: features per frame.
        layers: convolutions; each sees twice as far as the one before.
    """

    embedding: int = option(0, at_least=0)
    width: int = option(96, at_least=1)
    layers: int = option(4, at_least=1, at_most=8)


@dataclass(kw_only=True)
class DecoderConfig(Options):
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

    codebook_size: int = option(at_least=2)
    speakers: list[str]
    tokenizer: str
    encoder: BackboneConfig = field(default_factory=BackboneConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    block_tokens: int = option(10, at_least=0)
    past_blocks: int = option(3, at_least=0)
    lookahead_tokens: int = option(0, at_least=0)
    token_rate: float = option(12.5, above=0)
    is_causal: bool = False
    speaker: SpeakerConfig = field(default_factory=SpeakerConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(len(self.speakers) >= 1, "speakers", self.speakers, "name at least one voice")
        is_short = not self.block_tokens or self.lookahead_tokens < self.block_tokens
        check_option(is_short, "lookahead_tokens", self.lookahead_tokens, "give fewer than block_tokens")
        is_bounded = not self.is_causal or self.block_tokens > 0
        check_option(is_bounded, "is_causal", self.is_causal, "it needs block_tokens above 0")
