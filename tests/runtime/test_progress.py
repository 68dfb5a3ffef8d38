"""Progress of a process does not wait for another one's."""

from __future__ import annotations

import json
import multiprocessing
import threading
from multiprocessing.connection import Connection
from pathlib import Path

from tqdm import TMonitor, tqdm

from runtime.progress import Progress


def hold(connection: Connection) -> None:
    with tqdm.get_lock():
        connection.send("held")
        threading.Event().wait()


def work(folder: Path) -> None:
    with Progress(folder, 3, "work") as bar:
        bar.update(3)


def test_a_worker_killed_with_the_bars_lock_stops_nobody(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    work(tmp_path)  # the lock is there before the worker is
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe()
    worker = fork.Process(target=hold, args=(there,), daemon=True)
    worker.start()
    there.close()
    assert here.recv() == "held"
    worker.kill()
    worker.join()
    (tmp_path / "progress.json").unlink()
    later = threading.Thread(target=work, args=(tmp_path,), daemon=True)
    later.start()
    later.join(120)
    assert not later.is_alive()
    assert json.loads((tmp_path / "progress.json").read_text())["done"] == 3
    assert not [thread for thread in set(threading.enumerate()) - before if isinstance(thread, TMonitor)]
