"""Atomic files and folders, and the fingerprints that tie artefacts together.

All output of a stage is written to a temporary name in the same folder, flushed to the disk and then renamed, so that
a kill at any moment leaves either the old content or the new, never a part of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import LATER
from .errors import UserError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


@contextlib.contextmanager
def atomic_path(path: Path | str, *, is_durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path next to ``path`` (same suffix); on success it is flushed and renamed to ``path``.

    Without ``is_durable`` it is not flushed: safe against a kill, not against a power cut (for bulk writers).
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}.", suffix=target.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if is_durable:
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """Yield an empty temporary folder next to ``path``; on success it takes the place of ``path``."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
        temporary.chmod(0o755)
        replaced = temporary.with_name(temporary.name + ".replaced")
        if target.exists():
            target.rename(replaced)
        temporary.rename(target)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_temporary_files(folders: Iterable[Path]) -> None:
    """Delete the temporary files of `atomic_path` that killed processes left in ``folders``."""
    for folder in folders:
        for remnant in folder.glob(".*"):
            remnant.unlink()


def artefact_folder(path: Path | str, inner: str = "artefact") -> Path:
    """The folder ``inner`` in ``path`` where ``path`` is the run folder of the stage that wrote it, else ``path``."""
    folder = Path(path) / inner
    return folder if folder.is_dir() else Path(path)


def relative_path(file: Path, folder: Path) -> str:
    """The path of a file from a folder, both with their links resolved."""
    return os.path.relpath(file.resolve(), folder.resolve())


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def read_json(path: Path | str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UserError: the file is missing or does not hold one JSON object.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(str(path), found="no such file", remedy="run the stage that writes it first") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(str(path), found=f"not JSON ({error})", remedy="restore the file or write it again") from error
    if not isinstance(value, dict):
        raise UserError(str(path), found=f"a JSON {type(value).__name__}", remedy="it must hold one JSON object")
    return value


def fingerprint(value: Mapping[str, Any] | list[Any] | str) -> str:
    """A 16-digit hexadecimal digest of plain data (order of keys does not matter)."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def identity(config: Any, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The options that identify a run or an artefact, nested ones too: those added later count only where they are set.

    So a run or an artefact from before an option existed keeps its fingerprint.

    Args:
        config: dataclass of the options.
        values: of the options as plain data; by default as they are in ``config``.
    """
    values, counted = values or asdict(config), {}
    for option in fields(config):
        value, inner = values[option.name], getattr(config, option.name)
        default = option.default if option.default_factory is MISSING else option.default_factory()
        default = asdict(default) if is_dataclass(default) and not isinstance(default, type) else default
        if not (option.metadata.get(LATER) and value == default):
            counted[option.name] = identity(inner, value) if is_dataclass(inner) else value
    return counted


class DigestedFile(io.BufferedWriter):
    """A binary file that is written from its beginning to its end, and digested meanwhile as by `file_digest`.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path, "w"))
        self._digest = hashlib.sha256()

    def write(self, data: ReadableBuffer, /) -> int:
        """Append ``data``; returns its length."""
        self._digest.update(data)
        return super().write(data)

    @property
    def digest(self) -> str:
        """The digest of what was written."""
        return hashlib.sha256(self._digest.digest()).hexdigest()[:16]


def file_digest(path: Path | str) -> str:
    """A 16-digit hexadecimal digest of a file's bytes, or of every file below a folder."""
    root = Path(path)
    if not root.exists():
        raise UserError(str(path), found="no such file or folder", remedy="check the path, or run the stage before")
    digest = hashlib.sha256()
    for file in [root] if root.is_file() else sorted(entry for entry in root.rglob("*") if entry.is_file()):
        if root.is_dir():
            digest.update(file.relative_to(root).as_posix().encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]
