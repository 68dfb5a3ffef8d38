"""Talk to the served page in a real browser with a held-out question for its microphone, and let the judge listen.

    speechweave evaluation page --bundle runs/quickstart/bundle --out runs/quickstart/page

Each question is asked twice in a headless Chromium, by the space bar held and hands-free; what the page plays is
recorded at its loudspeaker and transcribed by the outside judge. Then an answer is interrupted, and the page is
photographed at three widths in both colours.

Writes <out>/page.jsonl (one line a question and way), page.json (the summary), audio/*.wav and screens/*.png; the
run's report shows them when it is made again (``speechweave report run=runs/quickstart out=runs/quickstart/report``).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.artefact import write_json, write_text
from runtime.command import run_command
from runtime.errors import UserError

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from corpus.audio.files import Samples
    from corpus.manifest import Utterance
    from corpus.world.questions import QuestionAnswer

ROOT = Path("runs/quickstart")
WAYS = ("push to talk", "hands-free")
WIDTHS = {360: 740, 768: 1024, 1280: 800}  # CSS pixels: phone, tablet, laptop; with their heights
RATE = 24_000  # of the page's player
PATIENCE = 60_000  # milliseconds until an answer is given up
LEAD = 0.5  # seconds of silence before the question: the turn detector learns how loud the room is
WAITED = "body:is([data-phase=idle], [data-phase=waiting])"


@dataclass(frozen=True)
class PageQuestion:
    """One question over the page.

    Attributes:
        heard: the page's transcript of the question.
        said: its transcript of the answer.
        sound: what it played (S,), at its player's rate.
        seconds: what it shows as response time, from the end of the question to the first sound; None: no sound.
        gaps: how often the sound ran dry.
    """

    heard: str
    said: str
    sound: Samples
    seconds: float | None
    gaps: int


def argument_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="speechweave evaluation page", description="Talk to the served page in a browser; the judge listens."
    )
    parser.add_argument("--bundle", type=Path, default=ROOT / "bundle", help=f"the chatbot ({ROOT}/bundle)")
    parser.add_argument("--corpus", type=Path, default=ROOT / "corpus", help=f"spoken questions ({ROOT}/corpus)")
    parser.add_argument("--out", type=Path, default=ROOT / "page", help=f"folder for the results ({ROOT}/page)")
    parser.add_argument("--questions", type=int, default=6, help="how many held-out ones (6)")
    parser.add_argument("--seed", type=int, default=1, help="chooses the questions and who asks them (1)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status (0 good, 2 user error)."""
    return run_command(argument_parser(), evaluate, arguments)


def evaluate(options: argparse.Namespace) -> None:
    """Serve, ask, judge, photograph, and write everything."""
    import soundfile

    from corpus.audio.files import read_audio
    from corpus.world.questions import read_questions

    from .judges.closed_world import load_judge
    from .served_chat.server import serve_bundle

    if options.questions < 1:
        raise UserError("option --questions", found=f"found {options.questions}", remedy="give at least 1")
    keys = read_questions(options.corpus)
    judge = load_judge(str(options.corpus))
    chosen = chosen_questions(options)
    audio, screens = options.out / "audio", options.out / "screens"
    for folder in (audio, screens):
        folder.mkdir(parents=True, exist_ok=True)
    rows = []
    with serve_bundle(options.bundle, options.out / "server.log") as server:
        for question in chosen:
            for way in WAYS:
                asked = ask(server.url, read_audio(question.audio), way, audio)
                file = audio / f"{question.id}-{way.replace(' ', '-')}.wav"
                soundfile.write(file, asked.sound, RATE)
                judged = judge.transcribe_file(file)
                rows.append(row_of(question, keys, way, asked, judged, file, options.out))
                print(line_of(rows[-1]), flush=True)
        silent = interrupt(server.url, read_audio(chosen[0].audio), audio)
        print(
            "interrupted: " + ("never while it sounded" if silent is None else f"silent {silent:.0f} ms after the key")
        )
        photograph(server.url, [read_audio(question.audio) for question in chosen[:3]], audio, screens)
    write_text(options.out / "page.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    summary = summarise(rows) | {"interrupted_ms": None if silent is None else round(silent)}
    write_json(options.out / "page.json", summary)
    for name, value in summary.items():
        print(f"  {name:<40} {value}")
    print(f"written: {options.out}")


def chosen_questions(options: argparse.Namespace) -> list[Utterance]:
    """Held-out questions of the corpus."""
    from corpus.manifest import read_manifest
    from corpus.world.questions import choose_questions

    manifest = read_manifest(options.corpus / "heldout_sentence.jsonl")
    return choose_questions(manifest, kind="question", limit=options.questions, draw=f"page {options.seed}")


# ---------------------------------------------------------------- in the browser


@contextmanager
def visit(url: str, sound: Sequence[Samples], folder: Path, pause: float, **context: Any) -> Iterator[Page]:
    """A page whose microphone hears ``sound``, one after the other with ``pause`` seconds of silence behind each."""
    import numpy as np

    from corpus.audio.files import SAMPLE_RATE, write_audio

    from .served_chat.browser import browser, open_page

    file = folder / "microphone.wav"
    silence = np.zeros(int(pause * SAMPLE_RATE), np.float32)
    lead = np.zeros(int(LEAD * SAMPLE_RATE), np.float32)
    write_audio(file, np.concatenate([lead, *(part for speech in sound for part in (speech, silence))]))
    try:
        with browser(microphone=file) as chromium:
            page = open_page(chromium, url, is_tapped=True, **context)
            page.set_default_timeout(PATIENCE)
            page.locator("#connection[data-state=ready]").wait_for()
            yield page
    finally:
        file.unlink()


def begin(page: Page, way: str, seconds: float) -> None:
    """Ask what the microphone is about to hear, which takes ``seconds``."""
    if way == "hands-free":
        page.get_by_label("Hands-free").check(force=True)
        page.get_by_role("button", name="Open microphone").click()
        return
    page.keyboard.down("Space")
    page.locator("body[data-phase=listening]").wait_for()
    page.wait_for_timeout(1000 * seconds)
    page.keyboard.up("Space")


def ask(url: str, speech: Samples, way: str, folder: Path) -> PageQuestion:
    """One question and its answer, on a page of its own."""
    from corpus.audio.files import SAMPLE_RATE

    from .served_chat.browser import played

    with visit(url, [speech], folder, pause=1.0) as page:
        begin(page, way, LEAD + len(speech) / SAMPLE_RATE)
        page.locator(".assistant:is([data-state=done], [data-state=failed])").first.wait_for()
        page.locator(WAITED).wait_for(state="attached")
        shown = {name: page.inner_text(f"#{name}") for name in ("latency", "gaps")}
        heard, said = (page.locator(f".{who} .said").first.inner_text() for who in ("user", "assistant"))
        seconds = None if shown["latency"] == "–" else float(shown["latency"].removesuffix(" s"))
        gaps = 1 if shown["gaps"] == "once" else int(shown["gaps"].split()[0])
        return PageQuestion(heard, said, played(page), seconds, gaps)


def interrupt(url: str, speech: Samples, folder: Path) -> float | None:
    """Press the space bar while the answer sounds; milliseconds until the last sound.

    Where the answer was just between two words, or had run dry, it is tried again; None: three times in vain.
    """
    from corpus.audio.files import SAMPLE_RATE

    from .served_chat.browser import sound_after_key

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


def photograph(url: str, questions: Sequence[Samples], folder: Path, screens: Path) -> None:
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


# ---------------------------------------------------------------- what came of it


def row_of(
    question: Utterance,
    keys: dict[str, QuestionAnswer],
    way: str,
    asked: PageQuestion,
    judged: str,
    file: Path,
    out: Path,
) -> dict[str, Any]:
    """One line of page.jsonl."""
    from corpus.text.normalisation import normalise
    from corpus.text.word_errors import word_errors

    from .question_answering.scoring import is_right

    key = keys[normalise(question.text)]
    agreement = word_errors(asked.said, judged)
    return {
        "id": question.id,
        "speaker": question.speaker,
        "way": way,
        "question": question.text,
        "answer": key.answer,
        "heard": asked.heard,
        "said": asked.said,
        "judge": judged,
        "is_text_right": is_right(asked.said, key.answer),
        "is_speech_right": is_right(judged, key.answer),
        "spoken_edits": agreement.errors,
        "spoken_words": agreement.words,
        "seconds": asked.seconds,
        "gaps": asked.gaps,
        "reply_audio": str(file.relative_to(out)),
    }


def line_of(row: dict[str, Any]) -> str:
    """A row for people."""
    shown = "no sound" if row["seconds"] is None else f"{row['seconds']:.2f} s, ran dry {row['gaps']} times"
    return (
        f"{row['way']}: {row['question']}\n  heard  {row['heard']}\n  said   {row['said']}\n"
        f"  judge  {row['judge']}\n  first sound {shown}"
    )


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rates and response times by way of asking."""
    import statistics

    from .question_answering.scoring import share

    found: dict[str, Any] = {"questions": len(rows) // len(WAYS)}
    for way in WAYS:
        mine = [row for row in rows if row["way"] == way]
        seconds = [row["seconds"] for row in mine if row["seconds"] is not None]
        name = way.replace(" ", "_").replace("-", "_")
        found[f"{name}.text_right"] = round(share(row["is_text_right"] for row in mine), 4)
        found[f"{name}.speech_right"] = round(share(row["is_speech_right"] for row in mine), 4)
        found[f"{name}.seconds_median"] = round(statistics.median(seconds), 3) if seconds else None
        found[f"{name}.seconds_most"] = max(seconds, default=None)
        found[f"{name}.gaps"] = sum(row["gaps"] for row in mine)
    words = sum(row["spoken_words"] for row in rows)
    found["spoken_agreement_wer"] = round(sum(row["spoken_edits"] for row in rows) / max(words, 1), 4)
    return found


if __name__ == "__main__":
    sys.exit(main())
