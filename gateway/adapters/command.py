"""`kind = "command"`: a program that runs for each call. Never a shell.

Each placeholder is one argument, or a part of one, whatever it holds. At the deadline, and when the
client leaves, the call ends at once; its program gets SIGTERM, and SIGKILL `terminate_after` later,
and so does all that it started.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal

import attrs
import msgspec
import trio

from gateway.config import fields, values
from gateway.config.codec import Codec, decode_each, expected
from gateway.config.fields import Secret, reveal
from gateway.config.problems import Place, Refused
from gateway.config.secret import Redaction
from gateway.core.adapter import Environment, Kind
from gateway.core.errors import (
    BadReply,
    GatewayError,
    InvalidArguments,
    Overloaded,
    Rejected,
    Unreachable,
)
from gateway.core.messages import Chunk, Reply, Request
from gateway.core.service import Emit, Service
from gateway.net.json_text import decode_json
from gateway.net.process import Process, inherited
from gateway.net.programs import Programs

__all__ = ["KIND", "CommandAdapter", "CommandCall", "CommandSettings"]

_READ_BYTES = 65_536
_MAX_SAID = 4_096
"""Bytes of what a program said last on its standard error that are kept, for its failure."""

_OUTCOMES: Mapping[str, type[GatewayError] | None] = {
    "ok": None,
    "rejected": Rejected,
    "bad_reply": BadReply,
    "unreachable": Unreachable,
    "overloaded": Overloaded,
}
"""What an exit status may mean."""


def _statuses() -> Codec:
    wanted = 'a table of exit statuses such as { 1 = "ok", 255 = "unreachable" }'
    outcome = values.one_of(*_OUTCOMES)

    def decode_one(value: Any, place: Place) -> str:
        number = str(place.path[-1])
        if not number.isdecimal() or not 0 < int(number) <= 255:
            raise Refused("expected an exit status from 1 to 255")
        meant: str = outcome.decode(value, place)
        return meant

    def decode(value: Any, place: Place) -> dict[int, str]:
        if not isinstance(value, Mapping):
            raise expected(wanted, value)
        decoded = decode_each(value.items(), place, decode_one)
        return {int(number): meant for number, meant in decoded.items()}

    schema = {
        "type": "object",
        "propertyNames": {"pattern": "^[0-9]{1,3}$"},
        "additionalProperties": outcome.schema,
    }
    return Codec(decode=decode, wanted=wanted, schema=schema)


@attrs.frozen(slots=True, kw_only=True)
class CommandSettings:
    """`[services.NAME]` with `kind = "command"`."""

    program: tuple[str, ...] = fields.field(
        values.list_of(values.string(), wanted='a list such as ["ssh", "host"]'),
        doc="The program's name and its first arguments; found in PATH, or beside the file if it has a slash.",
    )
    directory: str | None = fields.string(
        default=None,
        doc="Where it runs, relative to the file; left out, in the file's own folder.",
    )
    environment: Mapping[str, str | Secret] = fields.variables(
        default={},
        doc="Variables it gets beside the harmless ones; may be `env:NAME` or `file:PATH`.",
    )
    max_output: int = fields.size(
        default="1MiB", doc="Largest output; more of it ends the program."
    )
    terminate_after: float = fields.duration(
        default="2s", doc="How long after SIGTERM it is killed, and all that it started."
    )
    max_processes: int = fields.integer(
        default=16,
        minimum=1,
        doc="Programs at once, those about to end included; further calls wait.",
    )
    statuses: Mapping[int, str] = fields.field(
        _statuses(),
        default={},
        doc="What exit statuses mean; 0 is `ok`, and each that is not here is `bad_reply`.",
    )


@attrs.frozen(slots=True, kw_only=True)
class CommandCall:
    """The keys of a call to a program."""

    arguments: Sequence[Any] = fields.strings(
        default=(), template="value", doc="Appended to `program`; each is one argument."
    )
    stdin: Any = fields.template_value(
        default=None, doc="What it reads: text as it is, any other value as JSON."
    )
    output: Literal["text", "json", "lines"] = fields.one_of(
        "text", "json", "lines", default="text", doc="What it writes; lines go out one by one."
    )
    dashes: bool = fields.boolean(
        default=False,
        doc="Whether an argument that is one placeholder may begin with a dash, and so be an option.",
    )


class CommandAdapter:
    """One program."""

    def __init__(self, settings: CommandSettings, environment: Environment) -> None:
        self._name = environment.service
        self._settings = settings
        self._directory = environment.directory.joinpath(settings.directory or "").resolve()
        if not self._directory.is_dir():
            raise ValueError(
                f"directory: expected a folder that is there, got {settings.directory}"
            )
        self._programs = Programs(self._name, settings.max_processes, settings.terminate_after)
        self._redact = Redaction(settings.environment.values())

    def bind(self, call: CommandCall, /) -> Service:
        """The `Service` of `call`: starts the program, and gives what it wrote."""
        # Which of the arguments are data alone: those before `--` might be taken for options.
        written = list(call.arguments)
        guarded = frozenset(
            index
            for index, text in enumerate(written)
            if not call.dashes and text.startswith("{") and "--" not in written[:index]
        )

        async def run(request: Request, emit: Emit, /) -> Reply:
            given = request.arguments
            words = [
                _word(index, value, guarded=index in guarded)
                for index, value in enumerate(given.get("arguments", written))
            ]
            stdin = _bytes(given.get("stdin"))
            said: deque[bytes] = deque()
            try:
                async with self._programs.run(
                    (*self._settings.program, *words), self._directory, self._variables()
                ) as process:
                    reader = _Reader(process, self._settings.max_output, call.output, emit)
                    output = await _converse(process, stdin, reader, said)
                    status = await process.wait()
            except OSError as error:
                why = error.strerror or type(error).__name__
                raise Unreachable(f"{self._name} cannot be started: {why}") from error
            failure = self._failure(status, b"".join(said))
            if failure is not None:
                raise failure
            return Reply(output())

        return run

    def _variables(self) -> dict[str, str]:
        own = {name: reveal(value) for name, value in self._settings.environment.items()}
        return {**inherited(os.environ), **own}

    def _failure(self, status: int, said: bytes) -> GatewayError | None:
        """What an exit status means; `None` if it is well."""
        meant = "ok" if status == 0 else self._settings.statuses.get(status, "bad_reply")
        kind = _OUTCOMES[meant]
        if kind is None:
            return None
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        shown = self._redact(said.decode("utf-8", "replace"))
        return kind(f"{self._name} ended {how}" + (f": {shown}" if shown else ""))

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Be ready to start programs; leaving waits for the end of those that are left."""
        async with self._programs.open():
            yield


class _Reader:
    """What a program writes, within its bound, in the form that is wanted.

    Args:
        process: The program.
        max_bytes: Of all of it.
        form: As `CommandCall.output`.
        emit: Takes each line, if lines are wanted.
    """

    def __init__(
        self, process: Process, max_bytes: int, form: Literal["text", "json", "lines"], emit: Emit
    ) -> None:
        self._stream = process.stdout
        self._max_bytes = max_bytes
        self._form = form
        self._emit = emit
        self._read = bytearray()
        self._lines: list[str] = []

    async def run(self) -> None:
        """Read all of it.

        Raises:
            BadReply: It is over the bound, or no text.
        """
        size = 0
        while data := await self._stream.receive_some(_READ_BYTES):
            size += len(data)
            if size > self._max_bytes:
                raise BadReply(f"the program's output is over {self._max_bytes} bytes")
            rest = bytes(data)
            if self._form == "lines":
                *ends, rest = rest.split(b"\n")
                for end in ends:
                    self._read += end
                    await self._tell()
            self._read += rest
        if self._form == "lines" and self._read:
            await self._tell()

    async def _tell(self) -> None:
        text = _text(bytes(self._read).removesuffix(b"\r"))
        self._read.clear()
        self._lines.append(text)
        await self._emit(Chunk(text))

    def __call__(self) -> Any:
        """The value of all of it.

        Raises:
            BadReply: It is not in the form that is wanted.
        """
        if self._form == "lines":
            return self._lines
        if self._form == "text":
            return _text(bytes(self._read))
        try:
            return decode_json(bytes(self._read))
        except ValueError as error:
            raise BadReply(f"the program's output is not JSON: {error}") from error


async def _converse(process: Process, stdin: bytes, reader: _Reader, said: deque[bytes]) -> _Reader:
    """Give a program what it reads, and take what it writes and says, until it has no more."""
    failure: GatewayError | None = None

    async def write() -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await process.stdin.send_all(stdin)  # it need not read all of it
        await process.stdin.aclose()

    async def listen() -> None:
        size = 0
        while data := await process.stderr.receive_some(_READ_BYTES):
            said.append(bytes(data)[-_MAX_SAID:])
            size += len(said[-1])
            while size - len(said[0]) >= _MAX_SAID:
                size -= len(said.popleft())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        nursery.start_soon(listen)
        try:
            await reader.run()
        except GatewayError as error:  # bare, whatever else ends with it
            failure = error
            nursery.cancel_scope.cancel()
        else:
            # What it started and left behind may hold its standard error open.
            nursery.cancel_scope.deadline = trio.current_time() + 1.0
    if failure is not None:
        raise failure
    return reader


def _word(index: int, value: Any, *, guarded: bool) -> str:
    """One argument.

    Raises:
        InvalidArguments: It cannot be one, or would be taken for an option.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    where = f"not called: arguments[{index}]"
    if not isinstance(value, str):
        shown = "null" if value is None else type(value).__name__
        raise InvalidArguments(f"{where}: expected text or a number, got {shown}")
    if "\0" in value:
        raise InvalidArguments(f"{where}: text with a null character is no argument")
    if guarded and value.startswith("-"):
        raise InvalidArguments(f"{where}: begins with a dash, and would be taken for an option")
    return value


def _bytes(value: Any) -> bytes:
    if value is None:
        return b""
    return value.encode() if isinstance(value, str) else msgspec.json.encode(value)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise BadReply("the program's output is not UTF-8 text") from error


KIND = Kind(settings=CommandSettings, call=CommandCall, create=CommandAdapter)
"""How `command` is declared."""
