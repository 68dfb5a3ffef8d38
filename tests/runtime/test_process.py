"""A process that is started so does not outlive the one that started it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.permits import is_running, wait_for

PARENT = """
import subprocess, time
from runtime.process import die_with_parent
child = subprocess.Popen(["sleep", "1000"], preexec_fn=die_with_parent)
print(child.pid, flush=True)
time.sleep(1000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
def test_a_child_dies_with_a_killed_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = Path("/proc") / parent.stdout.readline().strip()
    assert (child / "cmdline").read_text().startswith("sleep")
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(lambda: not is_running(int(child.name)))
