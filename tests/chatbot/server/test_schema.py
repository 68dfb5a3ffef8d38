"""What the OpenAPI schema says is true: schemathesis asks every operation with bodies that fit it and that do not."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import one_of
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ..conftest import HANG_SECONDS  # noqa: TID252
from .conftest import KEY, Live

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
OPERATIONS = [
    ("GET", "/healthz"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{name}"),
    ("POST", "/v1/audio/speech"),
    ("POST", "/v1/audio/transcriptions"),
    ("POST", "/v1/chat/completions"),
]
EXAMPLES = 25


@pytest.fixture(scope="session")
def description(live: Live) -> dict[str, Any]:
    return httpx.get(f"{live.url}/openapi.json", timeout=HANG_SECONDS).json()


def test_every_operation_is_asked(description: dict[str, Any]) -> None:
    described = {(method.upper(), path) for path, operations in description["paths"].items() for method in operations}
    assert described == set(OPERATIONS)


def with_question(case: Any) -> Any:
    """A dialogue that can be answered, whatever else is asked for: random messages seldom can."""
    case.body["messages"] = [{"role": "user", "content": "what is the capital"}]
    return case


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_an_operation_keeps_its_schema(
    live: Live, description: dict[str, Any], method: str, path: str, mode: GenerationMode
) -> None:
    operation = schemathesis.openapi.from_dict(description)[path][method]
    if mode is GenerationMode.NEGATIVE and not (operation.body or operation.path_parameters):
        return  # it takes nothing that could be wrong
    statuses: set[int] = set()
    cases = operation.as_strategy(generation_mode=mode)
    if path == "/v1/chat/completions" and mode is GenerationMode.POSITIVE:
        cases = one_of(cases, cases.map(with_question))

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def ask(case: Any) -> None:
        headers = {"Authorization": f"Bearer {KEY}"}
        response = case.call_and_validate(base_url=live.url, headers=headers, checks=CHECKS, timeout=HANG_SECONDS)
        statuses.add(response.status_code)

    ask()
    is_answered = path != "/v1/audio/transcriptions"  # random bytes are no audio
    if mode is GenerationMode.POSITIVE:
        assert (200 in statuses) == is_answered
