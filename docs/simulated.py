# ruff: noqa: INP001 - a script beside the pages, not a package
"""What `gateway simulate` prints in the pages: to the byte, for the same seed gives the same.

`python docs/simulated.py` runs the sessions anew and writes what they print into the pages;
`tests/test_simulated_pages.py` compares it with what stands there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["PAGES", "simulated_page"]

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "docs" / "tutorial" / "a-bad-tuesday.md",)
"""The pages whose sessions are simulations throughout."""

_BLOCK = re.compile(r"^```(toml|python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def simulated_page(page: Path) -> str:
    """The text of a page, with what its sessions print now."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for program, options in (("gateway", "-m gateway"), ("python", "")):
            shim = folder / program
            shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" {options} "$@"\n')
            shim.chmod(0o755)
        return _BLOCK.sub(lambda block: _block(block, folder), page.read_text(encoding="utf-8"))


def _block(block: re.Match[str], folder: Path) -> str:
    """A block with what it prints; one that is a file is written."""
    language, text = block[1], block[2]
    if language != "sh":
        first, _, _ = text.partition("\n")
        (folder / first.removeprefix("# ")).write_text(text, encoding="utf-8")
        return block[0]
    lines = ""
    for command in re.findall(r"^\$ ((?:.*\\\n)*.*)$", text, re.MULTILINE):
        lines += f"$ {command}\n{_printed(command, folder)}"
    return f"```sh\n{lines}```"


def _printed(command: str, folder: Path) -> str:
    environ = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(  # noqa: S603 - the page's own command
        ["/bin/sh", "-c", command],
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=120,
    )
    return done.stdout.decode()


if __name__ == "__main__":
    for written in PAGES:
        written.write_text(simulated_page(written), encoding="utf-8")
