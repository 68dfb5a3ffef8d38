"""Corpora of segments of long recordings: GigaSpeech, WenetSpeech, VoxPopuli, Libri-light, YODAS."""

from __future__ import annotations

import gzip
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

from corpus.json_lines import parse_json_line
from corpus.manifest import BadRecord, is_number
from runtime.errors import UserError

from .records import (
    ListedUtterance,
    Records,
    SpeechSplit,
    array_elements,
    inner_folder,
    needed,
    subfolders,
    table_rows,
    text_lines,
    unpacked,
)
from .utterance_files import spoken

GIGASPEECH_SPLITS = {"XL": True, "DEV": True, "TEST": True, "L": False, "M": False, "S": False, "XS": False}
GIGASPEECH_MARKS = {"<COMMA>": ",", "<PERIOD>": ".", "<QUESTIONMARK>": "?", "<EXCLAMATIONPOINT>": "!"}
GIGASPEECH_NOISES = {"<SIL>", "<MUSIC>", "<NOISE>", "<OTHER>"}
WENETSPEECH_SPLITS = {"L": True, "DEV": True, "TEST_NET": True, "TEST_MEETING": True, "M": False, "S": False}
VOXPOPULI_SPLITS = ("train", "dev", "test")
LIBRILIGHT_SPLITS = ("small", "medium", "large")
YODAS_FOLDER = re.compile(r"([a-z]{2,3})\d{3}")
SUFFIXES = (".wav", ".flac", ".opus", ".ogg", ".mp3")


def gigaspeech(source: Path) -> list[SpeechSplit]:
    """``GigaSpeech.json`` and ``audio/SOURCE/P0000/ID.opus``; XL holds L, that M, that S, that XS."""
    return _subsets(source, "GigaSpeech.json", GIGASPEECH_SPLITS, "text_tn", "en")


def wenetspeech(source: Path) -> list[SpeechSplit]:
    """``WenetSpeech.json`` and ``audio/PART/SOURCE/.../ID.opus``; L holds M, that S."""
    return _subsets(source, "WenetSpeech.json", WENETSPEECH_SPLITS, "text", "zh")


def _subsets(source: Path, name: str, names: dict[str, bool], key: str, lang: str) -> list[SpeechSplit]:
    if not (source / "audio").is_dir() and not (source / name).is_file():
        return []
    file = needed(source / name, "the transcripts")
    needed(source / "audio", "the audio")
    return [SpeechSplit(part, partial(_segments, file, part, key, lang), kept) for part, kept in names.items()]


def _segments(file: Path, part: str, key: str, lang: str) -> Records:
    """The segments of a subset, named ``{XL}`` or ``XL`` in their ``subsets``."""
    for number, audio in enumerate(array_elements(file, "audios"), 1):
        place = f"{file}, recording {number}"
        if not isinstance(audio, dict) or not isinstance(audio.get("path"), str):
            yield BadRecord(place, "no path")
            continue
        for segment in audio.get("segments") or []:
            subsets = segment.get("subsets") or audio.get("subsets") or []
            if part not in [str(subset).strip("{}") for subset in subsets]:
                continue
            text = plain_text(str(segment.get(key) or ""))
            if text is None:
                continue
            name, start, end = str(segment.get("sid") or ""), segment.get("begin_time"), segment.get("end_time")
            if not is_number(start) or not is_number(end) or not name:
                yield BadRecord(f"{place}, segment {name}", "no sid, begin_time or end_time")
                continue
            speaker = str(segment.get("speaker") or audio.get("speaker") or "")
            where, path = f"{place}, segment {name}", file.parent / audio["path"]
            yield spoken(ListedUtterance(where, name, path, text, speaker, lang, start, round(end - start, 6)))


def plain_text(text: str) -> str | None:
    """GigaSpeech's marks of punctuation as punctuation; None where the segment holds noises only."""
    words: list[str] = []
    for word in text.split():
        if (mark := GIGASPEECH_MARKS.get(word)) is not None and words:
            words[-1] += mark
        elif word not in GIGASPEECH_NOISES and word not in GIGASPEECH_MARKS:
            words.append(word)
    return " ".join(words) if words or not text.split() else None


def voxpopuli(source: Path) -> list[SpeechSplit]:
    """One of its three layouts.

    ``transcribed_data/LANGUAGE/asr_<part>.tsv`` with ``LANGUAGE/YEAR/ID.ogg``; ``raw_audios/LANGUAGE/YEAR/
    SESSION_LANGUAGE.ogg`` with ``asr_LANGUAGE.tsv.gz`` in ``source``; ``unlabelled_data/LANGUAGE/YEAR/ID.ogg``.
    """
    splits: list[SpeechSplit] = []
    for folder in _languages(source / "transcribed_data"):
        for part in [part for part in VOXPOPULI_SPLITS if (folder / f"asr_{part}.tsv").is_file()]:
            splits.append(SpeechSplit(f"{folder.name}-{part}", partial(_voxpopuli_cut, folder / f"asr_{part}.tsv")))
        if not any(folder.glob("asr_*.tsv")):
            needed(folder / "asr_train.tsv", "the transcripts")
    known = {split.name for split in splits}
    for folder in _languages(source / "raw_audios"):
        if any(name.startswith(f"{folder.name}-") for name in known):
            continue
        file = needed(source / f"asr_{folder.name}.tsv.gz", "the transcripts")
        splits += [
            SpeechSplit(f"{folder.name}-{part}", partial(_voxpopuli_raw, file, folder, part))
            for part in VOXPOPULI_SPLITS
        ]
    for folder in _languages(source / "unlabelled_data"):
        splits.append(SpeechSplit(f"{folder.name}-unlabelled", partial(_untranscribed, folder), not splits))
    return splits


def _languages(folder: Path) -> list[Path]:
    return [entry for entry in subfolders(folder) if len(entry.name) == 2] if folder.is_dir() else []


def _voxpopuli_cut(file: Path) -> Records:
    lang = file.parent.name
    with file.open("rb") as lines:
        for row in table_rows(lines, file, "\t", ("id", "normalized_text", "speaker_id")):
            if isinstance(row, BadRecord):
                yield row
                continue
            place, cells = row
            name = cells["id"]
            text = cells.get("raw_text") or cells["normalized_text"]
            audio = file.parent / name[:4] / f"{name}.ogg"
            yield spoken(ListedUtterance(place, name, audio, text, cells["speaker_id"], lang))


def _voxpopuli_raw(file: Path, folder: Path, part: str) -> Records:
    columns = ("session_id", "original_text", "normed_text", "start_time", "end_time", "speaker_id", "split")
    lang = folder.name
    counts: dict[str, int] = {}
    with gzip.open(file, "rb") as lines:
        for row in table_rows(lines, file, "|", columns):
            if isinstance(row, BadRecord):
                yield row
                continue
            place, cells = row
            if cells["split"] not in VOXPOPULI_SPLITS:
                continue
            session = cells["session_id"]
            counts[session] = counts.get(session, 0) + 1  # over all splits, as lhotse numbers them
            if cells["split"] != part:
                continue
            try:
                start, end = float(cells["start_time"]), float(cells["end_time"])
            except ValueError:
                yield BadRecord(place, "start_time or end_time is no number")
                continue
            audio = folder / session[:4] / f"{session}_{lang}.ogg"
            name, text = f"{session}-{counts[session]}", cells["original_text"] or cells["normed_text"]
            record = ListedUtterance(place, name, audio, text, cells["speaker_id"], lang, start, round(end - start, 6))
            yield spoken(record)


def _untranscribed(folder: Path) -> Records:
    for audio in sorted(folder.glob("*/*.ogg")):
        yield ListedUtterance(str(audio), audio.stem, audio, "", "", folder.name)


def librilight(source: Path) -> list[SpeechSplit]:
    """``<size>/SPEAKER/BOOK/ID.flac`` and ``ID.json`` with ``speaker`` and the stretches of ``voice_activity``."""
    parts = [source / part for part in LIBRILIGHT_SPLITS if (source / part).is_dir()]
    found = [part for part in parts if any(part.glob("*/*/*.flac"))]
    return [SpeechSplit(part.name, partial(_librilight_part, part)) for part in found]


def _librilight_part(part: Path) -> Records:
    for audio in sorted(part.glob("*/*/*.flac")):
        file = audio.with_suffix(".json")
        try:
            record = parse_json_line(file.read_bytes())
            stretches = [(float(start), float(end)) for start, end in record["voice_activity"]]
            speaker = str(record["speaker"])
        except FileNotFoundError:
            yield BadRecord(str(file), "no such file (speaker and voice activity of the recording)")
            continue
        except (ValueError, KeyError, TypeError) as error:
            yield BadRecord(str(file), f"no speaker, or no voice_activity of pairs ({error})")
            continue
        for number, (start, end) in enumerate(stretches):
            name = f"{audio.parent.parent.name}_{audio.parent.name}_{audio.stem}_{number}"
            place = f"{file}, voice activity {number}"
            yield ListedUtterance(place, name, audio, "", speaker, "en", start, round(end - start, 6))


def yodas(source: Path) -> list[SpeechSplit]:
    """``data/en000`` with ``audio/`` and ``text/``: whole utterances (YODAS) or segments of videos (YODAS2).

    YODAS: ``text/SHARD.txt`` with ``ID TRANSCRIPT`` a line, and ``audio/[SHARD/]ID.wav``. YODAS2: ``text/SHARD.json``,
    a list of ``{"audio_id", "text": {ID: TRANSCRIPT}}``, where an ID ends in begin and end in hundredths of a second,
    and ``audio/[SHARD/]AUDIO_ID.wav``.
    """
    splits = []
    for folder in subfolders(inner_folder(source, "data")):
        found = YODAS_FOLDER.fullmatch(folder.name)
        if found is not None and (folder / "audio").is_dir():
            unpacked(folder / "audio")
            needed(folder / "text", "the transcripts")
            splits.append(SpeechSplit(folder.name, partial(_yodas_folder, folder, found[1][:2])))
    return splits


def _yodas_folder(folder: Path, lang: str) -> Records:
    for file in sorted((folder / "text").iterdir()):
        if file.suffix == ".txt":
            for place, line in text_lines(file):
                name, _, text = line.partition(" ")
                yield spoken(ListedUtterance(place, name, _yodas_audio(folder, file.stem, name), text, "", lang))
        elif file.suffix == ".json":
            yield from _yodas_videos(folder, file, lang)


def _yodas_videos(folder: Path, file: Path, lang: str) -> Records:
    try:
        videos = json.loads(file.read_bytes())
    except ValueError as error:
        raise UserError(str(file), found=f"not JSON ({error})", remedy="download the file again") from error
    for number, video in enumerate(videos, 1):
        place = f"{file}, video {number}"
        if not isinstance(video, dict) or not isinstance(video.get("text"), dict) or "audio_id" not in video:
            yield BadRecord(place, "no audio_id, or no text of segments")
            continue
        audio = _yodas_audio(folder, file.stem, str(video["audio_id"]))
        for name, text in video["text"].items():
            yield _yodas_segment(f"{place}, segment {name}", name, audio, text, lang)


def _yodas_segment(place: str, name: str, audio: Path, text: Any, lang: str) -> ListedUtterance | BadRecord:
    *_, start, end = ["", "", *name.split("-")]
    if not (start.isdigit() and end.isdigit()):
        return BadRecord(place, "an id that does not end in begin and end")
    seconds = (int(end) - int(start)) / 100
    return spoken(ListedUtterance(place, name, audio, str(text or ""), "", lang, int(start) / 100, seconds))


def _yodas_audio(folder: Path, shard: str, name: str) -> Path:
    places = [folder / "audio" / inner / f"{name}{suffix}" for suffix in SUFFIXES for inner in ("", shard)]
    return next((place for place in places if place.is_file()), places[0])
