"""Functions as the file names them: whether they are there, and what they say of themselves as tools.

A file is read in processes that never serve: `gateway check`, a supervisor. What the user's module
does when it is imported (threads, connections) is for those that do, and so is a module that changed.
So what is not imported here already is imported in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs

from gateway.adapters.python.description import look_at
from gateway.adapters.python.modules import present

__all__ = ["Described", "Named", "describe_functions"]

Named: TypeAlias = tuple[str, str, Path]
"""A module, a function of it, and the folder of the file that names them; without a function `""`."""

_LONGEST_S = 20.0
_MAX_SAID = 300

_PROGRAM = """
import json, os, sys
asked = json.load(sys.stdin)
sys.path[:] = asked["path"]
answer = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)  # what the user's modules print is no answer
from gateway.adapters.python.description import main
main(asked, answer.write)
os._exit(0)  # nor are threads of theirs waited for
"""


@attrs.frozen(slots=True, kw_only=True)
class Described:
    """What is known of a function.

    Args:
        description: Its docstring's first paragraph.
        input: The JSON Schema of its arguments.
        output: The JSON Schema of what it returns, where it says so.
        problem: What is wrong; empty if nothing is.
        wrong: What that is: the `module` cannot be imported, it has no such `function`, or no `tool`
            can be made of it, which may be for what is not known.
        takes: The names of its arguments; `None` where it may take any.
        needs: Those that it has to be given.
        bound_here: What keeps it from running in a worker process; empty if nothing does.
    """

    description: str = ""
    input: dict[str, Any] = attrs.field(factory=dict)
    output: dict[str, Any] | None = None
    problem: str = ""
    wrong: Literal["", "module", "function", "tool"] = ""
    takes: list[str] | None = None
    needs: list[str] = attrs.field(factory=list)
    bound_here: str = ""


def describe_functions(functions: Mapping[Named, bool]) -> dict[Named, Described]:
    """What is known of functions.

    Args:
        functions: Which, and whether each is a tool, and so is to say what one of it is.

    Returns:
        One for each. It blocks until all modules are imported, 20 seconds at most; each is imported
        once.
    """
    found: dict[Named, Described] = {}
    elsewhere: list[tuple[Named, bool]] = []
    for each, is_tool in functions.items():
        module, name, folder = each
        here = present(module, folder)
        if here is None:
            elsewhere.append((each, is_tool))
        else:
            said = look_at(here, name, known_as=module, is_tool=is_tool)
            found[each] = Described(**said)
    elsewhere.sort(key=lambda one: _module_of(one[0]))
    until = time.monotonic() + _LONGEST_S
    while elsewhere:
        heard = _ask(elsewhere, until - time.monotonic())
        found.update(zip((each for each, _ in elsewhere), heard.said, strict=False))
        elsewhere = elsewhere[len(heard.said) :]
        # The module that it was at is not asked again; the others are, if that one is to blame.
        lost = [
            each
            for each, _ in elsewhere
            if not heard.blames or _module_of(each) == _module_of(elsewhere[0][0])
        ]
        wrong = Described(problem=heard.problem, wrong="module" if heard.blames else "tool")
        found.update(dict.fromkeys(lost, wrong))
        elsewhere = [one for one in elsewhere if one[0] not in lost]
    return found


def _module_of(function: Named) -> tuple[str, str]:
    module, _, folder = function
    return module, str(folder)


@attrs.frozen(slots=True)
class _Heard:
    """What a process has said.

    Args:
        said: Of one function after the other, as far as it came.
        problem: Why it came no further, if it did not.
        blames: Whether the module that it was at is to blame for that.
    """

    said: list[Described]
    problem: str
    blames: bool = False


def _ask(functions: Sequence[tuple[Named, bool]], left_s: float) -> _Heard:
    """Have a process look at functions, `left_s` at most."""
    question = {
        "path": [str(folder) for folder in sys.path],
        "functions": [
            [module, name, str(folder.resolve()), is_tool]
            for (module, name, folder), is_tool in functions
        ],
    }
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", _PROGRAM],
            input=json.dumps(question).encode(),
            capture_output=True,
            timeout=max(0.0, left_s),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return _Heard(_read(error.stdout), f"importing it takes longer than {_LONGEST_S:g} s")
    except (OSError, ValueError) as error:
        return _Heard([], f"nothing can be learnt of it: {type(error).__name__}: {error}")
    last = (done.stderr.decode(errors="replace").strip().splitlines() or [""])[-1]
    problem = f"importing it ended Python with status {done.returncode}: {last[:_MAX_SAID]}"
    return _Heard(_read(done.stdout), problem, blames=True)


def _read(answer: bytes | None) -> list[Described]:
    """What the whole lines of an answer say."""
    return [Described(**json.loads(line)) for line in (answer or b"").split(b"\n")[:-1]]
