"""Train the decoder (token encoder and flow) on tokenised speech and pack it with a vocoder.

    python -m decoder.train corpus=runs/quickstart/corpus tokens=runs/quickstart/tokens \\
        vocoder=runs/quickstart/vocoder out=runs/quickstart/decoder fit.steps=1500

The paper's two stages are two calls: voices=[all] first, then voices=[answer] init=<first out> prefix_share=0.5.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.artefact import artefact_folder
from runtime.errors import UserError, check_option
from runtime.fit_config import FitConfig
from runtime.stage import Run, Stage, StageConfig

from .config import BackboneConfig, DecoderConfig, FlowConfig, SpeakerConfig

if TYPE_CHECKING:
    import torch

    from corpus.tokens import TokenisedSpeech

    from .distillation import Distillation
    from .model import SpeechDecoder
    from .recordings import DecoderExample


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
        distil_from: run folder of an earlier decoder.train whose flow is taught to take ``flow.steps`` steps for its
            own, its guidance included (see `decoder.distillation`); its shapes and voices are kept.
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
        naming_weight: weight of its second task, to name the voice of the clip.
        clip_frames: longest clip, in mel frames.
        batch: utterances per step.
        crop_tokens: longest stretch of an utterance, in tokens.
        prefix_share: share of examples that are the first blocks of an utterance instead of a random stretch, as in
            the paper's second stage: a stream begins so.
        fit: the optimisation.
        evaluate: held-out utterances that the metrics are measured on.
        max_bad_share: share of unreadable or untokenised recordings that is put up with.
    """

    corpus: str
    tokens: str
    vocoder: str
    voices: list[str] = field(default_factory=lambda: ["answer"])
    init: str | None = None
    distil_from: str | None = None
    encoder: BackboneConfig = field(default_factory=BackboneConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)
    block_tokens: int = 10
    past_blocks: int = 3
    lookahead_tokens: int = 0
    is_causal: bool = False
    speaker: SpeakerConfig = field(default_factory=SpeakerConfig)
    reference_share: float = 0.5
    naming_weight: float = 0.1
    clip_frames: int = 200
    batch: int = 16
    crop_tokens: int = 32
    prefix_share: float = 0.0
    fit: FitConfig = field(
        default_factory=lambda: FitConfig(learning_rate=1e-3, final_learning_rate=2e-5, checkpoint_every=100)
    )
    evaluate: int = 64
    max_bad_share: float = 0.01

    def __post_init__(self) -> None:
        check_option(self.batch >= 1, "batch", self.batch, "give at least 1")
        check_option(self.crop_tokens >= 1, "crop_tokens", self.crop_tokens, "give at least 1")
        check_option(0 <= self.prefix_share <= 1, "prefix_share", self.prefix_share, "give 0 to 1")
        is_whole = not self.prefix_share or 0 < self.block_tokens <= self.crop_tokens
        check_option(is_whole, "prefix_share", self.prefix_share, "it needs 0 < block_tokens <= crop_tokens")
        is_one = self.distil_from is None or self.init is None
        check_option(is_one, "distil_from", self.distil_from, "leave out init: the teacher's weights are the beginning")
        is_short = self.distil_from is None or self.flow.steps >= 1
        check_option(is_short, "flow.steps", self.flow.steps, "a pupil takes at least 1 step")
        check_option(0 <= self.reference_share <= 1, "reference_share", self.reference_share, "give 0 to 1")
        check_option(self.naming_weight >= 0, "naming_weight", self.naming_weight, "give 0 or more")
        check_option(self.clip_frames >= 1, "clip_frames", self.clip_frames, "give at least 1")
        check_option(self.evaluate >= 0, "evaluate", self.evaluate, "give 0 (no metrics) or more")
        check_option(0 <= self.max_bad_share <= 1, "max_bad_share", self.max_bad_share, "give 0 to 1")


def run(config: DecoderTrainConfig, run: Run) -> dict[str, Any]:
    """Train and save the decoder; returns its distances on held-out speech."""
    import numpy as np
    import torch

    from corpus.tokens import read_tokens
    from runtime.fit import fit

    from .distillation import Distillation
    from .model import SpeechDecoder
    from .recordings import ClipSource, collate, crop, draw, prefix

    torch.manual_seed(config.seed)
    torch.set_num_threads(config.fit.threads)
    speech = read_tokens(Path(config.tokens) / "train.parquet")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    decoder = make_decoder(config, speech).to(device)
    examples = read_examples(config, "train", speech, decoder)
    timing = decoder.timing
    source = None
    if decoder.speaker_encoder is not None:
        source = ClipSource(examples, config.clip_frames, config.reference_share)
    decoder.vocoder.requires_grad_(False)
    lesson = None
    if config.distil_from is not None:
        teacher = SpeechDecoder.from_pretrained(artefact_folder(config.distil_from)).to(device)
        lesson = Distillation(teacher, decoder, config.flow.steps)

    def loss(step: int) -> dict[str, torch.Tensor]:
        generator = np.random.default_rng((config.seed, step))
        drawn = draw(len(examples), config.batch, seed=config.seed, step=step)
        chosen = []
        for index in drawn:
            is_prefix = config.prefix_share > 0 and generator.random() < config.prefix_share
            cut = prefix if is_prefix else crop
            chosen.append(cut(examples[index], config.crop_tokens, timing, generator))
        batch = collate(chosen, timing).to(device)
        clips = None if source is None else source.draw(drawn, generator).to(device)
        if lesson is not None:
            return lesson.loss(*batch, clips=clips)
        return decoder.loss(*batch, clips=clips, naming_weight=config.naming_weight)

    fit(decoder, loss, config.fit, run, description="decoder")
    decoder.eval()
    held_out = read_tokens(Path(config.tokens) / "heldout_sentence.parquet")
    metrics = evaluate(decoder, read_examples(config, "heldout_sentence", held_out, decoder), lesson)
    metrics["parameters"] = sum(parameter.numel() for parameter in decoder.parameters())
    metrics["training_hours"] = sum(len(example.tokens) for example in examples) / speech.frame_rate / 3600
    metrics["voices"] = len(decoder.speakers)
    decoder.save_pretrained(Path(config.out) / "artefact", metrics)
    return metrics


def make_decoder(config: DecoderTrainConfig, speech: TokenisedSpeech) -> SpeechDecoder:
    """A decoder with fresh weights, or with those of ``init`` or ``distil_from``; the vocoder as it was trained."""
    from .model import SpeechDecoder
    from .vocoder import Vocoder
    from .voices import choose_voices

    vocoder = Vocoder.from_pretrained(artefact_folder(config.vocoder))
    voices = choose_voices(config.corpus, config.voices, config.max_bad_share)
    option, earlier = ("init", config.init) if config.distil_from is None else ("distil_from", config.distil_from)
    if earlier is None:
        shape = DecoderConfig(
            codebook_size=speech.codebook_size,
            speakers=voices,
            tokenizer=speech.tokenizer,
            encoder=config.encoder,
            flow=config.flow,
            block_tokens=config.block_tokens,
            past_blocks=config.past_blocks,
            lookahead_tokens=config.lookahead_tokens,
            token_rate=speech.frame_rate,
            is_causal=config.is_causal,
            speaker=config.speaker,
        )
        return SpeechDecoder(shape, vocoder)
    decoder = SpeechDecoder.from_pretrained(artefact_folder(earlier))
    if config.is_causal and not decoder.config.is_causal:
        changed = SpeechDecoder(replace(decoder.config, is_causal=True), decoder.vocoder)
        changed.load_state_dict(decoder.state_dict())
        decoder = changed
    if decoder.tokenizer != speech.tokenizer:
        found = f"a decoder for tokenizer {decoder.tokenizer}, but the tokens are of tokenizer {speech.tokenizer}"
        raise UserError(f"option {option}={earlier}", found=found, remedy="train it on these tokens first")
    if config.prefix_share and not 0 < decoder.config.block_tokens <= config.crop_tokens:
        found = f"blocks of {decoder.config.block_tokens} tokens, and crop_tokens={config.crop_tokens}"
        raise UserError(f"option {option}={earlier}", found=found, remedy="prefix_share needs a whole block in a crop")
    new = sorted(set(voices) - set(decoder.speakers))
    if new:
        found = f"it does not know the voices {', '.join(new)}"
        raise UserError(f"option {option}={earlier}", found=found, remedy="train it with voices=[all] first")
    decoder.change_vocoder(vocoder, f"option vocoder={config.vocoder}")
    return decoder


def read_examples(
    config: DecoderTrainConfig, split: str, speech: TokenisedSpeech, decoder: SpeechDecoder
) -> list[DecoderExample]:
    """The pairs of tokens and mel of a split, in the wanted voices."""
    from .recordings import pair_examples, read_split
    from .voices import choose_voices

    voices = choose_voices(config.corpus, config.voices, config.max_bad_share)
    utterances = read_split(config.corpus, split, voices, config.max_bad_share)
    if split != "train":
        utterances = utterances[: config.evaluate]
    log_mel = decoder.log_mel.to("cpu")
    examples = list(pair_examples(utterances, speech, log_mel, decoder.timing, decoder.speakers, config.max_bad_share))
    log_mel.to(decoder.device)
    return examples


def evaluate(
    decoder: SpeechDecoder, examples: list[DecoderExample], lesson: Distillation | None = None
) -> dict[str, float]:
    """Distances on held-out examples: absolute log-mel distance, and the spread of the mel over the true mel's.

    The spread (standard deviation over time, mean over bins) of a regressed mean is below 1: it is over-smooth. Of a
    pupil also the distances to its teacher's mel.
    """
    import torch

    from .recordings import collate
    from .speaker import Speakers

    sums: dict[str, float] = {}
    with torch.inference_mode():
        for example in examples:
            batch = collate([example], decoder.timing).to(decoder.device)
            inputs = (batch.tokens, Speakers(batch.rows), batch.is_real)
            mels = {"mean": decoder.mel(*inputs, steps=0), "flow": decoder.mel(*inputs)}
            for name, mel_BFM in mels.items():
                distance = (mel_BFM - batch.mel).abs().mean()
                spread = mel_BFM.std(dim=1).mean() / batch.mel.std(dim=1).mean()
                for key, value in ((f"{name}.mel_distance", distance), (f"{name}.spread", spread)):
                    sums[key] = sums.get(key, 0.0) + float(value) / len(examples)
            for key, apart in (lesson.distances(*inputs) if lesson is not None else {}).items():
                sums[key] = sums.get(key, 0.0) + apart / len(examples)
    return sums


STAGE = Stage(
    name="decoder.train",
    config=DecoderTrainConfig,
    run=run,
    summary="Train the decoder (speech tokens to waveform) on tokenised speech and pack it with a vocoder.",
    inputs=lambda config: [config.corpus, config.tokens, config.vocoder, config.init, config.distil_from],
    example="corpus=runs/quickstart/corpus tokens=runs/quickstart/tokens vocoder=runs/quickstart/vocoder "
    "out=runs/quickstart/decoder",
)

if __name__ == "__main__":
    STAGE.exit()
