"""`gateway schema`: the JSON Schema of `gateway.toml`, for editors."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from gateway.adapters import ADAPTERS
from gateway.adapters.installed import Kinds
from gateway.config.schema import json_schema
from gateway.policies import POLICIES

__all__ = ["add_to"]


def add_to(commands: Any) -> None:
    """Add the command to `commands`, the subparsers of `argparse`."""
    parser = commands.add_parser(
        "schema",
        help="print the JSON Schema of gateway.toml",
        description=(
            "Print the JSON Schema of gateway.toml. Saved as gateway.schema.json beside the file, "
            "with the comment '#:schema ./gateway.schema.json' in its first line, it gives "
            "completion and checks in editors with a TOML language server. It has the kinds of "
            "services that installed packages offer too."
        ),
    )
    parser.set_defaults(run=_run)


def _run(_options: argparse.Namespace) -> int:
    policies = {key: policy.codec for key, policy in POLICIES.items()}
    try:
        schema = json_schema(Kinds(ADAPTERS), policies)
    except ValueError as error:  # of a kind that an installed package offers
        print(f"gateway schema: {error}", file=sys.stderr)
        return 1
    print(json.dumps(schema, indent=2, ensure_ascii=False))
    return 0
