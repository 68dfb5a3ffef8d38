"""Speak tokenised utterances with a decoder, for a judge to listen to: tokens -> audio files and a manifest.

    python -m decoder.resynthesise tokens=runs/quickstart/tokens/heldout_sentence.parquet \\
        decoder=runs/quickstart/decoder out=runs/quickstart/resynthesis

Writes <out>/manifest.jsonl (NeMo) and <out>/audio/*.flac. Audio is made in batches that depend on the options only;
after a kill, finished batches are kept and the rest is made as it would have been.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.artefact import artefact_folder
from runtime.errors import UserError, check_option
from runtime.stage import Run, Stage, StageConfig

from .config import SOLVERS, VOCODERS

if TYPE_CHECKING:
    from corpus.tokens import TokenisedUtterance

    from .model import SpeechDecoder


@dataclass(kw_only=True)
class ResynthesiseConfig(StageConfig):
    """Options of decoder.resynthesise.

    Attributes:
        out: run folder; manifest.jsonl and audio/ are written there.
        seed: unused: decoding draws its noise from a fixed seed.
        tokens: a Parquet file of tokenised speech, or a folder of them.
        decoder: run folder of decoder.train, or its artefact.
        voices: only utterances of these voices; none named means all that the decoder knows.
        speaker: the voice to speak all with, a tag or the path of a reference clip; null keeps each utterance's own.
        limit: at most so many utterances (the first); 0 takes all.
        vocoder: model (the decoder's own), griffin_lim, or the run folder of another decoder.train_vocoder.
        steps: of the flow's solver; 0 speaks the regressed mean; null is the decoder's default.
        guidance: classifier-free guidance; null is the decoder's default.
        solver: euler or midpoint; null is the decoder's default.
        batch: utterances decoded at once.
        threads: CPU threads.
    """

    tokens: str
    decoder: str
    voices: list[str] = field(default_factory=list)
    speaker: str | None = None
    limit: int = 0
    vocoder: str = "model"
    steps: int | None = None
    guidance: float | None = None
    solver: str | None = None
    batch: int = 16
    threads: int = 1

    def __post_init__(self) -> None:
        is_known = self.vocoder in VOCODERS or Path(self.vocoder).is_dir()
        remedy = "choose model, griffin_lim, or the run folder of decoder.train_vocoder"
        check_option(is_known, "vocoder", self.vocoder, remedy)
        check_option(self.limit >= 0, "limit", self.limit, "give 0 (all) or more")
        check_option(self.steps is None or self.steps >= 0, "steps", self.steps, "give 0 (the mean) or more")
        check_option(self.guidance is None or self.guidance >= 0, "guidance", self.guidance, "give 0 or more")
        is_known = self.solver is None or self.solver in SOLVERS
        check_option(is_known, "solver", self.solver, f"choose {' or '.join(SOLVERS)}")
        check_option(self.batch >= 1, "batch", self.batch, "give at least 1")
        check_option(self.threads >= 1, "threads", self.threads, "give at least 1")


def run(config: ResynthesiseConfig, run: Run) -> dict[str, Any]:
    """Decode all; returns how much was made."""
    import torch

    from corpus.audio.files import write_audio
    from corpus.manifest import Utterance, write_manifest
    from corpus.tokens import read_tokens

    from .model import SpeechDecoder
    from .vocoder import Vocoder

    torch.set_num_threads(config.threads)
    decoder = SpeechDecoder.from_pretrained(artefact_folder(config.decoder))
    vocoder = config.vocoder
    if vocoder not in VOCODERS:
        decoder.change_vocoder(Vocoder.from_pretrained(artefact_folder(vocoder)), vocoder)
        vocoder = "model"
    speech = read_tokens(config.tokens)
    if speech.tokenizer != decoder.tokenizer:
        found = f"made by tokenizer {speech.tokenizer}, but the decoder was trained on tokenizer {decoder.tokenizer}"
        raise UserError(config.tokens, found=found, remedy="encode again, or train the decoder on these tokens")
    items = choose(config, speech.items, decoder)
    audio_files = {item.id: Path(config.out) / "audio" / f"{item.id.replace('/', '_')}.flac" for item in items}
    batches = by_length(items, config.batch)
    with run.progress(len(items), "resynthesis", unit="utterance") as bar:
        for batch in batches:
            if not all(audio_files[item.id].exists() for item in batch):
                speakers = [config.speaker or item.speaker for item in batch]
                made = decoder.decode_batch(
                    [item.tokens for item in batch],
                    speakers,
                    steps=config.steps,
                    guidance=config.guidance,
                    solver=config.solver,
                    vocoder=vocoder,
                )
                for item, audio in zip(batch, made, strict=True):
                    write_audio(audio_files[item.id], audio, decoder.sample_rate)
            bar.update(len(batch))
    seconds = [len(item.tokens) / speech.frame_rate for item in items]
    write_manifest(
        Path(config.out) / "manifest.jsonl",
        [
            Utterance(
                item.id, audio_files[item.id], length, item.text, config.speaker or item.speaker, item.lang, item.kind
            )
            for item, length in zip(items, seconds, strict=True)
        ],
    )
    return {"utterances": len(items), "seconds_of_audio": round(sum(seconds), 2)}


def choose(
    config: ResynthesiseConfig, items: list[TokenisedUtterance], decoder: SpeechDecoder
) -> list[TokenisedUtterance]:
    """The utterances to speak, checked."""
    if config.speaker is not None:
        decoder.voices([config.speaker])
    voices = set(config.voices)
    if not voices and config.speaker is None:
        voices = set(decoder.speakers)
    chosen = [item for item in items if not voices or item.speaker in voices]
    chosen = chosen[: config.limit or None]
    if not chosen:
        known = ", ".join(sorted({item.speaker for item in items}))
        found = f"no utterance of the voices {', '.join(sorted(voices))}"
        raise UserError(config.tokens, found=found, remedy=f"name a speaker= to speak with; the voices are: {known}")
    for item in chosen:
        decoder.check_tokens(item.tokens, f"utterance {item.id}")
        if config.speaker is None:
            decoder.speaker_row(item.speaker)
    return chosen


def by_length(items: list[TokenisedUtterance], batch: int) -> list[list[TokenisedUtterance]]:
    """Batches of utterances of about the same length, which wastes little on padding."""
    ordered = sorted(items, key=lambda item: (len(item.tokens), item.id))
    return [ordered[start : start + batch] for start in range(0, len(ordered), batch)]


STAGE = Stage(
    name="decoder.resynthesise",
    config=ResynthesiseConfig,
    run=run,
    summary="Speak tokenised utterances with a decoder: audio files and a manifest that a judge can transcribe.",
    inputs=lambda config: [config.tokens, config.decoder, *({config.vocoder} - set(VOCODERS))],
    example="tokens=runs/quickstart/tokens/heldout_sentence.parquet decoder=runs/quickstart/decoder "
    "out=runs/quickstart/resynthesis",
)

if __name__ == "__main__":
    STAGE.exit()
