"""Functions as whole tools: what they say of themselves, asked of them in a process of its own.

A file is read in processes that never serve: `gateway check`, a supervisor. What the user's module
does when it is imported (threads, connections) is for those that do, and so is a module that changed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

__all__ = ["Described", "describe_functions"]

_LONGEST_S = 20.0
_MAX_SAID = 300

_PROGRAM = """
import json, os, sys
asked = json.load(sys.stdin)
sys.path[:] = asked["path"]
answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the user's modules print is no answer
from gateway.adapters.python.description import main
main(asked, answer.write)
answer.flush()
os._exit(0)  # nor are threads of theirs waited for
"""


@attrs.frozen(slots=True, kw_only=True)
class Described:
    """What a function says of itself.

    Args:
        description: Its docstring's first paragraph.
        input: The JSON Schema of its arguments.
        output: The JSON Schema of what it returns, where it says so.
        problem: Why no tool can be made of it; empty if one can.
    """

    description: str = ""
    input: dict[str, Any] = attrs.field(factory=dict)
    output: dict[str, Any] | None = None
    problem: str = ""


def describe_functions(functions: Sequence[tuple[str, str, Path]]) -> list[Described]:
    """What functions say of themselves.

    Args:
        functions: For each its module, its name, and the folder of the file that names it.

    Returns:
        One for each, in their order. It blocks until all modules are imported, 20 seconds at most.
    """
    asked = {
        "path": [str(folder) for folder in sys.path],
        "functions": [[module, name, str(folder.resolve())] for module, name, folder in functions],
    }
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", _PROGRAM],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            check=True,
        )
        return [Described(**one) for one in json.loads(done.stdout)]
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or [""])[-1]
        problem = f"importing it ended Python with status {error.returncode}: {last[:_MAX_SAID]}"
    except subprocess.TimeoutExpired:
        problem = f"importing it takes longer than {_LONGEST_S:g} s"
    except (OSError, ValueError) as error:
        problem = f"nothing can be learnt of it: {type(error).__name__}: {error}"
    return [Described(problem=problem) for _ in functions]
