"""Laws of the fork server: a forked command is what a fresh interpreter would be, and only its imports are shared."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.fork_server import ForkedCommand, ForkServer
from tests.support.permits import is_running, wait_for

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 300.0
# Says in JSON what it is, then does what its first argument says. ``slow_library`` counts its imports in a file.
TOY = """
import json, os, random, signal, sys, time
import numpy.random
import slow_library

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests are a shell's background job
is_main = sys.modules["__main__"].__dict__ is globals()
print(json.dumps({
    "argv": sys.argv, "name": __name__, "spec": __spec__.name, "is_main": is_main, "path": sys.path[0],
    "folder": os.getcwd(), "environment": dict(os.environ), "stdin": sys.stdin.read(), "imported_by": slow_library.PID,
    "pid": os.getpid(), "parent": os.getppid(), "draws": [random.random(), float(numpy.random.random())],
    "torch": float(sys.modules["torch"].rand(1)) if "torch" in sys.modules else None,
    "blocked": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
    "descriptors": len(os.listdir("/proc/self/fd")),
}), flush=True)
print("a word to stderr", file=sys.stderr)
does = sys.argv[1]
if does == "fail":
    sys.exit(3)
if does == "raise":
    raise ValueError("of the command's own")
if does == "sleep":
    time.sleep(3600)
if does == "await interrupt":
    try:
        time.sleep(3600)
    except KeyboardInterrupt:
        sys.exit(7)
"""
LIBRARY = """
import os, sys
print("a notice of the library", file=sys.stderr)
PID = os.getpid()
os.environ["SET_BY_THE_LIBRARY"] = "yes"
"""
THREADED = """
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
"""


class Toys:
    """A fork server, and the output of the commands started with it."""

    def __init__(self, folder: Path) -> None:
        for name, source in (("toy", TOY), ("slow_library", LIBRARY), ("threaded_library", THREADED)):
            (folder / f"{name}.py").write_text(source)
        self.folder = folder
        path = f"{folder}{os.pathsep}{ROOT}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        self.environment = kept | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.server = ForkServer(self.environment, own=["RANK", "PORT"])

    def start(self, *arguments: str, name: str = "said", **more: Any) -> ForkedCommand:
        libraries = more.pop("libraries", ["numpy", "slow_library"])
        with (self.folder / name).open("wb") as output, (self.folder / f"{name}.err").open("wb") as errors:
            return self.server.start(
                "toy", arguments, output=output.fileno(), errors=errors.fileno(), libraries=libraries, **more
            )

    def said(self, name: str = "said") -> dict[str, Any]:
        wait_for(lambda: (self.folder / name).read_text().endswith("\n"))
        found: dict[str, Any] = json.loads((self.folder / name).read_text())
        return found


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Toys]:
    monkeypatch.chdir(ROOT)
    toys = Toys(tmp_path)
    with toys.server:
        yield toys


def test_it_is_the_command_that_a_fresh_interpreter_runs(toys: Toys, tmp_path: Path) -> None:
    environment = toys.environment | {"RANK": "1"}
    command = toys.start("a", "b c", environment=environment)
    assert command.wait(SECONDS) == 0
    fresh = subprocess.run(
        [sys.executable, "-m", "toy", "a", "b c"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    ours, theirs = toys.said(), json.loads(fresh.stdout)
    assert ours["imported_by"] == ours["parent"] != ours["pid"] == command.pid  # its libraries are the server's ...
    assert theirs["imported_by"] == theirs["pid"]
    for name in ("imported_by", "pid", "parent", "draws"):
        del ours[name], theirs[name]
    assert ours == theirs  # ... and all else is its own
    assert (tmp_path / "said.err").read_text() == "a notice of the library\n" + "a word to stderr\n" == fresh.stderr


def test_no_two_draw_the_same(toys: Toys) -> None:
    libraries = ["numpy.random", "torch", "slow_library"]  # each seeds a generator at its import
    commands = [toys.start("a", name=name, libraries=libraries) for name in "xyz"]
    assert [command.wait(SECONDS) for command in commands] == [0, 0, 0]
    said = [toys.said(name) for name in "xyz"]
    for draws in zip(*([*one["draws"], one["torch"]] for one in said), strict=True):
        assert None not in draws and len(set(draws)) == 3
    assert (toys.folder / "y.err").read_text() == "a word to stderr\n"  # the notice stands in the first output only


def test_exit_statuses(toys: Toys) -> None:
    ends = {does: toys.start(does, name=does) for does in ("fail", "raise", "sleep")}
    assert ends["fail"].wait(SECONDS) == 3
    assert ends["raise"].wait(SECONDS) == 1
    assert "ValueError: of the command's own" in (toys.folder / "raise.err").read_text()
    toys.said("sleep")
    assert ends["sleep"].poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        ends["sleep"].wait(0.01)
    ends["sleep"].terminate()
    assert ends["sleep"].wait(SECONDS) == -signal.SIGTERM
    assert not is_running(ends["sleep"].pid)
    ends["sleep"].kill()  # nothing is left to kill
    killed = toys.start("sleep")
    killed.kill()  # before it is known to run
    assert killed.wait(SECONDS) == -signal.SIGKILL


def test_signals_to_the_whole_group_are_for_the_commands(toys: Toys) -> None:
    command = toys.start("await interrupt")
    said = toys.said()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(said["parent"], number)  # the server
    command.send_signal(signal.SIGINT)
    assert command.wait(SECONDS) == 7
    assert toys.start("a").wait(SECONDS) == 0
    assert toys.said()["parent"] == said["parent"]


@pytest.mark.parametrize("reason", ["another environment", "a library with a thread"])
def test_a_fork_that_might_differ_is_a_fresh_interpreter(toys: Toys, reason: str) -> None:
    is_environment = reason == "another environment"
    environment = toys.environment | ({"OMP_NUM_THREADS": "2"} if is_environment else {})
    libraries = ["numpy", "slow_library", *([] if is_environment else ["threaded_library"])]
    command = toys.start("a", libraries=libraries, environment=environment)
    assert command.wait(SECONDS) == 0
    said = toys.said()
    assert said["imported_by"] == said["pid"] == command.pid
    assert said["environment"]["OMP_NUM_THREADS"] == environment["OMP_NUM_THREADS"]
    assert said["blocked"] == []
    failed = toys.start("fail", libraries=libraries, environment=environment)
    assert failed.wait(SECONDS) == 3


def test_a_library_that_is_not_there_is_left_to_the_command(toys: Toys) -> None:
    assert toys.start("a", libraries=["no_such_library", "slow_library"]).wait(SECONDS) == 0
    assert toys.said()["imported_by"] == toys.said()["parent"]


def test_the_end_of_the_server_is_the_end_of_its_commands(toys: Toys) -> None:
    command = toys.start("sleep")
    said = toys.said()
    os.kill(said["parent"], signal.SIGKILL)
    assert command.wait(SECONDS) == -signal.SIGKILL
    wait_for(lambda: not is_running(said["pid"]))
    again = toys.start("sleep", name="again")  # with a new server
    pid = toys.said("again")["pid"]
    toys.server.close()
    assert again.wait(SECONDS) == -signal.SIGKILL
    wait_for(lambda: not is_running(pid))


def test_no_orphan_outlives_a_killed_launcher(toys: Toys) -> None:
    code = f"""
        import os, time
        from runtime.fork_server import ForkServer
        output, errors = (open({str(toys.folder)!r} + name, "wb") for name in ("/said", "/said.err"))
        server = ForkServer(os.environ)
        command = server.start("toy", ["sleep"], output=output.fileno(), errors=errors.fileno())
        time.sleep(3600)
    """
    launcher = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], env=toys.environment)
    wait_for(lambda: (toys.folder / "said").exists())
    said = toys.said()
    launcher.kill()
    launcher.wait()
    wait_for(lambda: not is_running(said["pid"]) and not is_running(said["parent"]))
