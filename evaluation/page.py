"""Command ``evaluate page``: the served page in a real browser, its microphone fed with held-out questions.

    speechweave evaluate page bundle=runs/quickstart/bundle out=runs/quickstart/page

Each question is asked twice in a headless Chromium, by the space bar held and hands-free; the page's output is recorded
at its loudspeaker and transcribed by the independent judge. Then an answer is interrupted, and screenshots are taken at
three widths in both colours.

Writes <out>/page.jsonl (one line a question and way), page.json (the summary), audio/*.wav and screens/*.png; the
run's report shows them when it is made again (``speechweave report run=runs/quickstart out=runs/quickstart/report``).
"""

from __future__ import annotations

from runtime.command import Command

from .served_chat.config import PageEvaluationConfig


def run(config: PageEvaluationConfig) -> None:
    """Serve the bundle, ask on its page, judge the answers, write everything."""
    from .served_chat.page_evaluation import evaluate_page

    evaluate_page(config)


COMMAND = Command(
    name="evaluation.page",
    words="evaluate page",
    config=PageEvaluationConfig,
    run=run,
    summary="Talk to the served page in a browser; the independent judge transcribes the answers.",
    example="speechweave evaluate page bundle=runs/quickstart/bundle out=runs/quickstart/page",
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.exit()
