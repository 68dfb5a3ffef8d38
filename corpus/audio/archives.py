"""Archives of speech: FLAC in tars that WebDataset, lhotse and readers by byte offset share.

::

    shard-000000.tar         key.flac key.json  key.flac key.json ...   a clip and its lhotse recording
    shard-000000.cuts.jsonl  one lhotse cut a line: id (the clip's key), duration, transcript, speaker

Keys hold no full stop, where WebDataset would cut them. lhotse reads a pair of files by
``CutSet.from_shar(fields={"cuts": [...], "recording": [...]})``, `tokenizer.encode` a folder of them; a `ClipPlace` is
for random access. The same clips give the same bytes. S samples.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from .files import SAMPLE_RATE, Samples, encode_audio

CUTS_SUFFIX = ".cuts.jsonl"


class ClipPlace(NamedTuple):
    """A clip within an archive: where its encoded audio begins, how many bytes it has, its length in samples."""

    offset: int
    bytes: int
    samples: int


class ClipArchive:
    """An archive that is being written; see `write_archive`."""

    def __init__(self, tar: tarfile.TarFile, sample_rate: int) -> None:
        self._tar, self.sample_rate = tar, sample_rate

    def add(self, key: str, audio: Samples) -> ClipPlace:
        """Append (S,) samples as FLAC of 16 bit; returns their place."""
        assert "." not in key and len(key) < 90, "a key of WebDataset, in a plain tar header"
        content = encode_audio(audio, self.sample_rate, "FLAC")
        offset = self._add_file(f"{key}.flac", content)
        record = json.dumps(recording_of(key, len(audio), self.sample_rate))
        self._add_file(f"{key}.json", f"{record}\n".encode())
        return ClipPlace(offset, len(content), len(audio))

    def _add_file(self, name: str, content: bytes) -> int:
        """Append a file; returns the offset of its content."""
        header = tarfile.TarInfo(name)  # no time, no owner: the same bytes each time
        header.size = len(content)
        offset = self._tar.offset + tarfile.BLOCKSIZE
        self._tar.addfile(header, io.BytesIO(content))
        return offset


@contextmanager
def write_archive(path: Path, sample_rate: int = SAMPLE_RATE) -> Iterator[ClipArchive]:
    """Write a tar of clips; yields what adds them."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        yield ClipArchive(tar, sample_rate)


def recording_of(key: str, num_samples: int, sample_rate: int) -> dict[str, Any]:
    """A lhotse ``Recording`` whose audio lies before it in the tar, as plain data."""
    return {
        "id": key,
        "sources": [{"type": "shar", "channels": [0], "source": ""}],
        "sampling_rate": sample_rate,
        "num_samples": num_samples,
        "duration": num_samples / sample_rate,
        "channel_ids": [0],
    }


def cut_line(
    key: str, num_samples: int, *, text: str, speaker: str, kind: str = "", lang: str = "en", rate: int = SAMPLE_RATE
) -> str:
    """The line of a clip in the list of cuts: a lhotse ``MonoCut`` with one supervision."""
    duration = num_samples / rate
    supervision = {
        "id": key,
        "recording_id": key,
        "start": 0.0,
        "duration": duration,
        "channel": 0,
        "text": text,
        "language": lang,
        "speaker": speaker,
        "custom": {"kind": kind},
    }
    cut = {
        "id": key,
        "start": 0.0,
        "duration": duration,
        "channel": 0,
        "supervisions": [supervision],
        "recording": recording_of(key, num_samples, rate),
        "type": "MonoCut",
    }
    return json.dumps(cut, ensure_ascii=False) + "\n"


def member_places(tar: Path) -> dict[str, tuple[int, int]]:
    """Member name -> offset and number of bytes of its content, of each file in a tar."""
    with tarfile.open(tar) as archive:
        return {member.name: (member.offset_data, member.size) for member in archive if member.isfile()}
