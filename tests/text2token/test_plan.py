import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpus.errors import UserError
from corpus.manifest import BadRecord
from lm.sources import TextDocument, iterate_texts
from text2token.plan import make_plan, read_plan

LINES = st.lists(
    st.sampled_from(['{"text": "a b"}', '{"id": "x", "text": "é"}', "", "broken", '{"text": ""}']), max_size=20
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(LINES, LINES, st.integers(1, 7), st.booleans())
def test_units_hold_every_line_once(
    tmp_path: Path, first: list[str], second: list[str], size: int, ends_with_newline: bool
) -> None:
    first = ['{"text": "one"}', *first]
    (tmp_path / "texts").mkdir(exist_ok=True)
    for name, lines in (("a", first), ("b", second)):
        content = "\n".join(lines) + ("\n" if ends_with_newline else "")
        (tmp_path / f"texts/{name}.jsonl").write_text(content)
    (tmp_path / "plan.json").unlink(missing_ok=True)
    source = str(tmp_path / "texts")
    plan = make_plan(tmp_path, {"train": source, "valid": ""}, passes=2, unit_lines=size)
    assert plan == read_plan(tmp_path)
    assert len({unit.name for unit in plan}) == len(plan) and max(unit.num_lines for unit in plan) <= size
    for number in range(2):
        found = [item for unit in plan if unit.pass_number == number for item in unit.documents()]
        assert found == list(iterate_texts(source))


def test_a_plan_is_made_once(tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"text": "a"}\n' * 5)
    sources = {"train": str(texts), "valid": str(texts)}
    plan = make_plan(tmp_path, sources, passes=1, unit_lines=2)
    assert [unit.name for unit in plan][:1] == ["train/pass-0-unit-000000.parquet"] and len(plan) == 6
    assert make_plan(tmp_path, sources, passes=3, unit_lines=1) == plan
    first = next(plan[1].documents())
    assert isinstance(first, TextDocument) and first.id == "texts-0000003"


def test_bad_sources(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no texts"):
        make_plan(tmp_path, {"train": str(tmp_path / "none.jsonl")}, passes=1, unit_lines=2)
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(UserError, match="an empty file"):
        make_plan(tmp_path, {"train": str(tmp_path / "empty.jsonl")}, passes=1, unit_lines=2)
    (tmp_path / "bad.jsonl").write_text("broken\n")
    (unit,) = make_plan(tmp_path, {"train": str(tmp_path / "bad.jsonl")}, passes=1, unit_lines=2)
    (bad,) = unit.documents()
    assert isinstance(bad, BadRecord) and bad.place.endswith("bad.jsonl, line 1")
    (tmp_path / "plan.json").write_text(json.dumps({"units": [{}]}))
    with pytest.raises(UserError, match="not a plan"):
        read_plan(tmp_path)
