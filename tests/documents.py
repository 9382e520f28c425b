"""The documentation as tests read it: pages, blocks of code, links, sessions of commands.

How a block is marked, in the line that opens it:

* `toml`, its first line `# gateway.toml` or another file name: a whole file; it is written into
  the page's folder and must pass `gateway check`. `toml fragment`: a part; it must be TOML.
* `python`, its first line `# NAME.py`: written into the page's folder. `python run`: run by itself.
  `python fragment`: a part; it must be Python.
* `sh`: a session, `$ command` and what it prints, run in the page's folder. `sh background`: its
  command goes on to the end of the page. `sh demo`: a session before the demo's services.
  `sh example`: not run.
* `text`, `json` and the like: for reading.

Each page has a folder of its own, with a copy of `config`. Ports of 127.0.0.1 are replaced by free ones
throughout, those of the examples too. What
differs from run to run (times, ids, dates, widths) is equal; `…` stands for anything.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from tests.end_to_end.processes import free_port

__all__ = [
    "PAGES",
    "ROOT",
    "Block",
    "Session",
    "Workspace",
    "blocks_of",
    "links_of",
    "prose_of",
    "sessions_of",
]

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]

_FENCE = re.compile(r"^```(\w*) ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([a-z_-]+\.(?:toml|py))\n")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_PORT = re.compile(r'(\b127\.0\.0\.1(?::|", )|--port )([0-9]{4,5})\b')
_PROGRAMS = {
    "python": "",
    "gateway": "-m gateway",
    "hypercorn": "-m hypercorn",
    "pytest": "-m pytest -p no:cacheprovider",
    "uvicorn": "-m uvicorn",
}
_SERVER = {"bind": '["127.0.0.1:8080"]', "admin": '{ bind = "127.0.0.1:9901" }'}
"""The addresses of a file that names none: written out, so that they can be replaced."""
_VOLATILE = (
    (re.compile(r"\b[0-9a-f]{32}\b"), "ID"),
    (re.compile(r"\b[0-9]+(\.[0-9]+)? ms\b"), "TIME"),
    (re.compile(r"\b[0-9]+\.[0-9]{3,6} s\b"), "TIME"),
    (re.compile(r"\bin [0-9]+\.[0-9]{2}s\b"), "in TIME"),
    (re.compile(r"\bthe budget of [0-9.]+m?s\b"), "the budget of TIME"),
    (re.compile(r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z"), "WHEN"),
    (re.compile(r'("duration_ms": |duration_ms=)[0-9.]+'), r"\1TIME"),
    (re.compile(r"^date: .*$", re.MULTILINE), "date: WHEN"),
    (re.compile(r"^content-length: [0-9]+$", re.MULTILINE), "content-length: N"),
    (re.compile(r" *█+"), ""),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r" $", re.MULTILINE), ""),
)


@attrs.frozen(slots=True)
class Block:
    """One block of code: its language, its mark, its text, and the line it opens at."""

    language: str
    mark: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The name of the file that it is, where it is one."""
        match = _FILE.match(self.text)
        return match[1] if match and self.mark != "fragment" else None


@attrs.frozen(slots=True)
class Session:
    """One command of a block and what it prints."""

    command: str
    output: str
    mark: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    """Every block of code of a page."""
    text = page.read_text()
    return [
        Block(match[1], match[2], match[3], text.count("\n", 0, match.start()) + 1)
        for match in _FENCE.finditer(text)
    ]


def links_of(page: Path) -> list[str]:
    """Where a page's links lead, code aside."""
    return _LINK.findall(re.sub(r"`[^`\n]*`", "", prose_of(page)))


def prose_of(page: Path) -> str:
    """A page without its blocks of code."""
    return _FENCE.sub("", page.read_text())


def sessions_of(block: Block) -> Iterator[Session]:
    """The commands of a block of shell."""
    command: list[str] = []
    output: list[str] = []
    at = block.line
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        if command and command[-1].endswith("\\"):
            command.append(line)
        elif line.startswith("$ "):
            if command:
                yield Session("\n".join(command), "\n".join(output), block.mark, at)
            command, output, at = [line.removeprefix("$ ")], [], number
        else:
            output.append(line)
    if command:
        yield Session("\n".join(command), "\n".join(output), block.mark, at)


class Workspace:
    """A page's folder, and the processes that go on in it.

    Args:
        folder: Empty.
        nursery: Where those processes are watched.
    """

    def __init__(self, folder: Path, nursery: trio.Nursery) -> None:
        self.folder = folder
        self._nursery = nursery
        self._ports: dict[str, str] = {}
        tools = folder / ".bin"
        tools.mkdir()
        for name, options in _PROGRAMS.items():
            shim = tools / name
            shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" {options} "$@"\n')
            shim.chmod(0o755)
        compiled = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "config", folder / "config", ignore=compiled)
        for path in (folder / "config" / "examples").glob("*.*"):
            path.write_text(self.localised(path.read_text()))
        self._environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PYTEST")},
            "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        }

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path) -> AsyncIterator[Workspace]:
        """A workspace whose processes have ended when the context does."""
        async with trio.open_nursery() as nursery:
            yield cls(folder, nursery)
            nursery.cancel_scope.cancel()

    def localised(self, text: str) -> str:
        """`text` with free ports in the place of its own, the same for the same."""
        return _PORT.sub(lambda match: match[1] + self._port(match[2]), text)

    def _port(self, port: str) -> str:
        if port not in self._ports:
            self._ports[port] = str(free_port())
        return self._ports[port]

    def write(self, name: str, text: str) -> Path:
        """Write a file of the page."""
        if name.endswith(".toml"):
            server = tomllib.loads(text).get("server", {})
            lines = [f"{key} = {value}" for key, value in _SERVER.items() if key not in server]
            head, section, tail = text.partition("[server]\n")
            text = "\n".join([head + (section or "\n[server]"), *lines, tail])
        path = self.folder / name
        path.write_text(self.localised(text))
        return path

    async def run(self, session: Session) -> None:
        """Run a command, and compare what it prints.

        Raises:
            AssertionError: It prints something else.
        """
        command = self.localised(session.command)
        if session.mark == "background":
            with trio.fail_after(60):
                await self._nursery.start(self.keep, command, session.output.splitlines())
            return
        with trio.fail_after(120):
            done = await trio.run_process(
                ["sh", "-c", command],
                cwd=self.folder,
                env=self._environ,
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                check=False,
            )
        printed = done.stdout.decode()
        wanted = self.localised(session.output)
        assert _matches(wanted, printed), (
            f"line {session.line}: {command}\n--- the page\n{wanted}\n--- the program\n{printed}"
        )

    async def keep(
        self,
        command: str,
        awaited: list[str],
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run `command` until the end; started once it has printed the awaited lines, in order."""
        process = await trio.lowlevel.open_process(
            ["sh", "-c", f"exec {command}"],
            cwd=self.folder,
            env=self._environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        printed = ""
        try:
            for line in awaited:
                while not (found := self._after(line, printed)):
                    piece = await process.stdout.receive_some()
                    assert piece, f"{command}: expected {line!r}, got {printed!r}"
                    printed += piece.decode()
                printed = printed[found:]
            task_status.started()
            while await process.stdout.receive_some():
                pass
        finally:
            process.terminate()
            with trio.CancelScope(shield=True):
                await process.wait()
                await process.stdout.aclose()
                assert process.stdin is not None
                await process.stdin.aclose()

    def _after(self, line: str, printed: str) -> int:
        """Where the text after `line` begins; 0 while it has not been printed."""
        at = 0
        for got in printed.splitlines(keepends=True):
            at += len(got)
            if got.endswith("\n") and _matches(self.localised(line), got):
                return at
        return 0

    async def start_demo(self) -> None:
        """The demo's gateway and sample services, at free ports."""
        self.write("demo.toml", (ROOT / "config" / "demo.toml").read_text())
        with trio.fail_after(60):
            await self._nursery.start(
                self.keep, "gateway demo --file demo.toml", ["…The gateway is at …"]
            )


def _matches(wanted: str, printed: str) -> bool:
    wanted, printed = _stable(wanted), _stable(printed)
    pattern = ".*".join(re.escape(part) for part in re.split(r"\s*…\s*", wanted))
    return re.fullmatch(pattern, printed, re.DOTALL) is not None


def _stable(text: str) -> str:
    text = text.replace("\r\n", "\n")
    for volatile, same in _VOLATILE:
        text = volatile.sub(same, text)
    return text.strip()
