"""What every system can import: the library, and the commands that serve nothing.

Nothing but the modules' own text is looked at, so that it is seen on any system.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ELSEWHERE_TOO = {
    "os": {"PathLike", "environ"},
    "select": set[str](),
    "signal": {"SIGINT", "SIGTERM"},
    "socket": {"AF_INET", "AF_INET6", "SOCK_STREAM", "getaddrinfo", "socket"},
}
"""What Windows has of the modules that differ, as far as we use it while importing."""

NOT_ON_WINDOWS = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}


def file_of(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    for file in (path / "__init__.py", path.with_suffix(".py")):
        if file.is_file():
            return file
    return None


def run_by_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that importing evaluates: no body of a function, nothing for types alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.AnnAssign) and child.value is None:
            continue
        yield child
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            evaluated = [*child.decorator_list, *child.args.defaults]
            evaluated += [default for default in child.args.kw_defaults if default is not None]
            for part in evaluated:
                yield part
                yield from run_by_import(part)
        elif isinstance(child, ast.AnnAssign) and child.value is not None:
            yield child.value
            yield from run_by_import(child.value)
        elif not isinstance(child, ast.Lambda):
            yield from run_by_import(child)


def imported(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(module), level=0, names=names):
            return [module, *(f"{module}.{alias.name}" for alias in names)]
        case _:
            return []


def amiss(source: str) -> set[str]:
    """What importing `source` takes that another system may not have."""
    found = set()
    for node in run_by_import(ast.parse(source)):
        found.update(set(imported(node)) & NOT_ON_WINDOWS)
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=name) if module in ELSEWHERE_TOO:
                names = {name}
            case ast.ImportFrom(module=str(module)) if module in ELSEWHERE_TOO:
                names = {alias.name for alias in node.names}
            case _:
                continue
        found.update(f"{module}.{name}" for name in names - ELSEWHERE_TOO[module])
    return found


def reached_from(*modules: str) -> dict[str, Path]:
    """Every module of ours that importing these imports, packages on the way included."""
    reached: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        file = file_of(module)
        if file is None or module in reached or module.split(".")[0] != "gateway":
            continue
        reached[module] = file
        waiting.append(module.rpartition(".")[0] or module)
        for node in run_by_import(ast.parse(file.read_text())):
            waiting += imported(node)
    return reached


REACHED = reached_from("gateway", "gateway.__main__", "gateway.cli", "gateway.testing")


@pytest.mark.parametrize("module", sorted(REACHED))
def test_importing_takes_nothing_that_windows_lacks(module: str) -> None:
    assert amiss(REACHED[module].read_text()) == set()


def test_the_look_is_thorough() -> None:
    assert {"gateway.app", "gateway.build", "gateway.cli.check", "gateway.server.http1"} <= set(
        REACHED
    )
    assert "gateway.server.supervisor" not in REACHED
    assert amiss((ROOT / "gateway/server/child.py").read_text()) == {"signal.SIGHUP"}
    assert amiss("import fcntl") == {"fcntl"}
    assert amiss("from os import fork") == {"os.fork"}
    assert amiss("class A:\n    x: int = select.EPOLLIN | f(os.O_RDONLY)") == {
        "select.EPOLLIN",
        "os.O_RDONLY",
    }
    assert amiss("@f(socket.AF_UNIX)\ndef f(a=os.fork, *, b=os.WNOHANG): ...") == {
        "socket.AF_UNIX",
        "os.fork",
        "os.WNOHANG",
    }
    assert (
        amiss("def f(a: os.fork) -> int:\n    import fcntl\n    return lambda: os.fork()") == set()
    )
    assert amiss("if TYPE_CHECKING:\n    import fcntl") == set()
