"""Speech made again from tokens by a decoder: its files paired with the recordings, and how long it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from corpus.manifest import Utterance, read_manifest
from corpus.tokens import TokenisedUtterance, write_tokens
from decoder.resynthesis import speak_tokens
from decoder.resynthesis_config import ResynthesiseConfig
from evaluation.speech.resynthesis import ResynthesisPair
from runtime.errors import UserError
from runtime.stage import Run

from .config import SpeakingConfig
from .encoding import EncodedSet, chosen_rows, open_decoder

TOKENS, SPEECH = "tokens.parquet", "speech"


class SpokenAgain(NamedTuple):
    """Speech made again with its recordings, and the decoder's real-time factors (``rtf``, ``cpu_rtf``)."""

    pairs: list[ResynthesisPair]
    speed: Mapping[str, float]


def speak_again(encoded: EncodedSet, decoder: str, options: SpeakingConfig, threads: int, run: Run) -> SpokenAgain:
    """Speak a set's tokens; files that are there from a killed call are kept.

    Raises:
        UserError: a decoder of another tokenizer, or a voice that it does not know.
    """
    speakers = open_decoder(decoder, encoded.tokenizer).speakers
    rows = chosen_rows(encoded.utterances, options, speakers)
    chosen = encoded._replace(
        utterances=[encoded.utterances[row] for row in rows], tokens=[encoded.tokens[row] for row in rows]
    )
    check_voices(chosen.utterances, speakers, options)
    tokens = run.folder / TOKENS
    write_tokens(
        tokens,
        [
            TokenisedUtterance(one.id, codes, one.text, one.duration, one.speaker, one.lang, one.kind)
            for one, codes in zip(chosen.utterances, chosen.tokens, strict=True)
        ],
        tokenizer=chosen.tokenizer,
        codebook_size=chosen.codebook_size,
        frame_rate=chosen.frame_rate,
    )
    part = run.part(SPEECH)
    config = ResynthesiseConfig(
        out=str(part.folder),
        tokens=str(tokens),
        decoder=decoder,
        speaker=options.speaker,
        vocoder=options.vocoder,
        steps=options.steps,
        guidance=options.guidance,
        solver=options.solver,
        batch=options.batch,
        threads=threads,
    )
    speed = speak_tokens(config, part).speed
    made = {one.id: one for one in read_manifest(part.folder / "manifest.jsonl").utterances}
    pairs = [ResynthesisPair(made[one.id], one) for one in chosen.utterances]
    return SpokenAgain(pairs, speed)


def check_voices(utterances: Sequence[Utterance], speakers: Sequence[str], options: SpeakingConfig) -> None:
    """Raise a `UserError` where an utterance would be spoken by its own voice, and the decoder does not know that."""
    if options.speaker is not None:
        return
    strange = [one for one in utterances if one.speaker not in speakers]
    if strange:
        found = (
            f"{len(strange)} of {len(utterances)} utterances are of voices that the decoder does not know, the first "
            f"({strange[0].id}) of {strange[0].speaker or 'nobody named'!r}"
        )
        shown = ", ".join(speakers[:10])
        remedy = f"speak all with one voice, speaking.speaker=TAG ({shown}) or a clip, or choose speaking.voices=[...]"
        raise UserError("option speaking.speaker", found=found, remedy=remedy)
