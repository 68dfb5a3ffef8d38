"""Start of commands as forks of one process that has imported their libraries.

``import torch`` takes a second or two of a core, Megatron's trainer and NeMo's encoder four to seven: half of the time
of a chain of thirty short commands. A `ForkServer` is a process of one thread that imports libraries once, computes
nothing, and forks for each command. The fork runs what ``python -m MODULE`` runs, in a process of its own: arguments,
environment, folder, output, signals and exit status are the command's, and its crash touches no other.

Where a fork could differ from a fresh interpreter, the command is started as one (fork and exec, as `subprocess` does):

* Its environment is not the server's, apart from the variables named ``own``: a library may have read it at its import.
* The server has more than one thread: a lock that another one held would stay locked in the fork.
* torch is built for GPUs: the state of a driver does not outlive a fork.

All forks of a server share one random hash seed of strings; the states of ``random``, NumPy and torch are drawn
anew in each.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .process import die_with_parent

HEADER = struct.Struct("!I")  # bytes of the request that follows
HELD_SIGNALS = (signal.SIGINT, signal.SIGTERM)  # sent to a whole process group: they are for the commands


@dataclass(frozen=True, kw_only=True)
class ForkRequest:
    """One command: a module, its arguments, where it runs, and the libraries that it will import.

    Attributes:
        module: run as ``python -m MODULE``.
        own: variables in which the command may differ from the server.
        shares_environment: whether it does in no others.
        folder: working directory.
        libraries: modules that the server imports first, if it has not; one that cannot be imported is left to the
            command, which says so.
    """

    module: str
    arguments: list[str]
    environment: dict[str, str]
    own: list[str]
    shares_environment: bool
    folder: str
    libraries: list[str]


class ForkedCommand:
    """A running command, with the methods of `subprocess.Popen` that a launcher needs.

    Args:
        status: socket on which the server writes the command's process id and, at its end, its exit status.
    """

    def __init__(self, status: socket.socket) -> None:
        self._status, self._said = status, b""
        self.returncode: int | None = None

    @property
    def pid(self) -> int:
        """The process id; waits until the server has forked."""
        while self.returncode is None and b"\n" not in self._said:
            self._read(None)
        return int(self._said.split(b"\n")[0] or 0)

    def poll(self) -> int | None:
        """None while running; else the exit status, negative for a signal."""
        while self.returncode is None and self._read(0.0):
            pass
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status.

        Raises:
            subprocess.TimeoutExpired: it still runs after ``timeout`` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left = None if end is None else max(0.0, end - time.monotonic())
            if not self._read(left):
                raise subprocess.TimeoutExpired("a forked command", timeout or 0.0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the command has ended."""
        if self.poll() is None and self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _read(self, seconds: float | None) -> bool:
        """Take up what the server says within ``seconds`` (None: whenever it does); whether it said anything."""
        self._status.settimeout(seconds)
        try:
            said = self._status.recv(64)
        except (BlockingIOError, TimeoutError):
            return False
        except ConnectionError:
            said = b""
        self._said += said
        if not said:  # the server has died, and the kernel has killed the command
            self.returncode = -signal.SIGKILL
        elif self._said.count(b"\n") == 2:
            self.returncode = int(self._said.split(b"\n")[1])
        if self.returncode is not None:
            self._status.close()
        return True


class ForkServer:
    """The process that forks, seen from the launcher; started with the first command, ended by `close`.

    It dies with its parent, and its commands with it.

    Args:
        environment: of the server, and of a command that may be a fork of it.
        own: variables in which a command may differ from the server: no library reads them when it is imported.
    """

    def __init__(self, environment: Mapping[str, str], own: Collection[str] = ()) -> None:
        self.environment, self.own = dict(environment), list(own)
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        output: int,
        errors: int | None = None,
        environment: Mapping[str, str] | None = None,
        libraries: Sequence[str] = (),
    ) -> ForkedCommand:
        """Start ``python -m MODULE ARGUMENTS`` in the present folder; returns before it is forked.

        Args:
            output: file descriptor that receives standard output.
            errors: the same for standard error; None: ``output``.
            environment: of the command; None: the server's.
            libraries: as in `ForkRequest`.
        """
        wanted = dict(self.environment if environment is None else environment)
        request = ForkRequest(
            module=module,
            arguments=list(arguments),
            environment=wanted,
            own=self.own,
            shares_environment=self._shared(wanted) == self._shared(self.environment),
            folder=str(Path.cwd()),
            libraries=list(libraries),
        )
        ours, theirs = socket.socketpair()
        with theirs:
            content = json.dumps(asdict(request)).encode()
            descriptors = [output, output if errors is None else errors, theirs.fileno()]
            requests = self._connection()
            socket.send_fds(requests, [HEADER.pack(len(content))], descriptors)
            requests.sendall(content)
        return ForkedCommand(ours)

    def close(self) -> None:
        """End the server, and kill the commands that still run."""
        if self._requests is not None:
            self._requests.close()
        if self._process is not None:
            self._process.kill()  # the kernel kills its forks
            self._process.wait()
        self._requests = self._process = None

    def _shared(self, environment: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in environment.items() if name not in self.own}

    def _connection(self) -> socket.socket:
        if self._process is not None and self._process.poll() is not None:  # somebody killed it
            self.close()
        if self._requests is None:
            self._requests, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "runtime.fork_server", str(theirs.fileno())],
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    preexec_fn=die_with_parent,
                )
        return self._requests


class Forker:
    """The server's own side: takes requests, forks, and says how the forks ended.

    Args:
        requests: socket of the launcher; its end ends the server.
    """

    def __init__(self, requests: socket.socket) -> None:
        self.requests, self.pid = requests, os.getpid()
        self.running: dict[int, tuple[int, socket.socket]] = {}  # by the descriptor of the process: its id, its status
        self.tried: set[str] = set()

    def serve(self) -> tuple[ForkRequest, bool]:
        """Serve the launcher until it closes its socket.

        Returns:
            In the forks only: the request of each, and whether it can go on as this interpreter.
        """
        with selectors.PollSelector() as selector:
            selector.register(self.requests, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is not self.requests:
                        selector.unregister(key.fileobj)
                        self.settle(key.fd)
                        continue
                    header, descriptors, _, _ = socket.recv_fds(self.requests, HEADER.size, 3)
                    if not header:
                        os._exit(0)  # the kernel kills what still runs
                    request = self.read(HEADER.unpack(header)[0])
                    output, errors, status = descriptors
                    if request.shares_environment:
                        self.prepare(request.libraries, output, errors)
                    is_sound = request.shares_environment and num_threads() == 1 and not is_built_for_gpus()
                    pid = os.fork()
                    if pid == 0:
                        self.detach(output, errors, status)
                        return request, is_sound
                    os.close(output)
                    os.close(errors)
                    process = os.pidfd_open(pid)
                    self.running[process] = pid, socket.socket(fileno=status)
                    selector.register(process, selectors.EVENT_READ)
                    self.say(process, pid)

    def read(self, size: int) -> ForkRequest:
        """The request of ``size`` bytes that follows on the socket."""
        content = b""
        while len(content) < size:
            content += self.requests.recv(size - len(content))
        return ForkRequest(**json.loads(content))

    def say(self, process: int, number: int) -> None:
        """Write a number to the launcher's status socket of a process."""
        with contextlib.suppress(OSError):  # it is not waited for any more
            self.running[process][1].sendall(b"%d\n" % number)

    def settle(self, process: int) -> None:
        """Reap a fork that has ended, and say its status."""
        _, state = os.waitpid(self.running[process][0], 0)
        self.say(process, os.waitstatus_to_exitcode(state))
        _, status = self.running.pop(process)
        status.close()
        os.close(process)

    def prepare(self, libraries: Sequence[str], output: int, errors: int) -> None:
        """Import what is not imported yet; what libraries print at that goes into the output of this command."""
        missing = [name for name in libraries if name not in self.tried]
        if not missing:
            return
        self.tried.update(missing)
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(output, 1)
            os.dup2(errors, 2)
            for name in missing:
                if is_built_for_gpus():
                    break
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
        gc.collect()
        gc.freeze()  # forks share the pages of what lives now

    def detach(self, output: int, errors: int, status: int) -> None:
        """In a fork: take the command's output, and close what is the server's."""
        die_with_parent()
        if os.getppid() != self.pid:  # it died first
            os._exit(1)
        os.dup2(output, 1)
        os.dup2(errors, 2)
        for descriptor in (output, errors, status):
            os.close(descriptor)
        self.requests.close()
        for process, (_, other) in self.running.items():
            os.close(process)
            other.close()


def num_threads() -> int:
    """The threads of this process, also those that Python does not know of."""
    return len(list(Path("/proc/self/task").iterdir()))


def is_built_for_gpus() -> bool:
    """Whether the torch that this process has imported, if any, is built for CUDA or ROCm."""
    version = sys.modules.get("torch.version")
    return version is not None and bool(getattr(version, "cuda", None) or getattr(version, "hip", None))


def run_request(request: ForkRequest, *, is_fork: bool) -> None:
    """Become the command, in this interpreter or in a fresh one."""
    os.chdir(request.folder)
    if not is_fork:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_SIGNALS)
        command = [sys.executable, "-m", request.module, *request.arguments]
        os.execve(sys.executable, command, request.environment)
    for name in request.own:  # the others are equal, or a library set them at its import
        os.environ.pop(name, None)
    os.environ.update({name: value for name, value in request.environment.items() if name in request.own})
    draw_new_seeds()
    sys.argv = [request.module, *request.arguments]
    sys.path[0] = request.folder
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_SIGNALS)
    runpy.run_module(request.module, run_name="__main__", alter_sys=True)


def draw_new_seeds() -> None:
    """Seed the global generators that libraries seeded by chance at their import (``random`` does it by itself)."""
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.seed()


def main() -> None:
    """Be the server; a fork of it goes on as a command."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD_SIGNALS)
    request, is_fork = Forker(socket.socket(fileno=int(sys.argv[1]))).serve()
    run_request(request, is_fork=is_fork)


if __name__ == "__main__":
    main()
