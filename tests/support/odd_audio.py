"""Audio files that every reader must warn of or leave out: cancelling channels, 16-bit scale, no header."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

SECONDS = 1.0
CANCELS, SCALE, HEADERLESS = "cancels.wav", "scale.wav", "headerless.raw"
WARNINGS = {CANCELS: "channels cancel out", SCALE: "where full scale is 1"}


def write_odd_audio(folder: Path) -> list[Path]:
    """Write the three files, of a second each."""
    folder.mkdir(parents=True, exist_ok=True)
    voice = 0.2 * np.sin(2 * np.pi * 300 * np.arange(16000) / 16000)
    soundfile.write(folder / CANCELS, np.stack([voice, -voice], 1), 16000)
    soundfile.write(folder / SCALE, 32768 * voice, 16000, subtype="FLOAT")
    (folder / HEADERLESS).write_bytes((32767 * voice).astype("<i2").tobytes())
    return [folder / name for name in (CANCELS, SCALE, HEADERLESS)]


def check_warnings(run_folder: Path, metrics: dict[str, object]) -> None:
    """A stage's run folder names both files that look wrong, once each."""
    lines = (run_folder / "warnings.txt").read_text(encoding="utf-8").splitlines()
    assert metrics["record_warnings"] == len(lines) == 2, lines
    for name, reason in WARNINGS.items():
        assert sum(name in line and reason in line for line in lines) == 1, (name, lines)
