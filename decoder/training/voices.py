"""Selection of training voices: by name, ``all``, or ``answer``, the one that replies are spoken in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from corpus.manifest import read_manifest
from runtime.errors import UserError

ALL, ANSWER = "all", "answer"


def choose_voices(corpus: Path | str, wanted: Sequence[str], max_bad_share: float = 0.01) -> list[str]:
    """The names of the wanted voices, sorted; all of them speak in the training split.

    Args:
        corpus: the folder that corpus.build wrote.
        wanted: names of voices; ``all`` stands for every one, ``answer`` for the answer voice of the corpus.
        max_bad_share: tolerated share of bad records in the manifest.

    Raises:
        UserError: a voice without an utterance there, or no answer voice.
    """
    manifest = read_manifest(Path(corpus) / "train.jsonl", max_bad_share, needs_text=False)
    known = sorted({utterance.speaker for utterance in manifest.utterances})
    chosen: set[str] = set()
    for name in wanted:
        if name == ALL:
            chosen.update(known)
        elif name == ANSWER:
            chosen.add(answer_voice(corpus))
        else:
            chosen.add(name)
    silent = sorted(chosen - set(known))
    if silent or not chosen:
        found = f"{', '.join(silent) or 'no voice'} chosen, but the training split has {', '.join(known)}"
        raise UserError("option voices", found=found, remedy=f"name some of those, or {ALL}, or {ANSWER}")
    return sorted(chosen)


def answer_voice(corpus: Path | str) -> str:
    """The voice of the corpus that replies are spoken in."""
    file = Path(corpus) / "voices.json"
    remedy = "name the voices themselves, e.g. voices=[alice]"
    try:
        voices = json.loads(file.read_text(encoding="utf-8"))
        return str(voices["answer"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(str(file), found="no answer voice there", remedy=remedy) from error
