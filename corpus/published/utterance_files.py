"""Corpora of one utterance a file.

LibriSpeech, LibriTTS, LJSpeech, VCTK, MLS, Common Voice, AISHELL-1, The People's Speech and Emilia.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from corpus.json_lines import parse_json_line
from corpus.manifest import BadRecord

from .records import (
    ListedUtterance,
    Records,
    SpeechSplit,
    inner_folder,
    json_records,
    needed,
    subfolders,
    table_rows,
    text_lines,
    unpacked,
)

MLS_LANGUAGES = {
    "english": "en",
    "german": "de",
    "dutch": "nl",
    "french": "fr",
    "spanish": "es",
    "italian": "it",
    "portuguese": "pt",
    "polish": "pl",
}
COMMON_VOICE_SPLITS = {"train": True, "dev": True, "test": True, "validated": False, "other": False}
PEOPLES_SPEECH_SPLITS = {
    "train": ("clean", "clean_sa", "dirty", "dirty_sa"),
    "validation": ("validation",),
    "test": ("test",),
}
SPHINX_LINE = re.compile(r"<s>\s*(?P<text>.*?)\s*</s>\s*\((?P<id>[^()/]+)\)")
LONGEST_CLIENT = 16  # digits of Common Voice's 128 that name a speaker


def librispeech(source: Path) -> list[SpeechSplit]:
    """``<part>/SPEAKER/CHAPTER/*.trans.txt`` with ``ID TRANSCRIPT`` a line and ``ID.flac`` in the same folder."""
    parts = [part for part in subfolders(inner_folder(source, "LibriSpeech")) if any(part.glob("*/*/*.trans.txt"))]
    return [SpeechSplit(part.name, partial(_librispeech_part, part)) for part in parts]


def _librispeech_part(part: Path) -> Records:
    for file in sorted(part.glob("*/*/*.trans.txt")):
        for place, line in text_lines(file):
            name, _, text = line.partition(" ")
            speaker = name.split("-")[0]
            yield spoken(ListedUtterance(place, name, file.parent / f"{name}.flac", text, speaker, "en"))


def libritts(source: Path) -> list[SpeechSplit]:
    """``<part>/SPEAKER/CHAPTER/*.trans.tsv`` with ``ID, TEXT, NORMALISED TEXT`` a line, and ``ID.wav`` there."""
    root = inner_folder(source, "LibriTTS", "LibriTTS_R")
    parts = [part for part in subfolders(root) if any(part.glob("*/*/*.trans.tsv"))]
    return [SpeechSplit(part.name, partial(_libritts_part, part)) for part in parts]


def _libritts_part(part: Path) -> Records:
    for file in sorted(part.glob("*/*/*.trans.tsv")):
        for place, line in text_lines(file) if not file.name.startswith(".") else ():
            name, *texts = line.split("\t")
            audio, text = file.parent / f"{name}.wav", texts[-1] if texts else ""
            yield spoken(ListedUtterance(place, name, audio, text, name.split("_")[0], "en"))


def ljspeech(source: Path) -> list[SpeechSplit]:
    """``metadata.csv`` with ``ID|TEXT|NORMALISED TEXT`` a line, and ``wavs/ID.wav``."""
    root = inner_folder(source, "LJSpeech-1.1")
    if not (root / "wavs").is_dir():
        return []
    needed(root / "metadata.csv", "the transcripts")
    return [SpeechSplit("train", partial(_ljspeech, root))]


def _ljspeech(root: Path) -> Records:
    for place, line in text_lines(root / "metadata.csv"):
        name, *texts = line.split("|")
        text = next((each.strip() for each in reversed(texts) if each.strip()), "")
        yield spoken(ListedUtterance(place, name, root / "wavs" / f"{name}.wav", text, "lj", "en"))


def vctk(source: Path) -> list[SpeechSplit]:
    """``txt/SPEAKER/ID.txt``; ``wav48_silence_trimmed/SPEAKER/ID_mic2.flac`` (0.92) or ``wav48/SPEAKER/ID.wav``.

    A speaker without recordings of the second microphone (p280) is taken from the first.
    """
    root = inner_folder(source, "VCTK-Corpus-0.92", "VCTK-Corpus")
    audio = inner_folder(root, "wav48_silence_trimmed", "wav48")
    if audio == root:
        return []
    needed(root / "txt", "the transcripts")
    return [SpeechSplit("train", partial(_vctk, root / "txt", audio))]


def _vctk(texts: Path, audio: Path) -> Records:
    for folder in subfolders(texts):
        speaker = folder.name
        if audio.name == "wav48":
            suffix = ".wav"
        else:
            suffix = "_mic2.flac" if any((audio / speaker).glob("*_mic2.flac")) else "_mic1.flac"
        for file in sorted(folder.glob("*.txt")):
            text = " ".join(file.read_text(encoding="utf-8", errors="replace").split())
            place = audio / speaker / f"{file.stem}{suffix}"
            yield spoken(ListedUtterance(f"{file}, line 1", file.stem, place, text, speaker, "en"))


def mls(source: Path) -> list[SpeechSplit]:
    """``mls_LANGUAGE[_opus]/<part>/transcripts.txt`` with ``ID, TRANSCRIPT`` a line; ``audio/SPEAKER/BOOK/ID.flac``."""
    splits = []
    for folder in [source, *subfolders(source)]:
        lang = MLS_LANGUAGES.get(folder.name.removeprefix("mls_").removesuffix("_opus"))
        if not folder.name.startswith("mls_") or lang is None:
            continue
        suffix = ".opus" if folder.name.endswith("_opus") else ".flac"
        for part in [part for part in ("train", "dev", "test") if (folder / part / "audio").is_dir()]:
            needed(folder / part / "transcripts.txt", "the transcripts")
            splits.append(SpeechSplit(f"{lang}-{part}", partial(_mls_part, folder / part, lang, suffix)))
    return splits


def _mls_part(part: Path, lang: str, suffix: str) -> Records:
    for place, line in text_lines(part / "transcripts.txt"):
        name, _, text = line.partition("\t")
        speaker, book, *_ = [*name.split("_"), ""]
        yield spoken(
            ListedUtterance(place, name, part / "audio" / speaker / book / f"{name}{suffix}", text, speaker, lang)
        )


def common_voice(source: Path) -> list[SpeechSplit]:
    """``LANGUAGE/<part>.tsv`` (columns client_id, path, sentence) and ``LANGUAGE/clips/*.mp3``."""
    splits = []
    for folder in [source, *subfolders(source)]:
        if not (folder / "clips").is_dir():
            continue
        unpacked(folder / "clips")
        parts = {part: folder / f"{part}.tsv" for part in COMMON_VOICE_SPLITS if (folder / f"{part}.tsv").is_file()}
        if not parts:
            needed(folder / "train.tsv", "the transcripts")
        splits += [
            SpeechSplit(f"{folder.name}-{part}", partial(_common_voice_part, file), COMMON_VOICE_SPLITS[part])
            for part, file in parts.items()
        ]
    return splits


def _common_voice_part(file: Path) -> Records:
    lang = file.parent.name.split("-")[0]
    with file.open("rb") as lines:
        for row in table_rows(lines, file, "\t", ("client_id", "path", "sentence")):
            if isinstance(row, BadRecord):
                yield row
                continue
            place, cells = row
            name = cells["path"] if "." in cells["path"] else f"{cells['path']}.mp3"
            audio, speaker = file.parent / "clips" / name, cells["client_id"][:LONGEST_CLIENT]
            yield spoken(ListedUtterance(place, audio.stem, audio, cells["sentence"], speaker, lang))


def aishell(source: Path) -> list[SpeechSplit]:
    """``data_aishell/transcript/aishell_transcript_v0.8.txt`` and ``data_aishell/wav/<part>/SPEAKER/ID.wav``."""
    root = inner_folder(inner_folder(source, "aishell"), "data_aishell")
    if not (root / "wav").is_dir():
        return []
    unpacked(root / "wav")
    transcripts = needed(root / "transcript" / "aishell_transcript_v0.8.txt", "the transcripts")
    parts = [root / "wav" / part for part in ("train", "dev", "test") if (root / "wav" / part).is_dir()]
    return [SpeechSplit(part.name, partial(_aishell_part, part, transcripts)) for part in parts]


def _aishell_part(part: Path, transcripts: Path) -> Records:
    """Spaces between words are taken out, letters of full width become those of ASCII, in capitals."""
    texts = {name: text for _, line in text_lines(transcripts) for name, _, text in [line.partition(" ")]}
    for audio in sorted(part.glob("*/*.wav")):
        text = unicodedata.normalize("NFKC", "".join(texts.get(audio.stem, "").split())).upper()
        yield spoken(ListedUtterance(str(audio), audio.stem, audio, text, audio.parent.name, "zh"))


def peoples_speech(source: Path) -> list[SpeechSplit]:
    """``train/clean.json`` (lists of names and labels a line) and ``train/clean/NAME.flac``; so each other part."""
    lists = [
        source / folder / f"{part}.json"
        for folder, parts in PEOPLES_SPEECH_SPLITS.items()
        for part in parts
        if (source / folder / part).is_dir()
    ]
    for file in lists:
        needed(file, "the transcripts")
        unpacked(file.with_suffix(""))
    return [SpeechSplit(file.stem, partial(_peoples_speech_part, file)) for file in lists]


def _peoples_speech_part(file: Path) -> Records:
    for row in json_records(file):
        if isinstance(row, BadRecord):
            yield row
            continue
        place, record = row
        data = record.get("training_data")
        if not isinstance(data, dict) or not all(isinstance(data.get(key), list) for key in ("name", "label")):
            yield BadRecord(place, "no training_data with lists name and label")
            continue
        for name, text in zip(data["name"], data["label"], strict=False):
            audio = file.with_suffix("") / str(name)
            yield spoken(ListedUtterance(place, audio.stem, audio, str(text), "", "en"))


def emilia(source: Path) -> list[SpeechSplit]:
    """``raw/EN/*.jsonl`` with ``wav`` from its folder on; or ``EN/**/ID.json`` next to ``ID.mp3`` (unpacked tars)."""
    root = inner_folder(inner_folder(source, "Emilia"), "raw")
    splits = []
    for folder in [folder for folder in subfolders(root) if len(folder.name) == 2 and folder.name.isupper()]:
        lists, lang = sorted(folder.glob("*.jsonl")), folder.name.lower()
        if lists:
            splits.append(SpeechSplit(f"{lang}-train", partial(_emilia_lists, lists, lang)))
        elif any(folder.rglob("*.json")):
            splits.append(SpeechSplit(f"{lang}-train", partial(_emilia_files, folder, lang)))
        else:
            unpacked(folder)
    return splits


def _emilia_lists(lists: Iterable[Path], lang: str) -> Records:
    for file in lists:
        for row in json_records(file):
            if isinstance(row, BadRecord):
                yield row
                continue
            place, record = row
            yield _emilia_record(place, record, file.parent / str(record.get("wav", "")), lang)


def _emilia_files(folder: Path, lang: str) -> Records:
    files = (file for inner in (folder.glob("*.json"), *map(_json_files, subfolders(folder))) for file in sorted(inner))
    for file in files:
        try:
            record = parse_json_line(file.read_bytes())
        except ValueError as error:
            yield BadRecord(str(file), str(error))
            continue
        yield _emilia_record(str(file), record, file.with_suffix(".mp3"), lang)


def _json_files(folder: Path) -> Iterable[Path]:
    return folder.rglob("*.json")


def _emilia_record(place: str, record: object, audio: Path, lang: str) -> ListedUtterance | BadRecord:
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        return BadRecord(place, "no text")
    speaker = str(record.get("speaker") or "")
    return spoken(
        ListedUtterance(place, audio.stem, audio, record["text"], speaker, str(record.get("language") or lang))
    )


def pocketsphinx_testdata(source: Path) -> list[SpeechSplit]:
    """``usr/share/pocketsphinx/test/data``: ``librivox/transcription``, ``cards/cards.transcription``, ``ID.wav``."""
    root = inner_folder(source, "usr/share/pocketsphinx/test/data")
    lists = {"librivox": root / "librivox" / "transcription", "cards": root / "cards" / "cards.transcription"}
    return [SpeechSplit(name, partial(_sphinx_list, file)) for name, file in lists.items() if file.is_file()]


def _sphinx_list(file: Path) -> Records:
    """Lines of ``<s> TRANSCRIPT </s> (ID)``."""
    for place, line in text_lines(file):
        found = SPHINX_LINE.fullmatch(line)
        if found is None:
            yield BadRecord(place, "not of the form <s> TRANSCRIPT </s> (ID)")
            continue
        name, speaker = found["id"], file.parent.name
        yield spoken(ListedUtterance(place, name, file.parent / f"{name}.wav", found["text"], speaker, "en"))


def spoken(record: ListedUtterance) -> ListedUtterance | BadRecord:
    """A record of a transcribed corpus; a `BadRecord` where its transcript is empty."""
    text = record.text.strip()
    return record._replace(text=text) if text else BadRecord(record.place, f"no transcript of {record.id}")
