"""Run of a recipe: every step in a process of its own, side by side while cores last, skipped when already done.

    speechweave quickstart                                   the whole chain at laptop size
    speechweave quickstart quickstart.manifest=my.jsonl      with your own recordings added
    speechweave quickstart --recipe smallest                 two minutes; the recipe of the tests
    speechweave quickstart 'quickstart.also=[without_interleaving]'

Killed at any moment and called again, it goes on from the last checkpoint and ends with the same numbers. Steps are
forks of one process that has imported torch, where that is safe; SPEECHWEAVE_PRELOAD=0 starts fresh interpreters.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from runtime.artefact import read_json, write_json
from runtime.errors import UserError
from runtime.fork_server import ForkServer
from runtime.stage import exclusive

from .display import Display
from .launch import Ranks, fork_server
from .plan import RecipePlan, Step, load_recipe, make_plan
from .recipe_command import RecipeCommand
from .reporting.run_results import HEADLINE_ORDER


class Runner:
    """Drives the steps of a `RecipePlan` and shows where each one is.

    Args:
        plan: what to run.
        keeps_going: a failed step stops only the steps that need it; otherwise it stops all.

    Attributes:
        failed: why a step did not end well, by its name (only with ``keeps_going``).
    """

    def __init__(self, plan: RecipePlan, *, keeps_going: bool = False) -> None:
        self.plan, self.keeps_going = plan, keeps_going
        self.server: ForkServer | None = None
        self.running: dict[str, Ranks] = {}
        self.finished: set[str] = set()
        self.failed: dict[str, str] = {}
        self.due: set[str] = set()  # looked at once and found to need a run
        self.wall = plan.out / "wall.json"
        self.spent = float(read_json(self.wall)["seconds"]) if self.wall.exists() else 0.0
        self.began = time.monotonic()

    def run(self) -> None:
        """Run all steps.

        Raises:
            UserError: a step failed; names its log (not with ``keeps_going``).
        """
        with Display(self.plan) as display, fork_server() as self.server:
            try:
                while len(self.finished) + len(self.failed) < len(self.plan.steps):
                    for step in self.ready_steps():
                        if step.name not in self.due and step.stage.is_finished(step.options):
                            self.finished.add(step.name)
                            display.skipped(step)
                            continue
                        self.due.add(step.name)
                        if self.has_cores_for(step):
                            self.start(step)
                            display.started(step)
                    for name, ranks in list(self.running.items()):
                        self.settle(self.plan.steps[name], ranks, display)
                    display.refresh(list(self.running))
                    if self.running:
                        time.sleep(0.2)
            finally:
                for ranks in self.running.values():
                    ranks.stop()

    def ready_steps(self) -> list[Step]:
        """The steps that wait for nothing but cores, in the plan's order."""
        seen = self.finished | set(self.running) | set(self.failed)
        waiting = [step for name, step in self.plan.steps.items() if name not in seen]
        return [step for step in waiting if set(step.config.needs) <= self.finished]

    def has_cores_for(self, step: Step) -> bool:
        """Whether ``step`` fits next to the running ones; a step that needs more cores than there are runs alone."""
        used = sum(self.plan.steps[name].config.cores for name in self.running)
        return not self.running or used + step.config.cores <= self.plan.cores

    def start(self, step: Step) -> None:
        """Start the processes of one step."""
        threads = max(1, min(step.config.cores, self.plan.cores) // step.config.processes)
        log = self.plan.out / "logs" / f"{step.name}.log"
        arguments = ["--config", str(step.config_file)]
        processes = step.config.processes
        self.running[step.name] = Ranks(
            step.config.run, arguments, processes=processes, threads=threads, log=log, server=self.server
        )

    def settle(self, step: Step, ranks: Ranks, display: Display) -> None:
        """Take note of a step whose processes have ended."""
        status = ranks.poll()
        if status is None:
            return
        write_json(self.wall, {"seconds": round(self.spent + time.monotonic() - self.began, 1)})
        del self.running[step.name]
        if status == 0 and not step.stage.is_finished(step.options):
            # A training step that gets SIGTERM saves and leaves with status 0, for the sake of clusters.
            found, remedy = "was terminated before its end", "call again: it goes on from where it saved"
            if self.keeps_going:
                self.give_up(step, f"{found}; {remedy}", display)
                return
            raise UserError(f"step {step.name}", found=found, remedy=remedy)
        if status == 0:
            self.finished.add(step.name)
            display.ended(step)
            return
        lines = ranks.log.read_text(errors="replace").splitlines()
        if self.keeps_going:
            last = next((line for line in reversed(lines) if line.strip()), "nothing said")
            self.give_up(step, f"ended with status {status}: {last} (whole output: {ranks.log})", display)
            return
        tail = "\n".join(lines[-15:])
        remedy = f"its whole output is in {ranks.log}; remove the cause and call again: finished steps are kept"
        raise UserError(f"step {step.name}", found=f"ended with status {status}:\n{tail}\n", remedy=remedy)

    def give_up(self, step: Step, reason: str, display: Display) -> None:
        """Note a failed step, and with it all that need it."""
        self.failed[step.name] = reason
        display.failed(step, reason)
        for other in self.plan.steps.values():
            if step.name in other.config.needs and other.name not in self.failed:
                self.give_up(other, f"not run: it needs {step.name}", display)


def run_recipe(arguments: Sequence[str]) -> RecipePlan:
    """Compose, check and run a recipe; the report is its last step."""
    plan = make_plan(load_recipe(arguments))
    for note in plan.notes:
        print(note)
    with exclusive(plan.out):
        Runner(plan).run()
    return plan


def print_end(plan: RecipePlan) -> None:
    """Print the headline metrics, one spoken answer and the place of the report."""
    metrics = read_json(plan.out / "metrics.json")
    for key in HEADLINE_ORDER:
        if key in metrics:
            print(f"  {key:<38} {metrics[key]:.3f}")
    if "chat.example.said" in metrics:
        for key in ("heard", "said", "audio"):
            print(f"  {key + ':':<8}{metrics[f'chat.example.{key}']}")
    print(f"report: {plan.out / 'report.html'}")


def act(words: list[str]) -> int:
    """Run the recipe that the words name, and show its main results."""
    print_end(run_recipe(words))
    return 0


COMMAND = RecipeCommand(words="quickstart", help=__doc__, run=act)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.exit()
