"""What worker processes do. This runs there; what goes to and fro is plain data.

Arguments and values are JSON, failures their code and words: neither the module's own types nor its
exceptions need to be known on the other side.
"""

from __future__ import annotations

import functools
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import msgspec
from structlog.contextvars import bound_contextvars

from gateway.adapters.python.function import Function, Limits
from gateway.adapters.python.items import gathered
from gateway.adapters.python.modules import function_of, imported
from gateway.core.content import Content
from gateway.core.errors import ERRORS, BadReply, GatewayError
from gateway.telemetry.logs import LogForm, configure

__all__ = ["Done", "Failed", "Job", "Module", "Value", "do", "prepare", "ready"]


@attrs.frozen(slots=True)
class Module:
    """A module of a service.

    Args:
        name: Its name in the file.
        directory: The file's folder.
        functions: The names of those that are called.
    """

    name: str
    directory: Path
    functions: tuple[str, ...]


@attrs.frozen(slots=True, kw_only=True)
class Job:
    """One call.

    Args:
        module: The function's.
        function: Its name.
        arguments: What it is given by name, as JSON; a time left is not among it.
        left_s: Seconds of the budget that are left; inf if there is no limit.
        limits: What becomes of its value.
        context: What its log lines say beside their own.
    """

    module: Module
    function: str
    arguments: bytes
    left_s: float
    limits: Limits
    context: Mapping[str, str]


@attrs.frozen(slots=True)
class Value:
    """What a function gave, as JSON.

    Args:
        json: The value.
        blocks: Its blocks, if it is content that stays content; else `None`.
        structured: As `Content` has it.
    """

    json: bytes
    blocks: tuple[bytes, ...] | None = None
    structured: bool = False

    def decoded(self) -> Any:
        """The value, or the content."""
        if self.blocks is None:
            return msgspec.json.decode(self.json)
        blocks = tuple(msgspec.Raw(block) for block in self.blocks)
        return Content(blocks, msgspec.Raw(self.json), structured=self.structured)


@attrs.frozen(slots=True)
class Failed:
    """How a function failed.

    Args:
        code: The error's on the wire.
        detail: Its words for the caller.
        fields: What else it is made with.
    """

    code: str
    detail: str
    fields: Mapping[str, Any]

    @classmethod
    def of(cls, error: GatewayError) -> Failed:
        """`error` as data."""
        kept = ("call", "service", "retry_after_s", "errors", "service_status")
        return cls(error.code, error.detail, {name: getattr(error, name) for name in kept})

    def error(self) -> GatewayError:
        """The error again."""
        kind = next((kind for kind in ERRORS if kind.code == self.code), BadReply)
        return kind(self.detail, **self.fields)


Done = Value | Failed
"""What comes of a job."""


def prepare(log: LogForm | None) -> None:
    """Be a worker process: heed no signal but a kill, end with the gateway, log as it does."""
    # A terminal and a service manager send theirs to every process: the gateway drains first.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_gateway, name="gateway's end", daemon=True).start()
    if log is None:
        logging.basicConfig(stream=sys.stderr)
    else:
        configure(**log._asdict())


def _end_with_the_gateway() -> None:
    """Whoever computes reads no pipe: without this it would go on for nobody."""
    gateway = multiprocessing.parent_process()
    if gateway is not None:
        gateway.join()
        os._exit(1)


def ready(module: Module) -> str | None:
    """Have the module imported; what is wrong with it, if something is."""
    try:
        for name in module.functions:
            _function(module, name)
    except ValueError as error:
        return str(error)
    return None


def do(job: Job) -> Done:
    """Call a function."""
    try:
        with bound_contextvars(**job.context):
            return _done(job, _function(job.module, job.function))
    except GatewayError as error:
        return Failed.of(error)


def _done(job: Job, function: Function) -> Value:
    arguments = function.typed(function.fit(msgspec.json.decode(job.arguments), given=True))
    limits = job.limits
    if function.shape == "generator":
        value: Any = gathered(function, arguments, job.left_s, limits.max_bytes)
    else:
        value = function.run_sync(arguments, job.left_s, limits)
    if isinstance(value, Content):
        blocks = tuple(bytes(block) for block in value.blocks)
        return Value(bytes(value.value), blocks, structured=value.structured)
    return Value(msgspec.json.encode(value))


@functools.cache
def _function(module: Module, name: str) -> Function:
    """The function `name`, its module imported once.

    Raises:
        ValueError: As `imported` and `function_of` do.
    """
    found = function_of(imported(module.name, module.directory), name, module.name)
    return Function.of(name, found)
