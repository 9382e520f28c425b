"""`kind = "files"`: files below a folder, read only.

No path leads out of it: not by `..`, not by an absolute path, not by a link. Reading blocks, so it is
done in threads of the service's own.
"""

from __future__ import annotations

import base64
import contextlib
import mimetypes
import os
import stat
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Literal

import attrs
import trio

from gateway.config import fields
from gateway.core.adapter import Environment, Kind
from gateway.core.errors import BadReply, InvalidArguments, Rejected, Unreachable
from gateway.core.messages import Reply, Request
from gateway.core.service import Emit, Service
from gateway.net.json_text import decode_json
from gateway.net.threads import Threads
from gateway.telemetry.events import PlacesMade

__all__ = ["KIND", "FilesAdapter", "FilesCall", "FilesSettings"]

_NOT_FOUND = 404
_READ_BYTES = 256 * 1024


@attrs.frozen(slots=True, kw_only=True)
class FilesSettings:
    """`[services.NAME]` with `kind = "files"`."""

    root: str = fields.string(doc="The folder, relative to the file; nothing outside it is read.")
    max_size: int = fields.size(default="1MiB", doc="Largest file that is read.")
    max_entries: int = fields.integer(
        default=1000, minimum=1, doc="How many names of a folder are listed."
    )
    hidden: bool = fields.boolean(
        default=False, doc="Whether names that begin with a dot are there."
    )
    threads: int = fields.integer(default=4, minimum=1, doc="Files that are read at once.")


@attrs.frozen(slots=True, kw_only=True)
class FilesCall:
    """The keys of a call for a file."""

    path: str = fields.template_text(
        default=attrs.NOTHING, doc="Which one, below the root; of a folder, its names are given."
    )
    output: Literal["auto", "text", "base64", "json"] = fields.one_of(
        "auto",
        "text",
        "base64",
        "json",
        default="auto",
        doc="As what: `auto` is text where it is UTF-8, else base64, in an object that says which.",
    )


class FilesAdapter:
    """One folder."""

    def __init__(self, settings: FilesSettings, environment: Environment) -> None:
        self._name = environment.service
        self._settings = settings
        self._root = environment.directory.joinpath(settings.root).resolve()
        limiter = trio.CapacityLimiter(settings.threads)
        self._threads = Threads(environment.service, environment.record, limiter)
        environment.record(PlacesMade(environment.service, "threads", limiter))
        self._folder: int | None = None

    def bind(self, call: FilesCall, /) -> Service:
        """The `Service` of `call`: reads one file, or lists one folder."""

        async def read(request: Request, _emit: Emit, /) -> Reply:
            parts = self._parts(request.arguments["path"])
            if self._folder is None:
                raise Unreachable(f"{self._name} is not open")
            work = partial(self._read, self._folder, parts, call.output)
            return Reply(await self._threads.run(work))

        return read

    def _parts(self, path: str) -> list[str]:
        """The names that a path leads through.

        Raises:
            InvalidArguments: It leads out, or is none.
        """
        parts = [part for part in path.split("/") if part not in {"", "."}]
        if path.startswith("/") or ".." in parts or "\0" in path or "\\" in path:
            raise InvalidArguments("not called: expected a path below the folder, without ..")
        if not self._settings.hidden and any(part.startswith(".") for part in parts):
            raise self._absent(path)
        return parts

    @staticmethod
    def _absent(path: str) -> Rejected:
        return Rejected(f"there is no file {path[:200]!r}", service_status=_NOT_FOUND)

    def _read(self, folder: int, parts: list[str], output: str, _left_s: float, /) -> Any:
        """What a file or a folder holds; in a thread."""
        shown = "/".join(parts)
        try:
            opened = _opened(folder, parts)
        except (
            OSError
        ) as error:  # links, missing ones, what may not be read: all the same to clients
            raise self._absent(shown) from error
        try:
            state = os.fstat(opened)
            if stat.S_ISDIR(state.st_mode):
                return self._listed(opened)
            if not stat.S_ISREG(state.st_mode):
                raise self._absent(shown)
            data = self._whole(opened, shown)
        finally:
            os.close(opened)
        return _shown(data, output, shown)

    def _whole(self, opened: int, shown: str) -> bytes:
        most = self._settings.max_size
        data = bytearray()
        while len(data) <= most:
            piece = os.read(opened, min(_READ_BYTES, most + 1 - len(data)))
            if not piece:
                return bytes(data)
            data += piece
        raise BadReply(f"{shown!r} is over {most} bytes")

    def _listed(self, opened: int) -> dict[str, Any]:
        most = self._settings.max_entries
        names: list[dict[str, Any]] = []
        with os.scandir(opened) as entries:
            for entry in entries:
                if entry.name.startswith(".") and not self._settings.hidden:
                    continue
                is_folder = entry.is_dir(follow_symlinks=False)
                if not is_folder and not entry.is_file(follow_symlinks=False):
                    continue  # a link, a pipe: they are not there
                size = None if is_folder else entry.stat(follow_symlinks=False).st_size
                names.append({"name": entry.name, "folder": is_folder, "size": size})
                if len(names) > most:
                    break
        listed = sorted(names[:most], key=lambda one: one["name"])
        return {"entries": listed, "complete": len(names) <= most}

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Open the folder.

        Raises:
            ValueError: It is not there.
        """
        try:
            self._folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise ValueError(
                f"services.{self._name}.root: expected a folder that can be read: {error.strerror}"
            ) from error
        try:
            yield
        finally:
            os.close(self._folder)
            self._folder = None


def _opened(folder: int, parts: list[str]) -> int:
    """A file or a folder below `folder`, opened name by name: no link is followed.

    Raises:
        OSError: There is none, or it may not be read.
    """
    current = os.dup(folder)
    for part in parts:
        above = current
        try:
            # Without O_NONBLOCK a pipe that nobody writes to would hold the thread.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            current = os.open(part, flags, dir_fd=above)
        finally:
            os.close(above)
    return current


def _shown(data: bytes, output: str, name: str) -> Any:
    if output == "json":
        try:
            return decode_json(data)
        except ValueError as error:
            raise BadReply(f"{name!r} is not JSON: {error}") from error
    try:
        text = None if output == "base64" else data.decode()
    except UnicodeDecodeError as error:
        if output == "text":
            raise BadReply(f"{name!r} is not UTF-8 text") from error
        text = None
    encoded = base64.b64encode(data).decode() if text is None else None
    if output != "auto":
        return encoded if text is None else text
    media_type = mimetypes.guess_type(name)[0] or (
        "application/octet-stream" if text is None else "text/plain"
    )
    content = {"base64": encoded} if text is None else {"text": text}
    return {"name": name, "mime_type": media_type, "size": len(data), **content}


KIND = Kind(
    settings=FilesSettings,
    call=FilesCall,
    create=FilesAdapter,
    idempotent=lambda _call: True,
    read_only=lambda _call: True,
)
"""How `files` is declared."""
