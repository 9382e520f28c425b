"""The keys of `[services.NAME]` with `kind = "python"`, and of a call to one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from gateway.config import fields

__all__ = ["PythonCall", "PythonSettings"]


@attrs.frozen(slots=True, kw_only=True)
class PythonSettings:
    """`[services.NAME]` with `kind = "python"`."""

    module: str = fields.matching(
        r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*",
        wanted='a module such as "mycompany.directory"',
        doc="The module whose functions are called; beside the file, or installed.",
    )
    threads: int = fields.integer(
        default=8, minimum=1, doc="Blocking functions that run at once; further ones wait."
    )
    processes: int = fields.integer(
        default=0,
        minimum=0,
        maximum=256,
        doc="Worker processes that blocking functions run in, instead of threads; 0 is none.",
    )
    max_reply: int = fields.size(
        default="8MiB", doc="Largest reply as JSON; all that a generator yields together."
    )


@attrs.frozen(slots=True, kw_only=True)
class PythonCall:
    """The keys of a call to a Python function."""

    function: str = fields.matching(
        r"[A-Za-z_]\w*", wanted="the name of a function", doc="The function's name in the module."
    )
    arguments: Mapping[str, Any] | None = fields.template_mapping(
        default=None, doc="Keyword arguments. Left out: the tool's inputs of the same names."
    )
