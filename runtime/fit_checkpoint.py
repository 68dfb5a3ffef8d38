"""Checkpoints of a fit on disk: ``checkpoint/step-N.pt`` with a checksum for each, the newest two kept."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from .artefact import DigestedFile, atomic_path, file_digest, write_text
from .errors import UserError

KEPT = 2  # the one before is what a torn newest one falls back to


def save_fit_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Write a checkpoint and its checksum atomically, then remove the oldest ones.

    The checksum is that of the bytes handed to the disk: what the disk then keeps is checked when it is loaded.
    """
    file = folder / f"step-{step:08d}.pt"
    with atomic_path(file) as temporary, DigestedFile(temporary) as written:
        torch.save(state, written)
    write_text(file.with_suffix(".digest"), written.digest)
    for old in checkpoint_files(folder)[KEPT:]:
        old.unlink()
        old.with_suffix(".digest").unlink(missing_ok=True)


def load_fit_checkpoint(folder: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest whole checkpoint of ``folder`` (None where nothing was saved), and the reasons for newer ones skipped.

    Raises:
        UserError: checkpoints were saved, and none of them is whole.
    """
    skipped: list[str] = []
    for file in checkpoint_files(folder):
        damage = damage_of(file)
        if not damage:
            return torch.load(file, weights_only=True, map_location="cpu"), skipped
        skipped.append(f"{file}: {damage}")
    if skipped:
        remedy = "restore one from a copy, choose another out=, or begin anew with restart=true"
        raise UserError(str(folder), found=f"no whole checkpoint ({'; '.join(skipped)})", remedy=remedy)
    return None, []


def checkpoint_files(folder: Path) -> list[Path]:
    """All checkpoints of a folder, the newest first."""
    return sorted((file for file in folder.glob("step-*.pt") if re.fullmatch(r"step-\d+", file.stem)), reverse=True)


def damage_of(file: Path) -> str:
    """Why a checkpoint cannot be read; "" for a whole one. Without a checksum (version 0.1.0) its zip index must do."""
    digest = file.with_suffix(".digest")
    if digest.is_file() and digest.read_text(encoding="utf-8") != file_digest(file):
        return "its checksum differs"
    return "" if zipfile.is_zipfile(file) else "it is torn"
