"""The laws of `gateway/core/service.py`, as far as the source shows whether they are kept."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core import service
from gateway.core.messages import Context, Reply, Request
from gateway.core.service import Emit, Service, discard, guard

ROOT = Path(__file__).parents[2] / "gateway"
FILES = sorted(ROOT.rglob("*.py"))

# Where everything is caught and Cancelled cannot be among it.
AFTER_CANCELLED = {
    "guest/run.py": "it is asyncio's, and raised again once what it cancels has ended",
    "policies/apart.py": "the handlers before it let Cancelled out",
    "server/containment.py": "the handler before it lets Cancelled out",
    "server/supervisor.py": "it has no loop",
    "server/life.py": "it stands around trio.run, outside the loop",
}


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text()))


def test_the_laws_are_written_down() -> None:
    assert service.__doc__ is not None
    for number in range(1, 9):
        assert f"\n{number}. " in service.__doc__


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_cancelled_is_never_caught(path: Path) -> None:
    """Whoever catches everything must raise again, in every way out."""
    for node in nodes(path):
        if not isinstance(node, ast.ExceptHandler):
            continue
        names = ast.unparse(node.type) if node.type else "BaseException"
        if "BaseException" in names.replace("BaseExceptionGroup", "") or "Cancelled" in names:
            assert str(path.relative_to(ROOT)) in AFTER_CANCELLED or any(
                isinstance(inner, ast.Raise) for inner in ast.walk(node)
            ), f"{path.name}:{node.lineno} may swallow Cancelled"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_threads_say_whether_they_are_abandoned(path: Path) -> None:
    for node in nodes(path):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("to_thread.run_sync"):
            given = {keyword.arg for keyword in node.keywords}
            assert {"abandon_on_cancel", "limiter"} <= given, f"{path.name}:{node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_yields_inside_a_scope_or_nursery(path: Path) -> None:
    for function in nodes(path):
        if not isinstance(function, ast.AsyncFunctionDef):
            continue
        managed = any("contextmanager" in ast.unparse(one) for one in function.decorator_list)
        for block in ast.walk(function):
            if isinstance(block, ast.With | ast.AsyncWith) and not managed:
                opened = " ".join(ast.unparse(item.context_expr) for item in block.items)
                if any(word in opened for word in ("nursery", "CancelScope", "_after", "_at(")):
                    assert not any(isinstance(inner, ast.Yield) for inner in ast.walk(block)), (
                        f"{path.name}:{block.lineno} yields inside {opened}"
                    )


async def test_a_policy_that_is_off_is_not_in_the_stack() -> None:
    async def serve(request: Request, emit: object, /) -> Reply:
        return Reply(request.name)

    assert guard(serve, ()) is serve


async def test_the_first_policy_is_outermost() -> None:
    seen: list[str] = []

    class Note:
        def __init__(self, name: str) -> None:
            self.name = name

        async def __call__(self, request: Request, emit: Emit, inner: Service, /) -> Reply:
            seen.append(self.name)
            return await inner(request, emit)

    async def serve(request: Request, emit: object, /) -> Reply:
        seen.append("service")
        return Reply(1)

    guarded = guard(serve, [Note("outer"), Note("inner")])
    reply = await guarded(Request("x", {}, Context(request_id="r")), discard)
    assert reply.value == 1
    assert seen == ["outer", "inner", "service"]
