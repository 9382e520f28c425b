"""What the benchmark needs of the system: found, or installed where that takes no question."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess

__all__ = ["allow_connections", "ensure_tools", "program"]

_PACKAGES = {"wrk": "wrk", "nginx": "nginx-light", "haproxy": "haproxy"}
_MISSING = (
    "the benchmark needs wrk, which is not there: install it with `apt-get install wrk` (Debian, "
    "Ubuntu), `dnf install wrk` (Fedora), or from https://github.com/wg/wrk"
)


def ensure_tools() -> frozenset[str]:
    """See that wrk and taskset are there, and nginx and HAProxy where they can be had.

    Returns:
        Those of nginx and haproxy that are missing: subjects that must be left out.

    Raises:
        RuntimeError: Something is missing without which nothing can be measured; the message
            says how to get it.
    """
    if not shutil.which("taskset"):
        raise RuntimeError("make bench pins processes to cores: it needs Linux, and util-linux")
    missing = _missing()
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        # Packages of servers start them, unless a policy says no.
        policy = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        wanted = " ".join(_PACKAGES[name] for name in sorted(missing))
        for command in ("update", f"-y --no-install-recommends install {wanted}"):
            subprocess.run(
                ["apt-get", "-qq", *command.split()],
                env={**os.environ, **policy},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
        missing = _missing()
    if "wrk" in missing:
        raise RuntimeError(_MISSING)
    return missing


def program(name: str) -> str | None:
    """Where a program is: on the PATH, or where servers are kept."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def _missing() -> frozenset[str]:
    return frozenset(name for name in _PACKAGES if program(name) is None)


def allow_connections(count: int) -> None:
    """Let this process, and those it starts, have `count` sockets open and some more.

    Raises:
        RuntimeError: The system does not; the message says how many it allows.
    """
    wanted = count + 500
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (ValueError, OSError):
        raise RuntimeError(
            f"{count} connections take {wanted} open files, and this system allows {hard}: "
            "raise the limit (ulimit -Hn), or measure fewer with --count"
        ) from None
