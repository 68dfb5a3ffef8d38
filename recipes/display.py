"""Progress display of a running recipe: one live bar a step, or plain lines without a terminal."""

from __future__ import annotations

import json
import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .plan import RecipePlan, Step

HEARTBEAT_SECONDS = 30.0


class Display:
    """Reads each running step's ``progress.json`` and shows it."""

    def __init__(self, plan: RecipePlan) -> None:
        self.plan = plan
        self.console = Console(highlight=False, soft_wrap=True)
        columns = (TextColumn("{task.fields[step]:<18}"), TextColumn("{task.description:<24}"), BarColumn(bar_width=28))
        times = (TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn(), TimeRemainingColumn())
        self.bars = Progress(
            *columns, *times, TextColumn("{task.fields[values]}"), console=self.console, transient=True
        )
        self.tasks: dict[str, TaskID] = {}
        self.began: dict[str, float] = {}
        self.beat = time.monotonic()

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def skipped(self, step: Step) -> None:
        """Print that a step was done before."""
        self.console.print(f"[dim]{self._place(step)} {step.name:<24} up to date[/dim]")

    def started(self, step: Step) -> None:
        """Add a bar for a step."""
        self.began[step.name] = time.monotonic()
        self.tasks[step.name] = self.bars.add_task("starting", total=None, step=step.name, values="")
        if not self.console.is_terminal:
            self.console.print(f"{self._place(step)} {step.name:<24} started: {step.stage.summary}")

    def ended(self, step: Step) -> None:
        """Turn a step's bar into a line."""
        self.bars.remove_task(self.tasks.pop(step.name))
        seconds = time.monotonic() - self.began[step.name]
        self.console.print(f"{self._place(step)} [green]{step.name:<24}[/green] done in {seconds:6.1f} s")

    def failed(self, step: Step, reason: str) -> None:
        """Print that a step failed, or cannot run, and why."""
        if step.name in self.tasks:
            self.bars.remove_task(self.tasks.pop(step.name))
        self.console.print(f"{self._place(step)} [red]{step.name:<24}[/red] {escape(reason)}")

    def refresh(self, running: list[str]) -> None:
        """Move the bars; without a terminal, print a line every half minute."""
        is_beat = time.monotonic() - self.beat > HEARTBEAT_SECONDS
        for name in running:
            state = self._state(self.plan.steps[name])
            if state is None:
                continue
            values = " ".join(f"{key} {value:.4g}" for key, value in state["values"].items())
            self.bars.update(
                self.tasks[name],
                completed=state["done"],
                total=state["total"],
                description=state["description"],
                values=values,
            )
            if is_beat and not self.console.is_terminal:
                self.console.print(f"       {name:<24} {state['done']}/{state['total']} {values}")
        if is_beat:
            self.beat = time.monotonic()

    def _place(self, step: Step) -> str:
        names = list(self.plan.steps)
        return f"\\[{names.index(step.name) + 1:>2}/{len(names)}]"

    @staticmethod
    def _state(step: Step) -> dict[str, Any] | None:
        try:
            state: dict[str, Any] = json.loads((step.folder / "progress.json").read_text())
        except (OSError, ValueError):
            return None
        return state
