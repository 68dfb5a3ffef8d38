"""A manifest as speech tokens: encoded here, or taken from what tokenizer.encode wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from corpus.audio.segments import read_segment
from corpus.manifest import BadRecord, Manifest, Utterance, check_bad_share, read_manifest
from corpus.tokens import read_tokens
from decoder.model import SpeechDecoder
from runtime.artefact import artefact_folder
from runtime.errors import UserError
from runtime.journal import Journal
from runtime.stage import Run
from tokenizer.model import Codes, SpeechTokenizer
from tokenizer.scoring.transcripts import READ_TOGETHER

from .config import KNOWN_VOICES, DecoderSetConfig, SpeakingConfig

ENCODED = "encoded.jsonl"


class EncodedSet(NamedTuple):
    """Utterances with their tokens, and the tokenizer that made them.

    Attributes:
        utterances: those that could be read.
        tokens: of each.
        tokenizer: fingerprint.
        codebook_size: K.
        frame_rate: tokens a second.
        left_out: bad records.
    """

    utterances: Sequence[Utterance]
    tokens: Sequence[Codes]
    tokenizer: str
    codebook_size: int
    frame_rate: float
    left_out: int


def chosen_rows(utterances: Sequence[Utterance], options: SpeakingConfig, speakers: Sequence[str]) -> list[int]:
    """The places of the utterances of the chosen voices; ``speakers`` are those that the decoder knows.

    Raises:
        UserError: there is none.
    """
    voices = speakers if options.voices == [KNOWN_VOICES] else options.voices
    if not voices:
        return list(range(len(utterances)))
    rows = [row for row, one in enumerate(utterances) if one.speaker in voices]
    if not rows:
        known = ", ".join(sorted({one.speaker for one in utterances})[:10])
        found = f"no utterance of {', '.join(voices)}"
        raise UserError("option speaking.voices", found=found, remedy=f"the set's voices are: {known}")
    return rows


def open_decoder(folder: str, tokenizer: str) -> SpeechDecoder:
    """The decoder in a folder, checked to be one of the tokenizer's with this fingerprint.

    Raises:
        UserError: no decoder, or one of another tokenizer.
    """
    decoder = SpeechDecoder.from_pretrained(artefact_folder(folder))
    if decoder.tokenizer != tokenizer:
        found = f"a decoder of tokenizer {decoder.tokenizer}, and the tokens are of {tokenizer}"
        raise UserError(f"option decoder={folder}", found=found, remedy="give the decoder trained on these tokens")
    return decoder


def wanted_utterances(config: DecoderSetConfig, manifest: Manifest, decoder: SpeechDecoder) -> list[Utterance]:
    """The first utterances of the chosen voices, at most ``config.limit``."""
    rows = chosen_rows(manifest.utterances, config.speaking, decoder.speakers)
    return [manifest.utterances[row] for row in rows[: config.limit or None]]


def encode_set(config: DecoderSetConfig, run: Run) -> EncodedSet:
    """The manifest's utterances as tokens, encoded by ``config.tokenizer``; what is done is kept.

    Raises:
        UserError: more bad records than ``max_bad_share``, or a tokenizer that the decoder was not trained on.
    """
    assert config.tokenizer is not None
    tokenizer = SpeechTokenizer.from_pretrained(config.tokenizer, config.device)
    tokenizer.require_codebook()
    manifest = read_manifest(config.data, config.max_bad_share)
    wanted = wanted_utterances(config, manifest, open_decoder(config.decoder, tokenizer.fingerprint))
    bad, utterances, tokens = list(manifest.bad), list[Utterance](), list[Codes]()
    with Journal(run.folder / ENCODED) as journal:
        done = {record["start"]: record for record in journal.records}
        with run.progress(len(wanted), "encoding", unit="utterance") as bar:
            for start in range(0, len(wanted), READ_TOGETHER):
                part = wanted[start : start + READ_TOGETHER]
                record = done.get(start)
                if record is None:
                    record = {"start": start} | encode_part(tokenizer, part, config.duration_tolerance)
                    journal.append(record)
                bad += [BadRecord(*one) for one in record["bad"]]
                check_bad_share(bad, len(wanted), config.max_bad_share)
                utterances += [part[row] for row in record["rows"]]
                tokens += [np.array(codes, dtype=np.uint16) for codes in record["tokens"]]
                bar.update(len(part))
    return EncodedSet(
        utterances, tokens, tokenizer.fingerprint, tokenizer.codebook_size, tokenizer.frame_rate, len(bad)
    )


def encode_part(tokenizer: SpeechTokenizer, part: Sequence[Utterance], tolerance: float) -> dict[str, Any]:
    """Tokens of some utterances as plain data, and those that could not be read."""
    rows, bad, audios = [], [], []
    for row, one in enumerate(part):
        try:
            audios.append(read_segment(one.segment, tokenizer.sample_rate, tolerance=tolerance))
            rows.append(row)
        except UserError as error:
            bad.append([error.subject, error.found])
    return {"rows": rows, "bad": bad, "tokens": [codes.tolist() for codes in tokenizer.encode(audios)]}


def encoded_before(config: DecoderSetConfig) -> EncodedSet:
    """The manifest's utterances with the tokens of ``config.tokens``.

    Raises:
        UserError: an utterance without tokens.
    """
    assert config.tokens is not None
    speech = read_tokens(config.tokens)
    manifest = read_manifest(config.data, config.max_bad_share)
    wanted = wanted_utterances(config, manifest, open_decoder(config.decoder, speech.tokenizer))
    codes = {item.id: item.tokens for item in speech.items}
    missing = [one.id for one in wanted if one.id not in codes]
    if missing:
        found = f"no tokens of {len(missing)} of {len(wanted)} utterances of {config.data}, the first {missing[0]}"
        remedy = "give the tokens of this manifest, or tokenizer= in their place"
        raise UserError(f"option tokens={config.tokens}", found=found, remedy=remedy)
    tokens = [codes[one.id] for one in wanted]
    return EncodedSet(wanted, tokens, speech.tokenizer, speech.codebook_size, speech.frame_rate, len(manifest.bad))
