"""Predictors of how people would rate speech, 1 to 5, which we do not ship; nothing is downloaded.

UTMOS is a TorchScript file given by path: it maps (waveform (1, S), sample rate) to a score, as its authors trace it.
DNSMOS is the package ``speechmos`` of its authors, with its weights (Reddy et al. 2021: P.808; 2022: P.835), DistillMOS
the package ``distillmos`` (Stahl and Gamper 2025), likewise.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from corpus.audio.files import SAMPLE_RATE, read_audio
from runtime.errors import UserError


def load_predictor(model: str) -> Any:
    """The predictor in a TorchScript file.

    Raises:
        UserError: no such file, or no TorchScript.
    """
    import torch

    if not Path(model).is_file():
        raise UserError(f"option utmos={model}", found="no such file", remedy="give the path of a TorchScript file")
    try:
        return torch.jit.load(model, map_location="cpu").eval()
    except RuntimeError as error:
        found = f"no TorchScript ({str(error).splitlines()[0]})"
        raise UserError(
            f"option utmos={model}", found=found, remedy="trace the predictor with torch.jit first"
        ) from error


def naturalness(predictor: Any, file: Path) -> dict[str, float]:
    """The score of a file, ``utmos``, by a predictor of `load_predictor`."""
    import torch

    with torch.inference_mode():
        return {"utmos": float(predictor(torch.from_numpy(read_audio(file))[None], SAMPLE_RATE))}


def check_dnsmos() -> None:
    """Raise a `UserError` where the packages of `dnsmos_ratings` are missing."""
    try:
        import onnxruntime  # noqa: F401
        from speechmos import dnsmos  # noqa: F401
    except ImportError as error:
        raise UserError(
            "option dnsmos=true", found=f"{error.name} is not installed", remedy="pip install 'speechweave[quality]'"
        ) from error


def dnsmos_ratings(file: Path) -> dict[str, float]:
    """DNSMOS of a file: ``dnsmos_ovrl``, ``dnsmos_sig``, ``dnsmos_bak`` (P.835) and ``dnsmos_p808``.

    The network hears 9.01 s: shorter speech is repeated, longer is rated in windows 1 s apart and averaged.
    """
    from speechmos import dnsmos

    audio = np.clip(read_audio(file), -1, 1)  # what is beyond is refused there, and resampling overshoots
    rated = dnsmos.run(audio, SAMPLE_RATE)
    return {f"dnsmos_{name}": float(rated[f"{name}_mos"]) for name in ("ovrl", "sig", "bak", "p808")}


@contextlib.contextmanager
def without_torchaudio() -> Iterator[None]:
    """An empty module in the place of torchaudio where that is not installed or does not load.

    DistillMOS imports it for the reading and resampling of files, which is done here before.
    """
    names = ("torchaudio", "torchaudio.transforms")
    try:
        with contextlib.suppress(ImportError, OSError):
            import torchaudio  # type: ignore[import-not-found]  # noqa: F401
        missing = [name for name in names if name not in sys.modules]
        for name in missing:
            sys.modules[name] = types.ModuleType(name)
        sys.modules["torchaudio.transforms"].__dict__.setdefault("MFCC", None)
        yield
    finally:
        for name in missing:
            sys.modules.pop(name, None)


def load_distillmos() -> Any:
    """The predictor of the package ``distillmos``.

    Raises:
        UserError: it is not installed.
    """
    missing = next((name for name in ("distillmos", "xls_r_sqa") if importlib.util.find_spec(name) is None), None)
    if missing is not None:
        remedy = "pip install --no-deps distillmos xls-r-sqa (the weights are in them)"
        raise UserError("option distillmos=true", found=f"{missing} is not installed", remedy=remedy)
    with without_torchaudio(), contextlib.redirect_stdout(io.StringIO()):  # it prints where its weights lie
        import distillmos  # type: ignore[import-not-found]

        return distillmos.ConvTransformerSQAModel().eval()


def distillmos_rating(predictor: Any, file: Path) -> dict[str, float]:
    """DistillMOS of a file, ``distillmos``: 1 to 5; windows of 7.68 s, averaged; their level plays no part."""
    import torch

    with torch.inference_mode():
        return {"distillmos": float(predictor(torch.from_numpy(read_audio(file))[None]))}
