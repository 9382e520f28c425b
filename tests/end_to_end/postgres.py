"""A PostgreSQL of one's own, for as long as a test or a measurement lasts."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.end_to_end.processes import free_port

__all__ = ["postgresql", "programs"]


def programs() -> Path | None:
    """Where `initdb` and `postgres` are, if they are."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    kept = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return kept[-1].parent if kept else None


@contextmanager
def postgresql() -> Generator[str]:
    """The URL of a database with a table `t` of a hundred rows: `id`, and `name`, which is `n1` of 1.

    Raises:
        FileNotFoundError: Its programs are not here.
    """
    where = programs()
    if where is None:
        raise FileNotFoundError("PostgreSQL's initdb is not here")
    # It does not run as root: then as whoever the package made for it.
    options: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        options = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with tempfile.TemporaryDirectory(prefix="gateway-pg-") as folder:
        if options:
            os.chown(folder, options["user"], options["group"])
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
        data = f"{folder}/data"
        trusting = [where / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "-N"]
        subprocess.run(trusting, check=True, **quiet, **options)
        port = free_port()
        settings = {
            "port": port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": folder,
            "fsync": "off",
        }
        told = [f"-c{name}={value}" for name, value in settings.items()]
        server = subprocess.Popen([where / "postgres", "-D", data, *told], **quiet, **options)
        try:
            url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
            _fill(url, server)
            yield url
        finally:
            server.send_signal(signal.SIGINT)  # at once, whoever is still connected
            server.wait(20)


def _fill(url: str, server: subprocess.Popen[bytes]) -> None:
    """Make the table, once the server is there."""
    import psycopg  # noqa: PLC0415 - an extra

    end = time.monotonic() + 60
    while True:
        assert server.poll() is None, "PostgreSQL has ended"
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("create table t(id int primary key, name text)")
                connection.execute(
                    "insert into t select n, 'n' || n from generate_series(1, 100) n"
                )
                return
        except psycopg.OperationalError:
            assert time.monotonic() < end
            time.sleep(0.05)
