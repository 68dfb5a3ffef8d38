"""A folder of corpus.build as far as corpus.accounts reads it: two training voices, texts, sentences."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from corpus.manifest import Utterance, write_manifest
from corpus.world.voices import ANSWER, HELD_OUT, espeak_voice
from runtime.artefact import write_json, write_text


def write_small_corpus(folder: Path, *texts: str) -> Path:
    """Write voices.json, texts.jsonl of ``texts``, a train.jsonl of one utterance, and sentences.txt."""
    voices = [
        replace(espeak_voice("f2", 50), role=ANSWER, spread=0.0),
        espeak_voice("m1", 40),
        espeak_voice("f1", 50, role=HELD_OUT),
    ]
    write_json(folder / "voices.json", {"answer": "espeak-f2", "voices": [voice.describe() for voice in voices]})
    lines = [json.dumps({"id": str(number), "text": text}) + "\n" for number, text in enumerate(texts)]
    write_text(folder / "texts.jsonl", "".join(lines))
    write_text(folder / "sentences.txt", "tom was happy\n")
    write_manifest(folder / "train.jsonl", [Utterance("a", folder / "a.wav", 1.0, "tom was happy", "espeak-f2")])
    return folder
