"""Options of decoder.train and decoder.train_vocoder, free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from corpus.audio.mel_config import MelConfig
from corpus.audio.segments import DURATION_TOLERANCE
from decoder.config import AdversaryConfig, BackboneConfig, FlowConfig, SpeakerConfig, VocoderConfig
from runtime.config import option
from runtime.errors import check_option
from runtime.fit_config import FitConfig
from runtime.stage import StageConfig


@dataclass(kw_only=True)
class DecoderTrainConfig(StageConfig):
    """Options of decoder.train.

    Attributes:
        out: run folder; the decoder, vocoder included, is then in <out>/artefact.
        seed: of weights, batches and noise.
        corpus: folder with train.jsonl and heldout_sentence.jsonl, as corpus.build writes it.
        tokens: folder with train.parquet and heldout_sentence.parquet, as tokenizer.encode writes it.
        vocoder: run folder of decoder.train_vocoder, or its artefact.
        voices: names of the voices to train on; all; or answer (the voice that replies are spoken in).
        init: run folder of an earlier decoder.train whose weights to start from; its shapes and voices are kept.
        distil_from: run folder of an earlier decoder.train to distil to ``flow.steps`` steps without guidance (see
            `decoder.training.distillation`); its shapes and voices are kept.
        encoder: shape of the token encoder.
        flow: shape and path of the flow.
        block_tokens: tokens per block of the block-causal attention; 0 sees the whole utterance.
        past_blocks: earlier blocks that a position sees.
        lookahead_tokens: later tokens that a token's mel looks at, and that a streamed block waits for.
        is_causal: a position sees nothing after itself but for ``lookahead_tokens``, instead of its block whole: blocks
            then meet without a seam. A decoder of ``init`` may be changed to it.
        speaker: the encoder of reference clips; off unless ``speaker.embedding`` is set.
        reference_share: share of examples that take their voice from a clip of it and not from its tag, where there
            is such an encoder.
        naming_weight: weight of its classification loss, of the voice of the clip.
        clip_frames: longest clip, in mel frames.
        batch: utterances per step, of all ranks together.
        crop_tokens: longest stretch of an utterance, in tokens.
        prefix_share: share of examples that are the first blocks of an utterance instead of a random stretch, as in
            the paper's second stage: a stream begins so.
        fit: the optimisation.
        evaluate: held-out utterances that the metrics are measured on.
        max_bad_share: tolerated share of unreadable or untokenised recordings.
        duration_tolerance: seconds by which the length of an audio file may differ from the manifest's duration, beyond
            which the record is bad.
    """

    corpus: str
    tokens: str
    vocoder: str
    voices: list[str] = field(default_factory=lambda: ["answer"])
    init: str | None = None
    distil_from: str | None = None
    encoder: BackboneConfig = field(default_factory=BackboneConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    block_tokens: int = option(10, at_least=0)
    past_blocks: int = option(3, at_least=0)
    lookahead_tokens: int = option(0, at_least=0)
    is_causal: bool = False
    speaker: SpeakerConfig = field(default_factory=SpeakerConfig)
    reference_share: float = option(0.5, at_least=0, at_most=1)
    naming_weight: float = option(0.1, at_least=0)
    clip_frames: int = option(200, at_least=1)
    batch: int = option(16, at_least=1)
    crop_tokens: int = option(32, at_least=1)
    prefix_share: float = option(0.0, at_least=0, at_most=1)
    fit: FitConfig = field(
        default_factory=lambda: FitConfig(learning_rate=1e-3, final_learning_rate=2e-5, checkpoint_every=100)
    )
    evaluate: int = option(64, at_least=0)
    max_bad_share: float = option(0.01, at_least=0, at_most=1)
    duration_tolerance: float = option(DURATION_TOLERANCE, at_least=0, is_later=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        is_whole = not self.prefix_share or 0 < self.block_tokens <= self.crop_tokens
        check_option(is_whole, "prefix_share", self.prefix_share, "it needs 0 < block_tokens <= crop_tokens")
        is_one = self.distil_from is None or self.init is None
        check_option(is_one, "distil_from", self.distil_from, "leave out init: the teacher's weights are the beginning")
        is_short = self.distil_from is None or self.flow.steps >= 1
        check_option(is_short, "flow.steps", self.flow.steps, "a student takes at least 1 step")


@dataclass(kw_only=True)
class TrainVocoderConfig(StageConfig):
    """Options of decoder.train_vocoder.

    Attributes:
        out: run folder; the vocoder is then in <out>/artefact.
        seed: of weights and batches.
        corpus: folder with train.jsonl and heldout_sentence.jsonl, as corpus.build writes it.
        voices: names of the voices to train on; all; or answer (the voice that replies are spoken in).
        model: the vocoder's shape; ``model.lookahead=0`` is the variant that streams with the least delay.
        mel: its input; ``mel.sample_rate`` is that of its sound (recipes/vocoder_24k.yaml, vocoder_22k.yaml).
        adversary: discriminators; off unless ``adversary.weight`` is set.
        batch: waveforms per step, of all ranks together.
        crop_frames: length of each, in mel frames.
        mel_weight: weight of the log-mel distance relative to the short-time spectra.
        locking_weight: weight of the loss against a buzz at the frame rate (`decoder.frame_locking`); 0 leaves it out.
        fit: the optimisation.
        evaluate: held-out utterances that the metrics are measured on.
        max_bad_share: tolerated share of unreadable recordings.
        duration_tolerance: seconds by which the length of an audio file may differ from the manifest's duration, beyond
            which the record is bad.
    """

    corpus: str
    voices: list[str] = field(default_factory=lambda: ["all"])
    model: VocoderConfig = field(default_factory=VocoderConfig)
    mel: MelConfig = field(default_factory=MelConfig)
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    batch: int = option(8, at_least=1)
    crop_frames: int = option(96, at_least=8)
    mel_weight: float = option(5.0, at_least=0)
    locking_weight: float = option(1.0, at_least=0, is_later=True)
    fit: FitConfig = field(
        default_factory=lambda: FitConfig(learning_rate=1.5e-3, final_learning_rate=5e-5, checkpoint_every=100)
    )
    evaluate: int = option(32, at_least=0)
    max_bad_share: float = option(0.01, at_least=0, at_most=1)
    duration_tolerance: float = option(DURATION_TOLERANCE, at_least=0, is_later=True)
