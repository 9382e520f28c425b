"""Every policy is tested three ways: its calls are made, begun, and begun and finished."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from gateway.core.service import Service
from tests.apps import Prompt, services_are
from tests.policies.stacks import begun

WAYS: dict[str, Callable[[Service], Service] | None] = {
    "called": None,
    "begun": Prompt,
    "finished": partial(Prompt, slow=True),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All three, but for a test marked `called`: of what is never begun, with the reason."""
    marked = metafunc.definition.get_closest_marker("called")
    metafunc.parametrize("way", ["called"] if marked else WAYS, indirect=True)


@pytest.fixture(autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """How calls are made in this test."""
    made = WAYS[request.param]
    inner = begun.set(made)
    outer = services_are.set(made or (lambda service: service))
    try:
        yield request.param
    finally:
        services_are.reset(outer)
        begun.reset(inner)
