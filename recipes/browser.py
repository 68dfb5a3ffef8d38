"""A headless Chromium that talks to the page: a sound file for its microphone, and a tap on what it plays.

    with browser(microphone=Path("question.wav")) as chromium:
        page = open_page(chromium, "http://127.0.0.1:8000/")
        ...
        samples = played(page)

Driven by the playwright package (extra ``dev``) with the Chromium that the machine has.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from corpus.audio import Samples
from corpus.errors import UserError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

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
TAP_PATH = "/tap.js"  # the page's policy lets it load nothing but what comes from its own server
TAP = """
class Tap extends AudioWorkletProcessor {
  process([[channel]]) {
    if (channel) this.port.postMessage(channel.slice());
    return true;
  }
}
registerProcessor("tap", Tap);
"""
# Whatever a page connects to the loudspeaker also goes into the tap; silence before the first sound is left out.
LISTEN = """
(() => {
  const connect = AudioNode.prototype.connect;
  const blocks = [];
  let hasBegun = false;
  AudioNode.prototype.connect = function (target, ...rest) {
    const result = connect.call(this, target, ...rest);
    if (target instanceof AudioDestinationNode) {
      target.context.audioWorklet.addModule("TAP_PATH").then(() => {
        const tap = new AudioWorkletNode(target.context, "tap", { numberOfOutputs: 0 });
        tap.port.onmessage = ({ data }) => {
          hasBegun ||= data.some((sample) => sample !== 0);
          if (hasBegun) blocks.push(data);
        };
        connect.call(this, tap);
        globalThis.tapIsOpen = true;
      });
    }
    return result;
  };
  globalThis.takeHeard = async () => {
    const url = await new Promise((resolve) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result);
      reader.readAsDataURL(new Blob(blocks.splice(0)));
    });
    hasBegun = false;
    return url.slice(url.indexOf(",") + 1);
  };
})();
""".replace("TAP_PATH", TAP_PATH)


def executable() -> str | None:
    """The path of a Chromium, or None where there is none."""
    return next((path for name in EXECUTABLES if (path := shutil.which(name))), None)


@contextmanager
def browser(*, microphone: Path | None = None, is_allowed: bool = True) -> Iterator[Browser]:
    """A running Chromium.

    Args:
        microphone: 16-bit wav that it hears once, from the moment the page opens the microphone; None: beeps.
        is_allowed: the user lets the page use the microphone.

    Raises:
        UserError: no Chromium, or no playwright.
    """
    path = executable()
    if path is None:
        raise UserError("Chromium", found="none on the PATH", remedy="install it (apt-get install chromium)")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise UserError("playwright", found="not installed", remedy="pip install playwright") from error
    flags = [*FLAGS, "--use-fake-ui-for-media-stream" if is_allowed else "--deny-permission-prompts"]
    if microphone is not None:
        flags.append(f"--use-file-for-fake-audio-capture={microphone.resolve()}%noloop")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=flags)
        try:
            yield chromium
        finally:
            chromium.close()


def open_page(chromium: Browser, url: str, **context: Any) -> Page:
    """A page at ``url`` in a context of its own (``context``: playwright's options of one), its sound tapped."""
    page = chromium.new_context(**context).new_page()
    page.route(f"**{TAP_PATH}", lambda route: route.fulfill(body=TAP, content_type="text/javascript"))
    page.add_init_script(LISTEN)
    page.goto(url)
    return page


def played(page: Page) -> Samples:
    """What the page played since the last call (S,), at its player's rate, from the first sound on."""
    heard = base64.b64decode(page.evaluate("() => takeHeard()"))
    return np.frombuffer(heard, dtype="<f4").copy()
