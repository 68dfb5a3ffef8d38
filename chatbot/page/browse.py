"""Opening of the page in the user's browser, where there is a screen."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser


def has_screen() -> bool:
    """Whether windows can be opened here (a browser in a terminal has no sound)."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_in_browser(url: str) -> None:
    """Open ``url`` without waiting for the browser; does nothing where there is no screen."""
    if has_screen():
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
