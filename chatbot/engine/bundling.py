"""Copying of the parts of a chatbot into a bundle, whole or not at all."""

from __future__ import annotations

import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

from chatbot.settings import ChatSettings, ReplySettings, ReplyTraining
from lm.data.vocabulary import Vocabulary
from runtime.artefact import artefact_folder, atomic_folder, read_json
from runtime.errors import UserError
from runtime.stage import Run

from .bundle_config import BundleConfig
from .bundle_parts import Bundle

# Settings of replies that the provenance of the fine-tuning corpus holds.
TRAINED = (*(field.name for field in fields(ReplyTraining)), "plain_words")


def bundle_parts(config: BundleConfig, run: Run) -> dict[str, Any]:
    """Copy the parts, check that they load and belong together, and put the bundle in place."""
    sources = {
        "tokenizer": part_folder(config.tokenizer, "artefact", "config.yaml"),
        "lm": part_folder(config.lm, "model", "config.json"),
        "decoder": part_folder(config.decoder, "artefact", "config.yaml"),
    }
    if config.reader:
        sources["reader"] = part_folder(config.reader, "model", "config.json")
    vocabulary = Vocabulary.from_pretrained(sources["lm"])
    trained_as = chat_corpus(config.data, vocabulary.fingerprint)
    settings = ChatSettings(
        tokenizer=vocabulary.speech_fingerprint,
        vocabulary=vocabulary.fingerprint,
        voice=config.voice or str(trained_as["voice"]),
        reply=ReplySettings(
            **{name: trained_as[name] for name in TRAINED if name in trained_as},
            follows_instructions=bool(trained_as.get("system")),
            **vars(config.reply),
        ),
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
    }


def part_folder(path: str, inner: str, file: str) -> Path:
    """``path``, or ``path/inner`` where it is a run folder; it holds ``file``."""
    folder = artefact_folder(path, inner)
    if not (folder / file).is_file():
        remedy = f"give the run folder of the stage that wrote it, or its {inner}/ folder"
        raise UserError(path, found=f"no {file} in it", remedy=remedy)
    return folder


def chat_corpus(data: str, vocabulary: str) -> dict[str, Any]:
    """The provenance of the chat corpus that the model was fine-tuned on.

    Raises:
        UserError: no chat corpus, or one of another vocabulary than the model's.
    """
    folder = artefact_folder(data, "chat")
    record = read_json(folder / "corpus.json")
    provenance = record.get("provenance")
    if record.get("format") != "chat" or not isinstance(provenance, dict) or "voice" not in provenance:
        raise UserError(str(folder), found="no chat corpus", remedy="give the run folder of chatbot.prepare")
    if record.get("vocabulary") != vocabulary:
        found = f"a corpus of vocabulary {record.get('vocabulary')}, but the language model's is {vocabulary}"
        raise UserError(str(folder), found=found, remedy="give the corpus that the model was fine-tuned on")
    return provenance
