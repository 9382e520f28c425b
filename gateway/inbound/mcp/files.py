"""Files that prompts and resources are read from, each time anew: what is changed is seen."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from gateway.core.errors import Internal, NotFound, TooLarge
from gateway.net.threads import Threads

if TYPE_CHECKING:
    from gateway.core.adapter import Record

__all__ = ["MAX_FILE", "Files", "content_of"]

MAX_FILE: Final = 4_194_304
"""Bytes of a file that is offered."""

_AT_ONCE = 4


class Files:
    """Reads files in threads.

    Args:
        record: Where events go.
    """

    def __init__(self, record: Record) -> None:
        self._threads = Threads("files", record, trio.CapacityLimiter(_AT_ONCE))

    async def read(self, path: Path) -> bytes:
        """The content of a file.

        Raises:
            NotFound: It is gone.
            TooLarge: It is over `MAX_FILE`.
            Internal: It cannot be read.

        Cancellation: a thread that still reads is left to end.
        """
        try:
            return await self._threads.run(lambda _left_s: content_of(path))
        except FileNotFoundError:
            raise NotFound("its file is gone") from None
        except ValueError as error:
            raise TooLarge(str(error)) from None
        except OSError as error:
            raise Internal("a file cannot be read") from error

    async def stamp(self, path: Path) -> str:
        """What is another one once the file has changed; empty if there is none.

        Cancellation: as `read`.
        """
        return await self._threads.run(lambda _left_s: _stamp_of(path))


def _stamp_of(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_mtime_ns} {found.st_size} {found.st_ino}"


def content_of(path: Path) -> bytes:
    """The content of a file, waited for.

    Raises:
        ValueError: It is too large.
        OSError: It cannot be read, or is no file.
    """
    # Not to wait for the other end, should there be a pipe by now.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as file:  # noqa: PTH123 - of what is open already
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is not a file")
        content = file.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise ValueError(f"its file is over {MAX_FILE} bytes")
    return content
