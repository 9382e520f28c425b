"""A function of a module: what it takes, how it is called, and what comes of it."""

from __future__ import annotations

import copy
import inspect
import logging
import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

import attrs
import msgspec
import trio

from gateway.adapters.python.hints import NAMED, converted, hints_of, is_convertible, parameters_of
from gateway.core.content import Content, content_of
from gateway.core.errors import BadReply, GatewayError
from gateway.net.json_text import decode_json

__all__ = ["CALLER", "Function", "Limits", "Shape"]

logger = logging.getLogger("gateway.adapters.python")

Shape: TypeAlias = Literal["plain", "async", "generator", "async generator"]
"""How a function is run, and what it gives."""

_LEFT = object()
"""Stands for the seconds left until the function starts: waiting for its turn takes its part."""

CALLER = object()
"""Stands for the request's `Caller`."""


@attrs.frozen(slots=True)
class Limits:
    """What becomes of a value.

    Args:
        max_bytes: Of all of it as JSON.
        opaque: Whether content stays content: see `Request`.
    """

    max_bytes: int
    opaque: bool = False


@attrs.frozen(slots=True)
class Function:
    """A function and how it wants to be called.

    Args:
        name: Its own.
        function: Itself.
        shape: How it is run.
        signature: Its parameters; `None` where nothing tells them.
        types: What values are converted to, by the names of their parameters.
        takes_timeout: Whether it is given the seconds left.
        takes_caller: Whether it is given who waits.
        takes_all: Whether it takes arguments of every name.
    """

    name: str
    function: Callable[..., Any]
    shape: Shape = "plain"
    signature: inspect.Signature | None = None
    types: Mapping[str, Any] = attrs.field(factory=dict)
    takes_timeout: bool = False
    takes_caller: bool = False
    takes_all: bool = True

    @classmethod
    def of(cls, name: str, function: Callable[..., Any]) -> Function:
        """What is known of `function` without calling it."""
        shape = _shape_of(function)
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):  # some of C have none
            return cls(name, function, shape)
        kinds = {parameter.kind for parameter in signature.parameters.values()}
        return cls(
            name,
            function,
            shape,
            signature,
            _types_of(function, signature),
            "timeout" in signature.parameters,
            "caller" in signature.parameters,
            inspect.Parameter.VAR_KEYWORD in kinds,
        )

    def bound_here(self) -> str:
        """What keeps it from running in another process; empty if nothing does."""
        if self.shape.startswith("async"):
            return (
                "is async: it runs on the loop; processes take blocking functions, "
                "so give it a service of its own without processes"
            )
        if self.takes_caller:
            return (
                "takes caller, which nothing in another process can reach; "
                "give it a service of its own without processes"
            )
        return ""

    def takes(self) -> list[str] | None:
        """The names of what it can be given; `None` where it takes, or may take, any."""
        if self.signature is None or self.takes_all:
            return None
        parameters = self.signature.parameters.values()
        return [one.name for one in parameters if one.kind in NAMED]

    def needs(self) -> list[str]:
        """The names of what it has to be given by its call."""
        if self.signature is None:
            return []
        own = parameters_of(self.signature).items()
        return [name for name, one in own if one.default is inspect.Parameter.empty]

    def fit(self, values: Mapping[str, Any], *, given: bool) -> dict[str, Any]:
        """The keyword arguments of one call, as JSON.

        Args:
            values: The call's own arguments, or all of the tool's inputs.
            given: Whether they are the call's own: then none is left out.

        Raises:
            BadReply: They do not fit the function.
        """
        arguments: dict[str, Any] = dict(values)
        if self.signature is None:
            return arguments
        if not given and not self.takes_all:
            known = self.signature.parameters
            arguments = {name: value for name, value in arguments.items() if name in known}
        if self.takes_timeout and not (given and "timeout" in values):
            arguments["timeout"] = _LEFT
        if self.takes_caller:
            arguments.setdefault("caller", CALLER)
        try:
            self.signature.bind(**arguments)
        except TypeError as error:
            raise BadReply(f"{self.name}() does not take these arguments: {error}") from error
        return arguments

    def typed(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments as the function's own: as it hints them, and nobody else's to see changed.

        Raises:
            InvalidArguments: One is not of its type.
        """
        own = {name: value for name, value in arguments.items() if self.is_given(value)}
        ours = {name: value for name, value in arguments.items() if name not in own}
        # A function may change what it is given, and other calls read the same values.
        return converted(self.name, self.types, copy.deepcopy(own)) | ours

    @staticmethod
    def is_given(value: Any) -> bool:
        """Whether an argument came with the call, and does not stand for one of ours."""
        return value is not _LEFT and value is not CALLER

    async def run(self, arguments: Mapping[str, Any], left_s: float, limits: Limits) -> Any:
        """Await the function; its value as JSON types, or content to who looks into nothing.

        Raises:
            GatewayError: What it raised; a value without a JSON form, or one that is too large.
        """
        try:
            return self.value(await self.function(**timed(arguments, left_s)), limits)
        except (Exception, SystemExit) as error:
            raise self.failure(error) from error

    def run_sync(self, arguments: Mapping[str, Any], left_s: float, limits: Limits) -> Any:
        """As `run`, in this thread, `left_s` before its deadline."""
        try:
            return self.value(self.function(**timed(arguments, left_s)), limits)
        except trio.Cancelled:  # it called back into the loop, and nobody waits any more
            raise
        except BaseException as error:
            # No signal arrives in a thread: whatever is raised here is the function's own.
            raise self.failure(error) from error

    def begin(
        self, arguments: Mapping[str, Any], left_s: float
    ) -> Iterator[Any] | AsyncIterator[Any]:
        """What a generator yields: nothing of it has run yet."""
        return self.function(**timed(arguments, left_s))  # type: ignore[no-any-return]

    def failure(self, error: BaseException) -> GatewayError:
        """A gateway error that the function raised speaks to the caller; of others, the type does.

        Their message may hold anything, secrets too: it goes to the log.
        """
        if isinstance(error, GatewayError) and _has_json_form(error.problem()):
            return error
        logger.warning("%s() raised", self.name, exc_info=error)
        return BadReply(f"{self.name}() raised {type(error).__name__}")

    def value(self, value: Any, limits: Limits) -> Any:
        """A value that it gave, as `run` gives it.

        Raises:
            BadReply: It has no JSON form, or is too large.
        """
        content, decoded, _ = self.weighed(value, limits.max_bytes)
        return content if content is not None and limits.opaque else decoded

    def weighed(self, value: Any, max_bytes: int) -> tuple[Content | None, Any, int]:
        """A value that it gave: as content if it is some, as JSON types, and its bytes as JSON.

        Raises:
            BadReply: It has no JSON form, or is too large.
        """
        try:
            content = content_of(value)
            encoded = msgspec.json.encode(value) if content is None else bytes(content.value)
            if len(encoded) > max_bytes:
                raise BadReply(f"{self.name}() gave over {max_bytes} bytes of JSON")
            # There and back: what is left is JSON's types alone, lists where tuples were, and it is
            # known to be nested no deeper than may be, where it stays content too.
            return content, decode_json(encoded), len(encoded)
        except (TypeError, ValueError, RecursionError) as error:
            raise BadReply(f"{self.name}() returned what has no JSON form: {error}") from error


def timed(arguments: Mapping[str, Any], left_s: float) -> Mapping[str, Any]:
    """`arguments` with the seconds left now, where the function takes them."""
    if arguments.get("timeout") is not _LEFT:
        return arguments
    return {**arguments, "timeout": None if left_s == math.inf else left_s}


def _shape_of(function: Callable[..., Any]) -> Shape:
    for one in (function, getattr(function, "__call__", None)):  # noqa: B004 - the method itself is inspected
        if inspect.isasyncgenfunction(one):
            return "async generator"
        if inspect.isgeneratorfunction(one):
            return "generator"
        if inspect.iscoroutinefunction(one):
            return "async"
    return "plain"


def _types_of(function: Callable[..., Any], signature: inspect.Signature) -> dict[str, Any]:
    """The types of parameters that JSON can be converted to; a wrong hint is as none."""
    try:
        hints = hints_of(function)
    except Exception:  # noqa: BLE001 - hints are code of the user's: they may raise anything
        return {}
    names = parameters_of(signature)
    return {name: hints[name] for name in names if name in hints and is_convertible(hints[name])}


def _has_json_form(value: Any) -> bool:
    """Whether `value` can be sent: text of the system's may hold lone surrogates."""
    try:
        msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
