"""The kind of services of `config/examples/adapter`, and packages that offer kinds."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

__all__ = ["FOLDER", "installed", "memcached_kind"]

FOLDER = Path(__file__).parent.parent / "config" / "examples" / "adapter"


def memcached_kind() -> Any:
    """The module `memcached_kind`, imported once."""
    name = "memcached_kind"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


def installed(folder: Path, package: str, **kinds: str) -> None:
    """What installers write into `folder`, on the path of modules, for a package that offers kinds.

    Args:
        folder: Where its modules are.
        package: Its name.
        **kinds: Where each kind is, `module:NAME`.
    """
    about = folder / f"{package}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = ["[gateway.adapters]", *(f"{name} = {where}" for name, where in kinds.items())]
    (about / "entry_points.txt").write_text("\n".join([*lines, ""]))
