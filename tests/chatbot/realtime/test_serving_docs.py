"""The examples of docs/serving.md run as they stand, against the whole server."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from corpus.audio.files import write_audio

from ..conftest import babble  # noqa: TID252
from .conftest import Server

PAGE = Path(__file__).parents[3] / "docs" / "serving.md"


def test_the_page_s_examples_run(
    start_server: Callable[..., Server],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = start_server(is_whole=True)
    monkeypatch.chdir(tmp_path)
    write_audio(tmp_path / "question.wav", babble(1, 1.0), 24000)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, object] = {}
    for block in blocks:
        exec(block.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}"), names)
    assert (tmp_path / "answer.wav").is_file() and (tmp_path / "said.wav").is_file()
    assert "said:" in capsys.readouterr().out
