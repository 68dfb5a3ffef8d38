"""Words of a transcript as they are said: written out, then in normal form.

    spoken_words("That's $1,250.50!")     # "that's one thousand two hundred fifty dollars and fifty cents"

Which reader takes which form:

| form | readers |
|---|---|
| as written | texts of an LM, text of interleaved documents, targets of ASR documents, texts of dialogues |
| written out, marks and case kept | prompts of TTS documents, and texts for a model that was trained on them |
| `spoken_words` | labels of the speech tokenizer, word errors (both sides), recordings that ``corpus.build`` imports, |
| | keys of questions and answers, texts for a model of plain words (``normalises``) |
"""

from __future__ import annotations

import re

from .normalisation import normalise
from .spoken_form import in_words

PLAIN = re.compile(r"[a-z' ]*", re.ASCII)  # nothing in it is read in another way than it is written


def spoken_words(text: str) -> str:
    """The words that somebody says who reads ``text``, in normal form; the same words come back from themselves."""
    return normalise(text if PLAIN.fullmatch(text) else in_words(text))
