"""Quiet import of NeMo, without its notices of telemetry and optional parts."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings


def quiet_nemo() -> None:
    """Import NeMo's encoder without its notices, and set its log level to errors."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        disabled = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            import nemo.collections.asr.modules  # noqa: F401
            from nemo.utils import logging as nemo_logging
        finally:
            logging.disable(disabled)
    nemo_logging.setLevel(logging.ERROR)
