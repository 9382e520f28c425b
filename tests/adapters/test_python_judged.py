"""Modules that cannot be imported, functions that are not there: told at load, with their lines."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.build import build
from gateway.config.problems import ConfigError
from tests.adapters import functions, toolbox

HERE = functions.__name__

FILE = """\
[services.s]
kind = "python"
module = "MODULE"
[tools.t]
calls.a = { service = "s", function = "FUNCTION" }
"""


def mistakes(folder: Path, text: str, **options: Any) -> list[str]:
    """Every line that is told of a file with this text; none if it is fine."""
    file = folder / "gateway.toml"
    file.write_text(text)
    try:
        build(file, record=lambda _: None, **options)
    except ConfigError as error:
        return str(error).replace(f"{folder}/", "").splitlines()
    return []


def written(module: str, function: str = "f") -> str:
    return FILE.replace("MODULE", module).replace("FUNCTION", function)


@pytest.fixture(autouse=True)
def _path_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Loading a file lets modules beside it be imported."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    return


MODULE_LINE = "gateway.toml:3: services.s.module: "
FUNCTION_LINE = "gateway.toml:5: tools.t.calls.a.function: "


@pytest.mark.parametrize(
    ("module", "function", "says"),
    [
        (
            "no.such",
            "f",
            MODULE_LINE
            + "expected an importable module, got 'no.such': ModuleNotFoundError: No module named 'no'",
        ),
        ("directroy", "f", MODULE_LINE + "… No module named 'directroy'; did you mean \"directory\"?"),
        ("pack.prat", "f", MODULE_LINE + "… No module named 'pack.prat'; did you mean \"pack.part\"?"),
        ("needy", "f", MODULE_LINE + "… ModuleNotFoundError: No module named 'not_installed'"),
        ("tests.adapters.exits", "f", MODULE_LINE + "… SystemExit"),
        ("tests.adapters.broken", "f", MODULE_LINE + "… ZeroDivisionError"),
        ("directory", "lokup", FUNCTION_LINE + "directory has no function 'lokup'; did you mean \"lookup\"?"),
        ("directory", "NOT_ONE", FUNCTION_LINE + "directory has no function 'NOT_ONE'"),
        (HERE, "nop", FUNCTION_LINE + f"{HERE} has no function 'nop'; did you mean \"noop\"?"),
    ],
)  # fmt: skip
def test_a_mistake_has_its_line(tmp_path: Path, module: str, function: str, says: str) -> None:
    (tmp_path / "directory.py").write_text("NOT_ONE = 1\ndef lookup(): ...\n")
    (tmp_path / "needy.py").write_text("import not_installed\n")
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").touch()
    (tmp_path / "pack" / "part.py").touch()
    (line,) = mistakes(tmp_path, written(module, function))
    begin, _, end = says.partition("…")
    assert line.startswith(begin)
    assert end in line


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("async def f(): ...", "there.f is async: it runs on the loop; processes take blocking"),
        ("async def f():\n    yield 1", "there.f is async: it runs on the loop"),
        ("def f(caller): ...", "there.f takes caller, which nothing in another process can reach"),
        ("def f():\n    yield 1", None),
    ],
)
def test_what_no_process_can_run_has_its_line(tmp_path: Path, code: str, says: str | None) -> None:
    (tmp_path / "there.py").write_text(f"{code}\n")
    text = written("there").replace("[tools.t]", "processes = 1\n[tools.t]")
    lines = mistakes(tmp_path, text)
    assert len(lines) == (says is not None)
    for line in lines:
        assert line.startswith(f"gateway.toml:6: tools.t.calls.a.function: {says}")
    assert not mistakes(tmp_path, written("there"))


@pytest.mark.parametrize(
    ("code", "arguments", "says"),
    [
        ("def f(user): ...", '{ usr = "x" }', '.usr: there.f takes no argument usr; did you mean "user"?'),
        ("def f(a, *, b, c=1): ...", "{ a = 1 }", ": there.f has to be given b"),
        ("def f(a, b): ...", "{}", ": there.f has to be given a, b"),
        ("def f(a, **more): ...", "{ a = 1, b = 2 }", ""),
        ("def f(a, timeout, caller): ...", "{ a = 1 }", ""),
        ("def f(timeout): ...", "{ timeout = 1 }", ""),
        ("def f(a, /): ...", "{ a = 1 }", ".a: there.f takes no argument a"),
        ("f = dict", "{ a = 1 }", ""),
    ],
)  # fmt: skip
def test_arguments_that_a_function_does_not_take_have_their_line(
    tmp_path: Path, code: str, arguments: str, says: str
) -> None:
    (tmp_path / "there.py").write_text(f"{code}\n")
    text = written("there").replace('"f" }', f'"f", arguments = {arguments} }}')
    lines = mistakes(tmp_path, text)
    assert lines == ([f"gateway.toml:5: tools.t.calls.a.arguments{says}"] if says else [])


def test_what_is_there_is_fine_hints_and_all(tmp_path: Path) -> None:
    """What keeps a function from being a whole tool keeps it from no call."""
    (tmp_path / "directory.py").write_text("def lookup(lock: 'Lock'): ...\n")
    assert not mistakes(tmp_path, written("directory", "lookup"))
    assert not mistakes(tmp_path, written(toolbox.__name__, "unhintable"))


def test_a_service_that_no_call_asks_is_judged_too(tmp_path: Path) -> None:
    (line,) = mistakes(tmp_path, '[services.s]\nkind = "python"\nmodule = "no_such"\n')
    assert line.startswith(MODULE_LINE)


def test_a_service_that_something_stands_in_for_is_not(tmp_path: Path) -> None:
    async def instead(_request: Any, _emit: Any) -> Any: ...

    assert not mistakes(tmp_path, written("no_such"), services={"s": instead})


def test_loading_runs_a_module_once_and_elsewhere(tmp_path: Path) -> None:
    """Whatever is to be known of it: that it is there, for calls, and what it says, for a tool."""
    (tmp_path / "counted.py").write_text(
        "import os, pathlib\n"
        "with open(pathlib.Path(__file__).with_name('runs'), 'a') as runs:\n"
        "    print(os.getpid(), file=runs)\n"
        "def f(): ...\n"
        'def whole(a: int):\n    """A tool."""\n'
    )
    text = written("counted") + '[tools.whole]\nfunction = "counted:whole"\n'
    assert not mistakes(tmp_path, text)
    (run,) = (tmp_path / "runs").read_text().split()
    assert not any("counted" in name for name in sys.modules)
    assert int(run) > 0


def test_a_module_that_is_imported_already_is_looked_at_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    code = tmp_path / "once.py"
    code.write_text("def f(): ...\n")
    importlib.import_module("once")
    code.write_text("1 / 0\n")
    assert not mistakes(tmp_path, written("once"))
    (line,) = mistakes(tmp_path, written("once", "g"))
    assert line == FUNCTION_LINE + "once has no function 'g'"
    del sys.modules["once"]


def test_a_module_that_makes_the_gateway_may_define_its_functions_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "gateway.toml").write_text(written("host", "later"))
    (tmp_path / "host.py").write_text(
        "from pathlib import Path\n"
        "from gateway import create_app\n"
        "app = create_app(Path(__file__).with_name('gateway.toml'))\n"
        "def later(): ...\n"
    )
    assert importlib.import_module("host").app.tools
    del sys.modules["host"]


def test_a_module_that_somebody_made_by_hand_is_looked_at_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = types.SimpleNamespace(f=print)
    monkeypatch.setitem(sys.modules, "made_by_hand", made)  # type: ignore[arg-type]
    assert not mistakes(tmp_path, written("made_by_hand"))
    (line,) = mistakes(tmp_path, written("made_by_hand", "g"))
    assert line == FUNCTION_LINE + "made_by_hand has no function 'g'"


# ------------------------------------------------------------------ several, and with tools


def test_a_module_that_ends_python_is_blamed_alone(tmp_path: Path) -> None:
    (tmp_path / "ender.py").write_text("import os, sys\nsys.stderr.write('bye')\nos._exit(7)\n")
    (tmp_path / "after.py").write_text("def f(): ...\n")
    (tmp_path / "beyond.py").write_text("def g(): ...\n")
    tables = [
        f'[services.{name}]\nkind = "python"\nmodule = "{name}"\n'
        f'[tools.{name}]\ncalls.a = {{ service = "{name}", function = "f" }}\n'
        for name in ("after", "ender", "beyond")
    ]
    assert mistakes(tmp_path, "".join(tables)) == [
        "gateway.toml:8: services.ender.module: importing it ended Python with status 7: bye",
        "gateway.toml:15: tools.beyond.calls.a.function: beyond has no function 'f'",
    ]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        # A tool that is a function is not asked what it says if the file says all of it.
        (
            '[tools.w]\nfunction = "m:g"\ndescription = "x"\n[tools.w.input]\n',
            [":2: tools.w.function: m has no function 'g'"],
        ),
        (
            '[tools.w]\nfunction = "no_m:g"\ndescription = "x"\n[tools.w.input]\n',
            [":2: tools.w.function: expected an importable module"],
        ),
        ('[tools.w]\nfunction = "no_m:g"\n', [":2: tools.w.function: expected an importable module"]),
        # Of one mistake one line, where a tool of it has told it already too.
        (
            written("no_m") + '[tools.w]\nfunction = "no_m:g"\n',
            [":7: tools.w.function: expected an importable module"],
        ),
        (
            written("m", "g") + '[tools.w]\nfunction = "m:g"\n',
            [
                ":5: tools.t.calls.a.function: m has no function 'g'",
                ":7: tools.w.function: m has no function 'g'",
            ],
        ),
        # And everything else that is wrong is told in the same run.
        (
            written("no_m") + '[tools.w]\nfunction = "m:g"\n[tools.z]\ncalls.a = { service = "s" }\n',
            [
                ":3: services.s.module: expected an importable module",
                ":7: tools.w.function: m has no function 'g'",
                ":9: tools.z.calls.a",
            ],
        ),
    ],
)  # fmt: skip
def test_each_mistake_is_told_once(tmp_path: Path, text: str, lines: list[str]) -> None:
    (tmp_path / "m.py").write_text("def f(): ...\n")
    told = mistakes(tmp_path, text)
    assert len(told) == len(lines)
    for line, begin in zip(told, lines, strict=True):
        assert line.startswith("gateway.toml" + begin)
