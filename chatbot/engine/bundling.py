"""Copying of the parts of a chatbot into a bundle, whole or not at all."""

from __future__ import annotations

import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

from chatbot.settings import ChatSettings, HearingSettings, ReplySettings, ReplyTraining
from decoder.model import SpeechDecoder
from lm.data.clips import read_clip_record
from lm.data.corpora import RECORD_FILE as RECORDED
from lm.data.hearing_folder import HEARING_FOLDER, RECORD_FILE, is_listening_model
from lm.data.vocabulary import Vocabulary
from lm.training.speech_config import SpeechRecord
from runtime.artefact import artefact_folder, atomic_folder, read_json
from runtime.errors import UserError, check_option
from runtime.stage import Run

from .bundle_config import BundleConfig
from .bundle_parts import Bundle

# Settings of replies that the provenance of the fine-tuning corpus holds.
TRAINED = (*(field.name for field in fields(ReplyTraining)), "plain_words")


def bundle_parts(config: BundleConfig, run: Run) -> dict[str, Any]:
    """Copy the parts, check that they load and belong together, and put the bundle in place."""
    sources = part_sources(config)
    vocabulary = Vocabulary.from_pretrained(sources["lm"])
    hearing = hearing_record(sources[HEARING_FOLDER]) if HEARING_FOLDER in sources else None
    spoken = vocabulary if hearing is None else Vocabulary.from_pretrained(sources["reader"])
    trained_as = chat_corpus(config.data, vocabulary.fingerprint, hearing)
    settings = ChatSettings(
        tokenizer=spoken.speech_fingerprint,
        vocabulary=vocabulary.fingerprint,
        voice=config.voice or str(trained_as["voice"]) or most_read_voice(spoken, sources["decoder"]),
        reply=ReplySettings(
            **{name: trained_as[name] for name in TRAINED if name in trained_as},
            follows_instructions=bool(trained_as.get("system")),
            **vars(config.reply),
        ),
        hearing=hearing_settings(hearing, config) if hearing else None,
    )
    with atomic_folder(run.folder / "bundle") as folder, run.progress(len(sources) + 1, "bundle", unit="part") as bar:
        for part, source in sources.items():
            shutil.copytree(source, folder / part)
            bar.update()
        settings.save(folder)
        bundle = Bundle.from_pretrained(folder)
        bar.update()
        num_bytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {
        "megabytes": round(num_bytes / 1e6, 2),
        "voice": settings.voice,
        "transcribe_first": settings.reply.transcribe_first,
        "format": settings.reply.format,
        "context_tokens": bundle.max_length,
        "tokenizer": settings.tokenizer,
        "vocabulary": settings.vocabulary,
        **({"encoder": hearing.encoder} if hearing else {}),
    }


def part_sources(config: BundleConfig) -> dict[str, Path]:
    """The folder of each part.

    Raises:
        UserError: one is missing, or is none that such a model has.
    """
    if not is_listening_model(Path(config.lm)):
        needed = "give the tokenizer of the training (only a model with a hearing/ beside its model/ has none)"
        check_option(bool(config.tokenizer), "tokenizer", config.tokenizer, needed)
        remedy = "leave it out: it is for models that hear vectors"
        check_option(not config.transcribes, "transcribes", config.transcribes, remedy)
        ears = {"tokenizer": part_folder(config.tokenizer, "artefact", "config.yaml")}
    else:
        remedy = "leave it out: the model hears by the encoder in its hearing/"
        check_option(not config.tokenizer, "tokenizer", config.tokenizer, remedy)
        needed = "give a text-to-token model: this language model writes its replies, and they are read aloud"
        check_option(bool(config.reader), "reader", config.reader, needed)
        ears = {HEARING_FOLDER: Path(config.lm) / HEARING_FOLDER}
    sources = ears | {
        "lm": part_folder(config.lm, "model", "config.json"),
        "decoder": part_folder(config.decoder, "artefact", "config.yaml"),
    }
    if config.reader:
        sources["reader"] = part_folder(config.reader, "model", "config.json")
    return sources


def hearing_record(folder: Path) -> SpeechRecord:
    """The record of a model's speech input.

    Raises:
        UserError: it has no encoder, or the record is damaged.
    """
    try:
        record = SpeechRecord.from_plain(read_json(folder / RECORD_FILE))
        assert record is not None
    except (KeyError, TypeError) as error:
        found = f"not a whole speech input ({error})"
        raise UserError(str(folder), found=found, remedy="export the checkpoint again") from error
    if not record.source:
        remedy = "export it again (lm.export) where the encoder of the training is at its path"
        raise UserError(str(folder), found="no encoder: the model takes vectors, but no sound", remedy=remedy)
    return record


def hearing_settings(record: SpeechRecord, config: BundleConfig) -> HearingSettings:
    """The settings of a chatbot whose model has this speech input."""
    rate = record.positions_per_second / record.connector.stride
    return HearingSettings(encoder=record.encoder, positions_per_second=rate, transcribes=config.transcribes)


def most_read_voice(reader: Vocabulary, decoder: Path) -> str:
    """The decoder's voice that the reader has met most in its training; the decoder's first where none is known."""
    voices = SpeechDecoder.from_pretrained(decoder).speakers
    return max(voices, key=lambda name: reader.speaker_tokens.get(name, 0))


def part_folder(path: str, inner: str, file: str) -> Path:
    """``path``, or ``path/inner`` where it is a run folder; it holds ``file``."""
    folder = artefact_folder(path, inner)
    if not (folder / file).is_file():
        remedy = f"give the run folder of the stage that wrote it, or its {inner}/ folder"
        raise UserError(path, found=f"no {file} in it", remedy=remedy)
    return folder


def chat_corpus(data: str, vocabulary: str, hearing: SpeechRecord | None) -> dict[str, Any]:
    """The provenance of the chat corpus that the model was fine-tuned on.

    Args:
        data: its folder, or the run folder of chatbot.prepare, or (of a model that hears vectors) imitation.prepare.
        vocabulary: fingerprint of the model's.
        hearing: the speech input of a model that hears vectors.

    Raises:
        UserError: no chat corpus, or one of another vocabulary, encoder, stride or chat template than the model's.
    """
    folder = artefact_folder(data, "chat")
    if hearing is not None and not (folder / RECORDED).is_file():
        folder = artefact_folder(data, "imitation")
    record = read_json(folder / RECORDED)
    provenance = record.get("provenance")
    if hearing is not None and isinstance(provenance, dict):
        # Replies have no voice; imitation.prepare, which writes no such setting, has no transcripts in them.
        provenance = {"voice": "", "transcribe_first": False} | provenance
    if record.get("format") != "chat" or not isinstance(provenance, dict) or "voice" not in provenance:
        raise UserError(str(folder), found="no chat corpus", remedy="give the run folder of chatbot.prepare")
    remedy = "give the corpus that the model was fine-tuned on"
    if record.get("vocabulary") != vocabulary:
        found = f"a corpus of vocabulary {record.get('vocabulary')}, but the language model's is {vocabulary}"
        raise UserError(str(folder), found=found, remedy=remedy)
    if record.get("has_targets"):
        found = "documents in the chat template of a base model, which the chat server does not write"
        tune = (
            "tune the model on dialogues of chatbot.prepare, or ask it by evaluate answer, which keeps to the template"
        )
        raise UserError(str(folder), found=found, remedy=tune)
    clips = read_clip_record(folder)
    if clips is not None and hearing is None:
        found = "a corpus of speech as vectors, but the language model's export has no hearing/"
        raise UserError(str(folder), found=found, remedy="give the run folder of lm.export, not its model/")
    if clips is not None and hearing is not None:
        own = (hearing.encoder, hearing.connector.stride)
        if (clips.encoder, clips.stride) != own:
            found = f"a corpus for encoder {clips.encoder} and stride {clips.stride}, but the model hears by "
            raise UserError(str(folder), found=f"{found}{own[0]} and stride {own[1]}", remedy=remedy)
    return provenance
