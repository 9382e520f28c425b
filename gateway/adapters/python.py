"""`kind = "python"`: functions of a Python module, blocking or async.

Blocking ones run in threads under the service's own limiter; async ones (Trio, anyio) run on the
loop. A thread cannot be stopped: when its request goes away it is abandoned, keeps its place in
the limiter, and is counted until it ends.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import logging
import math
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import msgspec
import trio

from gateway.config import fields
from gateway.core.adapter import Environment, Kind
from gateway.core.caller import Caller
from gateway.core.content import content_of
from gateway.core.deadline import remaining_s
from gateway.core.errors import BadReply, GatewayError, Unreachable
from gateway.core.messages import Reply, Request
from gateway.core.service import Emit, Service
from gateway.net.json_text import decode_json
from gateway.net.threads import Threads
from gateway.telemetry.logs import shared

__all__ = ["KIND", "PythonAdapter", "PythonCall", "PythonSettings"]

logger = logging.getLogger(__name__)

Function = Callable[..., Any]

_LEFT = object()
"""Stands for the seconds left until the function starts: waiting for a thread takes its part."""

_CALLER = object()
"""Stands for the request's `Caller`."""


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


@attrs.frozen(slots=True, kw_only=True)
class PythonCall:
    """The keys of a call to a Python function."""

    function: str = fields.matching(
        r"[A-Za-z_]\w*", wanted="the name of a function", doc="The function's name in the module."
    )
    arguments: Mapping[str, Any] | None = fields.template_mapping(
        default=None, doc="Keyword arguments. Left out: the tool's inputs of the same names."
    )


class PythonAdapter:
    """One Python module."""

    def __init__(self, settings: PythonSettings, environment: Environment) -> None:
        self._name = environment.service
        self._settings = settings
        self._directory = environment.directory
        self._limiter = trio.CapacityLimiter(settings.threads)
        self._threads = Threads(environment.service, environment.record, self._limiter)
        self._functions: dict[str, _Function] = {}

    def bind(self, call: PythonCall, /) -> Service:
        """The `Service` of `call`; the module is imported when the service opens."""
        name = call.function
        given = call.arguments is not None
        self._functions.setdefault(name, _UNOPENED)

        async def invoke(request: Request, emit: Emit, /) -> Reply:
            function = self._functions[name]
            if function is _UNOPENED:
                raise Unreachable(f"{self._name} is not open")
            arguments = function.fit(request.arguments.get("arguments") or {}, given=given)
            if arguments.get("caller") is _CALLER:
                arguments["caller"] = Caller(request.context.peer, emit)
            with shared():
                if function.is_async:
                    return Reply(await function.run(arguments, opaque=request.opaque))
                run = partial(function.run_sync, arguments, opaque=request.opaque)
                return Reply(await self._threads.run(run))

        return invoke

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Import the module and find the functions.

        Raises:
            ValueError: The module cannot be imported, or lacks a function.
        """
        place = f"services.{self._name}"
        try:
            module = _imported(self._settings.module, self._directory)
        except (Exception, SystemExit) as error:
            raise ValueError(
                f"{place}.module: expected an importable module, got {self._settings.module!r}: "
                f"{type(error).__name__}: {error}"
            ) from error
        for name in self._functions:
            found = getattr(module, name, None)
            if not callable(found):
                raise ValueError(f"{place}: {self._settings.module} has no function {name!r}")  # noqa: TRY004 - the file is wrong, not a type
            if inspect.isgeneratorfunction(found) or inspect.isasyncgenfunction(found):
                raise ValueError(
                    f"{place}: {self._settings.module}.{name} is a generator: "
                    "streaming functions are not available in this version"
                )
            self._functions[name] = _Function.of(name, found)
        yield


@attrs.frozen(slots=True)
class _Function:
    """A function and how it wants to be called."""

    name: str
    function: Function
    is_async: bool
    signature: inspect.Signature | None
    takes_timeout: bool
    takes_caller: bool
    takes_all: bool

    @classmethod
    def of(cls, name: str, function: Function) -> _Function:
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):  # some of C have none
            return cls(name, function, False, None, False, False, True)
        kinds = {parameter.kind for parameter in signature.parameters.values()}
        return cls(
            name,
            function,
            inspect.iscoroutinefunction(function)
            or inspect.iscoroutinefunction(getattr(function, "__call__", None)),  # noqa: B004 - the method itself is inspected
            signature,
            "timeout" in signature.parameters,
            "caller" in signature.parameters,
            inspect.Parameter.VAR_KEYWORD in kinds,
        )

    def fit(self, values: Mapping[str, Any], *, given: bool) -> dict[str, Any]:
        """The keyword arguments of one call.

        Args:
            values: The call's own arguments, or all of the tool's inputs.
            given: Whether they are the call's own: then none is left out.

        Raises:
            BadReply: They do not fit the function.
        """
        # Its own: a function may change what it is given, and other calls read the same values.
        arguments: dict[str, Any] = copy.deepcopy(dict(values))
        if self.signature is None:
            return arguments
        if not given and not self.takes_all:
            known = self.signature.parameters
            arguments = {name: value for name, value in arguments.items() if name in known}
        if self.takes_timeout and not (given and "timeout" in values):
            arguments["timeout"] = _LEFT
        if self.takes_caller:
            arguments.setdefault("caller", _CALLER)
        try:
            self.signature.bind(**arguments)
        except TypeError as error:
            raise BadReply(f"{self.name}() does not take these arguments: {error}") from error
        return arguments

    async def run(self, arguments: Mapping[str, Any], *, opaque: bool) -> Any:
        """Await the function; its value as JSON types, or content to who is `opaque`."""
        try:
            timed = _timed(arguments, remaining_s())
            return _value(self.name, await self.function(**timed), opaque=opaque)
        except (Exception, SystemExit) as error:
            raise self._failure(error) from error

    def run_sync(self, arguments: Mapping[str, Any], left_s: float, *, opaque: bool) -> Any:
        """As `run`, in this thread, `left_s` before its deadline."""
        try:
            value = self.function(**_timed(arguments, left_s))
            return _value(self.name, value, opaque=opaque)
        except trio.Cancelled:  # it called back into the loop, and nobody waits any more
            raise
        except BaseException as error:
            # No signal arrives in a thread: whatever is raised here is the function's own.
            raise self._failure(error) from error

    def _failure(self, error: BaseException) -> GatewayError:
        """A gateway error that the function raised speaks to the caller; of others, the type does.

        Their message may hold anything, secrets too: it goes to the log.
        """
        if isinstance(error, GatewayError) and _has_json_form(error.problem()):
            return error
        logger.warning("%s() raised", self.name, exc_info=error)
        return BadReply(f"{self.name}() raised {type(error).__name__}")


def _imported(name: str, directory: Path) -> ModuleType:
    """The module `name`: the one beside the file if it is there, else an installed one.

    Two files may have modules of one name beside them, and a process has one of each name: the
    second is loaded under a name of its own.
    """
    folder = directory.resolve()
    top, _, below = name.partition(".")
    stem = folder.joinpath(*name.split("."))
    if not (stem.with_suffix(".py").is_file() or (stem / "__init__.py").is_file()):
        return importlib.import_module(name)
    package = folder / top
    file = package / "__init__.py" if package.is_dir() else package.with_suffix(".py")
    if _is_found_at(top, file):
        return importlib.import_module(name)
    own = f"_{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}_{top}"
    if own not in sys.modules:
        _load(own, file)
    return importlib.import_module(f"{own}.{below}" if below else own)


def _is_found_at(top: str, file: Path) -> bool:
    """Whether an import of `top` gives what is at `file`."""
    found = importlib.util.find_spec(top)
    if found is None:
        return False
    places = found.submodule_search_locations
    if found.origin is None:  # a package without a file of its own: searched from the first on
        return file.parent in {Path(place).resolve() for place in list(places or ())[:1]}
    return Path(found.origin).resolve() == file.resolve()


def _load(name: str, file: Path) -> None:
    """Make the module or the package at `file` importable as `name`."""
    if file.is_file():
        spec = importlib.util.spec_from_file_location(name, file)
    else:
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(file.parent)]
    if spec is None:
        raise ImportError(f"cannot load {file.name}")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        if spec.loader is not None:
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _timed(arguments: Mapping[str, Any], left_s: float) -> Mapping[str, Any]:
    """`arguments` with the seconds left now, where the function takes them."""
    if arguments.get("timeout") is not _LEFT:
        return arguments
    return {**arguments, "timeout": None if left_s == math.inf else left_s}


def _unopened() -> None: ...


_UNOPENED = _Function.of("", _unopened)


def _has_json_form(value: Any) -> bool:
    """Whether `value` can be sent: text of the system's may hold lone surrogates."""
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _value(name: str, value: Any, *, opaque: bool) -> Any:
    try:
        content = content_of(value)
        if content is not None:
            # Decoded even where it stays as it is: so it is known to be nested no deeper.
            decoded = decode_json(bytes(content.value))
            return content if opaque else decoded
        # There and back: what is left is JSON's types alone, lists where tuples were.
        return decode_json(msgspec.json.encode(value))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadReply(f"{name}() returned what has no JSON form: {error}") from error


KIND = Kind(
    settings=PythonSettings,
    call=PythonCall,
    create=PythonAdapter,
    inputs_key="arguments",
)
"""How `python` is declared."""
