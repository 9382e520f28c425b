"""The `gateway` command: one file = one subcommand.

* `serve.py`: the gateway of a file, until SIGTERM
* `serving.py`: what both share: a process that serves a gateway
* `demo/`: the gateway before sample services on loopback
* `check.py`: every mistake of a file, before anything starts
* `explain.py`: what a tool will do, every number of it, and what cannot work
* `schema.py`: the JSON Schema of `gateway.toml`
* `call.py`: one tool call from the shell, with its timeline
* `simulate.py`: a tool under any weather, on a virtual clock
* `import_openapi.py`: the operations of an OpenAPI document as tools; `toml.py` writes them

Exit statuses: 0 done; 1 it failed; 2 the command line or the file is wrong; 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from collections.abc import Sequence

from gateway.cli import call, check, demo, explain, import_openapi, schema, serve, simulate
from gateway.config.problems import ConfigError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the `gateway` command.

    Args:
        arguments: The command line without the program's name; `sys.argv` if left out.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(
        prog="gateway",
        description="One endpoint for model clients in front of many downstream services.",
    )
    version = importlib.metadata.version("trio-gateway")
    parser.add_argument("--version", action="version", version=f"gateway {version}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (serve, demo, check, explain, simulate, schema, call, import_openapi):
        command.add_to(commands)
    options = parser.parse_args(arguments)
    try:
        status: int = options.run(options)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is None:
            raise
        return 130
    except BrokenPipeError:  # the reader of our output has had enough
        sys.stderr.close()
        return 1
    return status
