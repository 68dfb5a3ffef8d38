"""Headless Chromium for the page: a sound file as its microphone, and a tap on its audio output.

    with browser(microphone=Path("question.wav")) as chromium:
        page = open_page(chromium, "http://127.0.0.1:8000/")
        ...
        samples = take_played(page)

Driven by the playwright package (extra ``dev``) with the machine's own Chromium.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from corpus.audio.files import Samples
from runtime.errors import UserError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TIMEOUT = 180_000  # milliseconds to wait for the browser's start and for a page
EXECUTABLES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)
# All nodes that a page connects to the loudspeaker are also connected to the tap; leading silence is dropped.
TAP = """
(() => {
  const processor = `
    registerProcessor("tap", class extends AudioWorkletProcessor {
      process([[channel]]) {
        if (channel) this.port.postMessage(channel.slice());
        return true;
      }
    });
  `;
  const module = URL.createObjectURL(new Blob([processor], { type: "text/javascript" }));
  const connect = AudioNode.prototype.connect;
  const blocks = [];
  let hasBegun = false;
  let lastSound = 0;
  let lastKey = 0;
  document.addEventListener("keydown", (event) => event.repeat || (lastKey = performance.now()), true);
  AudioNode.prototype.connect = function (target, ...rest) {
    const result = connect.call(this, target, ...rest);
    if (target instanceof AudioDestinationNode) {
      target.context.audioWorklet.addModule(module).then(() => {
        const tap = new AudioWorkletNode(target.context, "tap", { numberOfOutputs: 0 });
        tap.port.onmessage = ({ data }) => {
          const isSound = data.some((sample) => sample !== 0);
          hasBegun ||= isSound;
          if (isSound) lastSound = performance.now();
          if (hasBegun) blocks.push(data);
        };
        connect.call(this, tap);
      });
    }
    return result;
  };
  globalThis.takePlayed = async () => {
    const url = await new Promise((resolve) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result);
      reader.readAsDataURL(new Blob(blocks.splice(0)));
    });
    hasBegun = false;
    return url.slice(url.indexOf(",") + 1);
  };
  globalThis.soundAfterKey = () => lastSound - lastKey;
})();
"""


def executable() -> str | None:
    """The path of a Chromium, or None where there is none."""
    return next((path for name in EXECUTABLES if (path := shutil.which(name))), None)


@contextmanager
def browser(*, microphone: Path | None = None) -> Iterator[Browser]:
    """A running Chromium.

    Args:
        microphone: 16-bit wav, played once from the moment the page opens the microphone; None: beeps.

    Raises:
        UserError: no Chromium, no playwright, or a timeout on a page.
    """
    path = executable()
    if path is None:
        raise UserError("Chromium", found="none on the PATH", remedy="install it (apt-get install chromium)")
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise UserError("playwright", found="not installed", remedy="pip install playwright") from error
    flags = list(FLAGS)
    if microphone is not None:
        flags.append(f"--use-file-for-fake-audio-capture={microphone.resolve()}%noloop")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=flags, timeout=TIMEOUT)
        try:
            yield chromium
        except Error as error:
            remedy = "read the server's log; on a busy machine, try again later"
            raise UserError("the page in Chromium", found=str(error).splitlines()[0], remedy=remedy) from error
        finally:
            chromium.close()


def open_page(chromium: Browser, url: str, *, is_tapped: bool = False, is_allowed: bool = True, **context: Any) -> Page:
    """A page at ``url`` in a context of its own (``context``: playwright's options of one).

    Args:
        chromium: from `browser`.
        url: of the page.
        is_tapped: install the tap for `take_played`; the page's content security policy is off then, as it forbids it.
        is_allowed: the user allows the microphone; else it is refused.
        context: viewport, color_scheme, ...
    """
    made = chromium.new_context(bypass_csp=is_tapped, **context)
    made.grant_permissions(["microphone"] if is_allowed else [])
    made.set_default_timeout(TIMEOUT)
    page = made.new_page()
    if is_tapped:
        page.add_init_script(TAP)
    page.goto(url)
    return page


def take_played(page: Page) -> Samples:
    """Audio that the page played since the last call (S,), at its player's rate, from the first sound on."""
    heard = base64.b64decode(page.evaluate("() => takePlayed()"))
    return np.frombuffer(heard, dtype="<f4").copy()


def sound_after_key(page: Page) -> float:
    """Milliseconds from the last key pressed to the last sound; below 0 when it was silent already."""
    return float(page.evaluate("() => soundAfterKey()"))
