"""Table of the published corpora that `corpus.speech_import` reads: adding one is a reader and a row here."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import UserError

from . import long_recordings, utterance_files
from .packages import APT, SpeechPackage
from .records import SpeechSplit

MOST_NAMES = 8  # entries of a folder that an error lists


@dataclass(frozen=True)
class PublishedCorpus:
    """A published speech corpus.

    Attributes:
        name: in commands, and the prefix of its speakers and ids.
        title: its own name.
        languages: in words.
        hours: of speech, in words.
        licence: as its publishers state it.
        home: where to get it.
        reader: folder -> splits, empty where the folder has another layout; its docstring describes the layout.
        package: of a registry, which is fetched where no folder is given.
    """

    name: str
    title: str
    languages: str
    hours: str
    licence: str
    home: str
    reader: Callable[[Path], list[SpeechSplit]]
    package: SpeechPackage | None = None

    @property
    def layout(self) -> str:
        """The layout of its folder, in words."""
        return " ".join(inspect.cleandoc(self.reader.__doc__ or "").replace("`", "").split())


CORPORA = (
    PublishedCorpus(
        "librispeech",
        "LibriSpeech, Mini LibriSpeech",
        "en",
        "960 h",
        "CC BY 4.0",
        "https://www.openslr.org/12",
        utterance_files.librispeech,
    ),
    PublishedCorpus(
        "libritts",
        "LibriTTS, LibriTTS-R",
        "en",
        "585 h",
        "CC BY 4.0",
        "https://www.openslr.org/60 (R: /141)",
        utterance_files.libritts,
    ),
    PublishedCorpus(
        "ljspeech",
        "LJSpeech",
        "en",
        "24 h",
        "public domain",
        "https://keithito.com/LJ-Speech-Dataset",
        utterance_files.ljspeech,
    ),
    PublishedCorpus(
        "vctk",
        "CSTR VCTK 0.92 (and 0.80)",
        "en",
        "44 h",
        "CC BY 4.0",
        "https://datashare.ed.ac.uk/handle/10283/3443",
        utterance_files.vctk,
    ),
    PublishedCorpus(
        "mls",
        "Multilingual LibriSpeech",
        "en and 7 others",
        "50,000 h",
        "CC BY 4.0",
        "https://www.openslr.org/94",
        utterance_files.mls,
    ),
    PublishedCorpus(
        "commonvoice",
        "Mozilla Common Voice",
        "over 100 languages",
        "hours by release",
        "CC0 1.0; speakers may not be identified",
        "https://commonvoice.mozilla.org/datasets",
        utterance_files.common_voice,
    ),
    PublishedCorpus(
        "aishell",
        "AISHELL-1",
        "zh",
        "178 h",
        "Apache 2.0",
        "https://www.openslr.org/33",
        utterance_files.aishell,
    ),
    PublishedCorpus(
        "peoples_speech",
        "The People's Speech",
        "en",
        "30,000 h",
        "CC BY 4.0; parts _sa CC BY-SA 4.0",
        "https://mlcommons.org/datasets/peoples-speech",
        utterance_files.peoples_speech,
    ),
    PublishedCorpus(
        "emilia",
        "Emilia",
        "en, zh, de, fr, ja, ko",
        "101,000 h",
        "CC BY-NC 4.0: no commercial use",
        "https://huggingface.co/datasets/amphion/Emilia-Dataset",
        utterance_files.emilia,
    ),
    PublishedCorpus(
        "gigaspeech",
        "GigaSpeech",
        "en",
        "10,000 h",
        "own terms: research and education, no commercial use",
        "https://github.com/SpeechColab/GigaSpeech",
        long_recordings.gigaspeech,
    ),
    PublishedCorpus(
        "wenetspeech",
        "WenetSpeech",
        "zh",
        "10,000 h",
        "CC BY 4.0, no commercial use",
        "https://wenet.org.cn/WenetSpeech",
        long_recordings.wenetspeech,
    ),
    PublishedCorpus(
        "voxpopuli",
        "VoxPopuli",
        "16 languages; 23 without transcripts",
        "1,800 h; 400,000 h",
        "CC0 1.0; the European Parliament's legal notice for the audio",
        "https://github.com/facebookresearch/voxpopuli",
        long_recordings.voxpopuli,
    ),
    PublishedCorpus(
        "librilight",
        "Libri-light",
        "en",
        "60,000 h without transcripts",
        "public domain (LibriVox)",
        "https://github.com/facebookresearch/libri-light",
        long_recordings.librilight,
    ),
    PublishedCorpus(
        "yodas",
        "YODAS and YODAS2",
        "over 100 languages",
        "500,000 h",
        "CC BY 3.0",
        "https://huggingface.co/datasets/espnet/yodas",
        long_recordings.yodas,
    ),
    PublishedCorpus(
        "pocketsphinx_testdata",
        "PocketSphinx's test data (LibriVox, playing cards)",
        "en",
        "34 s",
        "BSD-2-Clause",
        "Debian package pocketsphinx-testdata; fetched where no source is given",
        utterance_files.pocketsphinx_testdata,
        SpeechPackage(
            APT,
            "pocketsphinx-testdata",
            "0.8+5prealpha+1-15",
            "eaeb7a01d54f20b799d1a81ef110ec544b2cb47ea006614078220737a33019f0",
            "usr/share/doc/pocketsphinx-testdata/copyright",
        ),
    ),
)
BY_NAME = {corpus.name: corpus for corpus in CORPORA}


def corpus_table() -> list[str]:
    """The corpora for ``--help``: name, languages, hours, licence, where to get each, and its layout."""
    lines = ["", "Corpora (hours and licences as their publishers state them; read the licence before you train):"]
    for each in CORPORA:
        lines += [f"  {each.name:<21} {each.title}: {each.languages}; {each.hours}; {each.licence}"]
        lines += [f"  {'':<21} {each.home}"]
    return lines


def find_splits(corpus: PublishedCorpus, source: Path) -> list[SpeechSplit]:
    """The splits of a corpus in a folder.

    Raises:
        UserError: no such folder, another layout, or a part of the corpus is missing.
    """
    if not source.is_dir():
        raise UserError("option source", found=f"no such folder {source}", remedy=f"get it from {corpus.home}")
    if splits := corpus.reader(source):
        return splits
    names = sorted(entry.name for entry in source.iterdir() if not entry.name.startswith("."))
    held = ", ".join([*names[:MOST_NAMES], *(["..."] if len(names) > MOST_NAMES else [])]) or "nothing"
    others = [other.name for other in CORPORA if other is not corpus and _has_layout(other, source)]
    hint = f"; this is the layout of {' or '.join(others)}" if others else ""
    found = f"no {corpus.title} in {source}, which holds {held}{hint}"
    raise UserError("option source", found=found, remedy=f"looked for {corpus.layout}")


def _has_layout(corpus: PublishedCorpus, source: Path) -> bool:
    with contextlib.suppress(UserError):
        return bool(corpus.reader(source))
    return False


def chosen_splits(corpus: PublishedCorpus, source: Path, names: list[str]) -> list[SpeechSplit]:
    """The splits of these names, in this order; with none named those that are imported by default.

    Raises:
        UserError: as `find_splits`; the corpus has no split of a name.
    """
    splits = find_splits(corpus, source)
    by_name = {split.name: split for split in splits}
    if unknown := [name for name in names if name not in by_name]:
        remedy = f"choose from {', '.join(by_name)}"
        raise UserError("option splits", found=f"no {unknown[0]} in {source}", remedy=remedy)
    return [by_name[name] for name in dict.fromkeys(names)] or [split for split in splits if split.is_default]
