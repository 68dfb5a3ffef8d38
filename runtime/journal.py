"""Journal of finished pieces of work as JSON lines, for stages that resume after a kill."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any


class Journal:
    """Records appended one by one; use it as a context manager. A line torn by a kill is removed on opening.

    Args:
        path: the file; created if it does not exist.

    Attributes:
        records: all complete records, those of earlier calls first.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.records: list[dict[str, Any]] = []
        content = self.path.read_bytes() if self.path.exists() else b""
        whole = 0
        for line in content.splitlines(keepends=True):
            try:
                record = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                record = None
            if not isinstance(record, dict):
                break
            self.records.append(record)
            whole += len(line)
        self._file = self.path.open("ab")
        self._file.truncate(whole)

    def append(self, *records: dict[str, Any]) -> None:
        """Append records and flush them; after a kill within this call a first part of them is there."""
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        self._file.write(lines.encode())
        self._file.flush()
        self.records += records

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
