"""Client of the served page: a spoken question, an interrupted answer and screenshots in a headless Chromium.

S samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from corpus.audio.files import SAMPLE_RATE, Samples, write_audio

from .browser import browser, open_page, sound_after_key, take_played

if TYPE_CHECKING:  # playwright is an optional package
    from playwright.sync_api import Page

WAYS = ("push to talk", "hands-free")
WIDTHS = {360: 740, 768: 1024, 1280: 800}  # CSS pixels: phone, tablet, laptop; with their heights
PLAYER_RATE = 24_000  # of the page's player
TIMEOUT = 60_000  # milliseconds to wait for an answer
LEAD = 0.5  # seconds of silence before the question, in which the turn detector measures the noise floor
READY = "body:is([data-phase=idle], [data-phase=waiting])"


@dataclass(frozen=True)
class PageExchange:
    """One question on the page and its answer.

    Attributes:
        heard: the page's transcript of the question.
        said: its transcript of the answer.
        sound: the audio it played (S,), at `PLAYER_RATE`.
        seconds: the response time it shows, from the end of the question to the first sound; None: no sound.
        gaps: number of gaps in the playback that it shows.
    """

    heard: str
    said: str
    sound: Samples
    seconds: float | None
    gaps: int


@contextmanager
def visit(url: str, sound: Sequence[Samples], folder: Path, pause: float, **context: Any) -> Iterator[Page]:
    """A page whose microphone gets the sounds, each followed by ``pause`` seconds of silence."""
    file = folder / "microphone.wav"
    silence = np.zeros(int(pause * SAMPLE_RATE), np.float32)
    lead = np.zeros(int(LEAD * SAMPLE_RATE), np.float32)
    write_audio(file, np.concatenate([lead, *(part for speech in sound for part in (speech, silence))]))
    try:
        with browser(microphone=file) as chromium:
            page = open_page(chromium, url, is_tapped=True, **context)
            page.set_default_timeout(TIMEOUT)
            page.locator("#connection[data-state=ready]").wait_for()
            yield page
    finally:
        file.unlink()


def begin(page: Page, way: str, seconds: float) -> None:
    """Open the microphone for a question of ``seconds`` (with push to talk, as long as it lasts)."""
    if way == "hands-free":
        page.get_by_label("Hands-free").check(force=True)
        page.get_by_role("button", name="Open microphone").click()
        return
    page.keyboard.down("Space")
    page.locator("body[data-phase=listening]").wait_for()
    page.wait_for_timeout(1000 * seconds)
    page.keyboard.up("Space")


def ask(url: str, speech: Samples, way: str, folder: Path) -> PageExchange:
    """One question and its answer, on a page of its own."""
    with visit(url, [speech], folder, pause=1.0) as page:
        begin(page, way, LEAD + len(speech) / SAMPLE_RATE)
        page.locator(".assistant:is([data-state=done], [data-state=failed])").first.wait_for()
        page.locator(READY).wait_for(state="attached")
        shown = {name: page.inner_text(f"#{name}") for name in ("latency", "gaps")}
        heard, said = (page.locator(f".{who} .said").first.inner_text() for who in ("user", "assistant"))
        seconds = None if shown["latency"] == "–" else float(shown["latency"].removesuffix(" s"))
        gaps = 1 if shown["gaps"] == "once" else int(shown["gaps"].split()[0])
        return PageExchange(heard, said, take_played(page), seconds, gaps)


def interrupt(url: str, speech: Samples, folder: Path) -> float | None:
    """Press the space bar during the answer's playback; milliseconds until the last sound.

    Tried again where the answer was silent just then, between words or in a gap; None: silent three times.
    """
    for _ in range(3):
        with visit(url, [speech], folder, pause=1.0) as page:
            begin(page, WAYS[0], LEAD + len(speech) / SAMPLE_RATE)
            page.locator("body[data-phase=speaking]").wait_for()
            page.wait_for_timeout(200)
            page.keyboard.down("Space")
            page.wait_for_timeout(1000)
            silent = sound_after_key(page)
            if silent > 0:
                return silent
    return None


def take_screenshots(url: str, questions: Sequence[Samples], folder: Path, screens: Path) -> None:
    """A spoken dialogue of several questions, at every width in both colours."""
    for scheme in ("light", "dark"):
        with visit(url, questions, folder, pause=8.0, color_scheme=scheme) as page:
            begin(page, "hands-free", 0.0)
            for number in range(len(questions)):
                page.locator(".user:is([data-state=done])").nth(number).wait_for()
                page.locator("body[data-phase=speaking]").wait_for()
            page.wait_for_timeout(500)
            for width, height in WIDTHS.items():
                page.set_viewport_size({"width": width, "height": height})
                page.wait_for_timeout(100)
                page.screenshot(path=screens / f"{width}-{scheme}.png")
