"""Provenance of a run: versions, commit and seed."""

from __future__ import annotations

from recipes.reporting.blocks import Section
from recipes.reporting.run_results import Results


def provenance_section(results: Results) -> Section:
    """Versions, commit and seed."""
    section = Section("How it was made")
    first = next(iter(results.steps))
    record = results.read(first, "run.json") or {}
    versions = [[name, version] for name, version in record.get("versions", {}).items()]
    section.table(["package", "version"], [*versions, ["git commit", record.get("git_commit") or "unknown"]])
    section.text(
        f"Recipe {results.recipe}, seed {record.get('config', {}).get('seed')}; "
        "every step's folder holds its resolved config."
    )
    return section
