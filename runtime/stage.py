"""Stages, the steps of a chain: command line, run folder, skipping, resuming and errors.

A stage is one module with a config dataclass and a reference to the function that does the work::

    STAGE = Stage(
        name="tokenizer.train", config=TrainConfig, implementation="tokenizer.training.trainer:train", ...
    )

    if __name__ == "__main__":
        STAGE.exit()

It runs as ``python -m tokenizer.train out=runs/tokenizer fit.steps=100`` and as ``speechweave tokenizer train ...``.
The run folder ``out`` receives ``config.yaml`` (resolved), ``run.json`` (versions, seed, git commit, command),
``metrics.json`` and, last, ``done.json``. A stage whose ``done.json`` holds the fingerprint of the present config and
inputs is skipped; one that was interrupted is called again and finds its own checkpoints in ``out``.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib.metadata
import os
import pkgutil
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from .artefact import file_digest, fingerprint, identity, read_json, write_json, write_text
from .config import Options, compose_config, option_help, option_rows
from .errors import UserError, exit_status
from .progress import Progress
from .record_warnings import collected_warnings

MAX_DIGESTED_BYTES = 4 << 30
VERSIONED_PACKAGES = ("torch", "megatron-core", "nemo-toolkit", "vector-quantize-pytorch", "transformers", "lhotse")


@dataclass(kw_only=True)
class StageConfig(Options):
    """The options that every stage has.

    Attributes:
        out: run folder.
        seed: of all random draws.
        restart: begin anew where ``out`` holds a training of other options or inputs; the old one is moved aside.
    """

    out: str
    seed: int = 1
    restart: bool = False


Config = TypeVar("Config", bound=StageConfig)
PLACE_OPTIONS = ("out", "restart")  # they say where and whether, not what


@dataclass(frozen=True, kw_only=True)
class Resumable:
    """Options that may change between a training's checkpoint and its continuation, as dotted names or prefixes.

    Any other changed option or input is refused, unless ``restart=true``: a training never starts anew by itself.

    Attributes:
        neutral: they change the speed, the layout or the records of a training, and never its result.
        adjustable: the continuation takes them up, and says so (steps, learning rates).
        folder: of the checkpoints, in the run folder.
    """

    neutral: tuple[str, ...] = ()
    adjustable: tuple[str, ...] = ()
    folder: str = "checkpoint"

    def has_checkpoint(self, out: Path) -> bool:
        """Whether a training in ``out`` has saved anything."""
        names = [entry.name for entry in (out / self.folder).iterdir()] if (out / self.folder).is_dir() else []
        return any(int(number) > 0 for name in names for number in re.findall(r"^step[-_](\d+)", name))

    def is_neutral(self, option: str) -> bool:
        """Whether a dotted option never changes the result."""
        return is_listed(option, self.neutral)

    def is_adjustable(self, option: str) -> bool:
        """Whether a dotted option may change on the way."""
        return self.is_neutral(option) or is_listed(option, self.adjustable)


class Headline(NamedTuple):
    """A metric of a stage that a run's report shows at its top: its name, and its meaning in a few words."""

    metric: str
    label: str
    is_rate: bool = True  # shown as per cent


class Run:
    """The open run folder of one stage: its path, progress and messages.

    Args:
        folder: of the run.
        shown_in: where ``progress.json`` is written; by default ``folder``.
    """

    def __init__(self, folder: Path, shown_in: Path | None = None) -> None:
        self.folder, self.shown_in = folder, shown_in or folder
        self.is_main = os.environ.get("RANK", "0") == "0"

    def progress(self, total: int, description: str, *, start: int = 0, unit: str = "it") -> Progress:
        """A progress bar over ``total`` units of work, of which ``start`` were done before."""
        return Progress(self.shown_in, total, description, start=start, unit=unit, is_shown=self.is_main)

    def part(self, name: str) -> Run:
        """A part of the work with a folder of its own in this one; its progress is this run's."""
        (self.folder / name).mkdir(exist_ok=True)
        return Run(self.folder / name, self.shown_in)

    def say(self, message: str) -> None:
        """Print one line (main rank only)."""
        if self.is_main:
            print(message, flush=True)


@dataclass(frozen=True, kw_only=True)
class Stage(Generic[Config]):
    """One step of the chain: its config class, its implementation and its inputs.

    Attributes:
        name: module path, e.g. ``"tokenizer.train"``.
        config: dataclass derived from `StageConfig`; its docstring's ``Attributes`` are the option help.
        implementation: ``"module:function"`` of what does the work, imported when it begins: ``(config, Run)`` to flat
            metrics (names without the stage's own name).
        summary: one line for ``--help``.
        inputs: the files or stage folders read; a changed input reruns the stage.
        example: overrides shown in ``--help``.
        speed_options: options that change the speed and never the output (worker processes, batch size): they do not
            count when it is decided whether a stage is skipped or resumed.
        tolerances: options that only decide whether errors are tolerated: where nothing else has changed, a stage goes
            on with what it has written.
        headlines: of an evaluation: the metrics that the run's report shows.
        resumable: of a training: the options that may change while it goes on from a checkpoint.
        positional: the option that a word without a name is the value of.
        notes: more of ``--help``, after the options.
    """

    name: str
    config: type[Config]
    implementation: str
    summary: str
    inputs: Callable[[Config], Sequence[str | None]]
    example: str
    speed_options: tuple[str, ...] = ()
    tolerances: tuple[str, ...] = ()
    headlines: tuple[Headline, ...] = ()
    resumable: Resumable | None = None
    positional: str = ""
    notes: Callable[[], Sequence[str]] = tuple

    DONE: ClassVar[str] = "done.json"
    WARNINGS: ClassVar[str] = "warnings.txt"

    def exit(self) -> None:
        """Run with the process's arguments and leave with the exit status (0 good, 2 user error, 1 defect)."""
        sys.exit(self.main(sys.argv[1:]))

    def run(self, config: Config, run: Run) -> dict[str, Any]:
        """Import the implementation and do the work in an open run folder; returns the metrics."""
        implementation: Callable[[Config, Run], dict[str, Any]] = pkgutil.resolve_name(self.implementation)
        return implementation(config, run)

    def main(self, arguments: Sequence[str], words: str = "") -> int:
        """Parse, run and report as ``speechweave WORDS`` (none: the stage's name); returns the exit status."""
        return exit_status(words or self.name.replace(".", " "), lambda: self._act(arguments))

    def _act(self, arguments: Sequence[str]) -> None:
        if "--help" in arguments or "-h" in arguments:
            print(self.help())
        else:
            self.execute(self.compose(arguments))

    def compose(self, arguments: Sequence[str]) -> Config:
        """Build the checked config from ``[--config FILE] [key=value ...] [--key value ...]`` and a positional word."""
        return compose_config(self.config, arguments, positional=self.positional)

    def execute(self, config: Config) -> dict[str, Any]:
        """Run the stage unless its output is complete; returns its metrics."""
        folder = Path(config.out)
        record = self._record(config)
        finished = self._finished(folder, record)
        run = Run(folder)
        if finished is not None:
            run.say(f"{self.name}: up to date in {folder}")
            return finished
        if not run.is_main:
            with collected_warnings(is_shown=True):
                return self.run(config, run)
        with exclusive(folder):
            spent = self._prepare(folder, record, config.restart)
            started = time.monotonic()
            with collected_warnings(is_shown=True) as warned:
                metrics = self.run(config, run)
            metrics |= self._keep_warnings(run, warned)
            seconds = spent + time.monotonic() - started
            write_json(folder / "metrics.json", metrics)
            write_json(folder / self.DONE, {"fingerprint": record["fingerprint"], "seconds": round(seconds, 2)})
        run.say(f"{self.name}: done in {seconds:.1f} s -> {folder}")
        return metrics

    def _keep_warnings(self, run: Run, warned: Iterable[str]) -> dict[str, int]:
        """Write the warnings of records, those of an earlier call too; returns their number as a metric, if any."""
        file = run.folder / self.WARNINGS
        before = filter(None, file.read_text(encoding="utf-8").split("\n")) if file.exists() else ()
        messages = dict.fromkeys([*before, *(message.replace("\n", " ") for message in warned)])
        if not messages:
            return {}
        write_text(file, "".join(f"{message}\n" for message in messages))
        run.say(f"{self.name}: {len(messages)} records look wrong, see {file}; the first: {next(iter(messages))}")
        return {"record_warnings": len(messages)}

    def is_finished(self, config: Config) -> bool:
        """Whether the run folder holds the complete output of just this config and these inputs."""
        return self._finished(Path(config.out), self._record(config)) is not None

    def help(self) -> str:
        """The text of ``--help``: summary, example, options with their defaults."""
        lines = [self.summary, "", f"  python -m {self.name} {self.example}", ""]
        return "\n".join([*lines, *option_help(self.config), *self.notes()])

    def _record(self, config: Config) -> dict[str, Any]:
        """The identity of a run: stage, config without `out` and speed options, fingerprints of its inputs."""
        from omegaconf import OmegaConf

        resolved = OmegaConf.to_container(OmegaConf.structured(config), resolve=True, enum_to_str=True)
        assert isinstance(resolved, dict)
        read = {str(path): input_fingerprint(Path(path)) for path in self.inputs(config) if path}
        counted = identity(config, resolved).items()
        options = {key: value for key, value in counted if key not in (*PLACE_OPTIONS, *self.speed_options)}
        mark = fingerprint(
            {"stage": self.name, "config": without_places(options, read), "inputs": sorted(read.values())}
        )
        return {"stage": self.name, "fingerprint": mark, "config": resolved, "inputs": read}

    def _finished(self, folder: Path, record: dict[str, Any]) -> dict[str, Any] | None:
        """The metrics of a finished run of the same identity (or of a training that differs in neutral options)."""
        done = folder / self.DONE
        if not done.exists():
            return None
        if read_json(done).get("fingerprint") != record["fingerprint"]:
            changed = self._changes(folder, record)
            if self.resumable is None or not all(self.resumable.is_neutral(option) for option in changed):
                return None
        return read_json(folder / "metrics.json")

    def _changes(self, folder: Path, record: dict[str, Any]) -> dict[str, str]:
        """Options and inputs that differ from those of the run in ``folder``: dotted name -> ``old -> new``."""
        before = read_json(folder / "run.json")
        old_inputs, new_inputs = before["inputs"], record["inputs"]
        old = flat_options(without_places(before["config"], old_inputs))
        new = flat_options(without_places(record["config"], new_inputs))
        # An option that the older version did not have counts as its default was then: as it is now.
        defaults = {row.name: row.default for row in option_rows(self.config)}
        changed = {}
        for name in sorted({*old, *new}):
            was, now = old.get(name, defaults.get(name, "")), new.get(name, "")
            if was != now and not is_listed(name, (*PLACE_OPTIONS, *self.speed_options)):
                changed[name] = f"{was} -> {now}"
        if sorted(old_inputs.values()) != sorted(new_inputs.values()):
            paths = [path for path, mark in new_inputs.items() if mark not in old_inputs.values()]
            changed["inputs"] = f"other content in {', '.join(paths) or 'fewer inputs'}"
        return changed

    def _prepare(self, folder: Path, record: dict[str, Any], should_restart: bool) -> float:
        """Write config and provenance; set another config's output aside. Returns the seconds spent before.

        Raises:
            UserError: a training with a checkpoint would have to begin anew.
        """
        before = folder / "run.json"
        if before.exists() and read_json(before).get("fingerprint") != record["fingerprint"]:
            self._take_up_changes(folder, record, should_restart)
        spent = 0.0
        if before.exists() and (folder / "progress.json").exists():
            spent = float(read_json(folder / "progress.json").get("seconds", 0.0))
        from omegaconf import OmegaConf

        write_text(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(record["config"])))
        write_json(before, record | provenance())
        return spent

    def _take_up_changes(self, folder: Path, record: dict[str, Any], should_restart: bool) -> None:
        """Go on with other options where the stage can, else begin anew (a training only with ``restart``)."""
        if self.tolerances and not should_restart:
            changed = self._changes(folder, record)
            if changed and all(is_listed(name, self.tolerances) for name in changed):
                return
        if self.resumable is None or should_restart or not self.resumable.has_checkpoint(folder):
            inside = [path for path in record["inputs"] if Path(path).resolve().is_relative_to(folder.resolve())]
            if inside:  # they would be moved away with the rest
                found = f"the output of another run, which this one reads ({', '.join(inside)})"
                raise UserError(str(folder), found=found, remedy="choose another out=")
            set_aside(folder)
            return
        changed = self._changes(folder, record)
        lines = [f"{name}: {change}" for name, change in changed.items()]
        refused = [name for name in changed if not self.resumable.is_adjustable(name)]
        if refused:
            remedy = f"set {', '.join(refused)} back, choose another out=, or begin anew with restart=true"
            raise UserError(
                str(folder), found=f"a training of other options or inputs ({'; '.join(lines)})", remedy=remedy
            )
        (folder / self.DONE).unlink(missing_ok=True)  # until it has ended under the new options
        print(f"{self.name}: goes on from the checkpoint in {folder} with {'; '.join(lines)}", flush=True)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder (made if missing), so that two calls never write into one folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, FileNotFoundError) as error:  # below a file, or where none can be made
        found = f"no folder, and none can be made there ({error.strerror})"
        raise UserError(str(folder), found=found, remedy="choose another out=") from error
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            remedy = "wait for it, or choose another out="
            raise UserError(str(folder), found="another process is writing here", remedy=remedy) from error
        yield


def without_places(value: Any, read: Mapping[str, str]) -> Any:
    """Plain data in which the paths of inputs are replaced by their fingerprints: a moved run is still the same run.

    Args:
        value: an option's value, or a list or dictionary of them.
        read: path -> fingerprint of each input.
    """
    if isinstance(value, dict):
        return {key: without_places(entry, read) for key, entry in value.items()}
    if isinstance(value, list):
        return [without_places(entry, read) for entry in value]
    if isinstance(value, str):
        for path, mark in read.items():
            # The first input that the string begins with counts, also where the string goes on ("runs/tokens" in
            # "runs/tokens/train.parquet" and "runs/tokens_2"): the fingerprints of finished runs depend on it.
            if value.startswith(path):
                return mark + value.removeprefix(path)
    return value


def is_listed(option: str, names: Sequence[str]) -> bool:
    """Whether a dotted option is one of ``names`` or lies below one, e.g. ``parallel.tensor`` below ``parallel``."""
    return any(option == name or option.startswith(f"{name}.") for name in names)


def flat_options(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested options as dotted names and values in words; a dictionary of the user's own keys too."""
    if isinstance(value, dict) and (value or not prefix):
        flat: dict[str, str] = {}
        for key, inner in value.items():
            flat |= flat_options(inner, f"{prefix}.{key}" if prefix else str(key))
        return flat
    return {prefix: str(value)}


def set_aside(folder: Path) -> None:
    """Move the output of an earlier config from ``folder`` to ``folder.previous-N``."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.previous-{number}")).exists():
        number += 1
    aside.mkdir()
    for entry in folder.iterdir():
        if entry.name != ".lock":
            entry.rename(aside / entry.name)
    print(f"{folder}: config or inputs changed; the earlier output is now in {aside}", flush=True)


def input_fingerprint(path: Path) -> str:
    """The fingerprint of the stage that wrote ``path`` (or a folder above it), else of the bytes there.

    Of more than `MAX_DIGESTED_BYTES` (a web corpus takes hours to read) only names and sizes are digested.
    """
    for folder in (path, *path.parents):
        if (folder / Stage.DONE).exists():
            return str(read_json(folder / Stage.DONE)["fingerprint"])
    files = [path] if path.is_file() else sorted(entry for entry in path.rglob("*") if entry.is_file())
    sizes = {file.relative_to(path).as_posix(): file.stat().st_size for file in files}
    if sum(sizes.values()) > MAX_DIGESTED_BYTES:
        return fingerprint(sizes)
    return file_digest(path)


def provenance() -> dict[str, Any]:
    """Versions, git commit and command line of this process."""
    command = [Path(sys.argv[0]).name, *sys.argv[1:]]
    return {"versions": dict(package_versions()), "git_commit": git_commit(), "command": command}


@functools.cache
def package_versions() -> Mapping[str, str]:
    """Versions of Python and of the packages that results depend on, read once a process."""
    versions = {"python": platform.python_version()}
    for package in VERSIONED_PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


@functools.cache
def git_commit() -> str | None:
    """The commit of the clone that this code runs from, with ``+`` for local changes; None outside git."""
    root = Path(__file__).resolve().parent.parent
    try:
        git = ["git", "-C", str(root)]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.strip() + ("+" if changed.strip() else "")
