"""Modules and functions by their names: what is beside the file comes first, then what is installed."""

from __future__ import annotations

import hashlib
import importlib
import importlib.machinery
import importlib.util
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from gateway.config.text import did_you_mean, nearest

__all__ = ["function_of", "imported", "is_being_imported", "present"]


def imported(name: str, directory: Path) -> ModuleType:
    """The module `name`: the one beside the file if it is there, else an installed one.

    Two files may have modules of one name beside them, and a process has one of each name: the
    second is loaded under a name of its own.

    Args:
        name: Dotted.
        directory: The file's folder.

    Raises:
        ValueError: It cannot be imported; the message says why.
    """
    folder = directory.resolve()
    try:
        known_as, file = _known_as(name, folder)
        own = known_as.partition(".")[0]
        if file is not None and own not in sys.modules:
            _load(own, file)
        return importlib.import_module(known_as)
    except (Exception, SystemExit) as error:
        near = _near(name, folder) if isinstance(error, ModuleNotFoundError) else ""
        raise ValueError(
            f"expected an importable module, got {name!r}: {type(error).__name__}: {error}{near}"
        ) from error


def present(name: str, directory: Path) -> ModuleType | None:
    """What `imported` would give, if this process has imported it already, or is about to.

    Nothing of the module's runs for that.

    Args:
        name: As `imported` takes it.
        directory: Likewise.
    """
    try:
        known_as, _ = _known_as(name, directory.resolve())
    except ValueError:  # a module that somebody made by hand
        known_as = name
    return sys.modules.get(known_as)


def is_being_imported(module: ModuleType) -> bool:
    """Whether its code is running: what it defines further down is not there yet."""
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def function_of(module: ModuleType, name: str, known_as: str) -> Callable[..., Any]:
    """The function `name` of `module`.

    Args:
        module: As `imported` gives it.
        name: The function's.
        known_as: The module's name in the file.

    Raises:
        ValueError: There is none; the message names one that is near.
    """
    found = getattr(module, name, None)
    if callable(found):
        return found  # type: ignore[no-any-return] # nothing more is known of it
    there = [key for key, value in vars(module).items() if callable(value)]
    raise ValueError(f"{known_as} has no function {name!r}{did_you_mean(name, there)}")


def _known_as(name: str, folder: Path) -> tuple[str, Path | None]:
    """What the module is called here, and the file of one that has a name of its own for that."""
    top, _, below = name.partition(".")
    stem = folder.joinpath(*name.split("."))
    if not (stem.with_suffix(".py").is_file() or (stem / "__init__.py").is_file()):
        return name, None
    package = folder / top
    file = package / "__init__.py" if package.is_dir() else package.with_suffix(".py")
    if _is_found_at(top, file):
        return name, None
    own = f"_{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}_{top}"
    return (f"{own}.{below}" if below else own), file


def _near(name: str, folder: Path) -> str:
    """A module beside the file whose name is near."""
    *above, last = name.split(".")
    there = [module.name for module in pkgutil.iter_modules([str(folder.joinpath(*above))])]
    found = nearest(last, there)
    return "" if found is None else f'; did you mean "{".".join((*above, found))}"?'


def _is_found_at(top: str, file: Path) -> bool:
    """Whether an import of `top` gives what is at `file`."""
    found = importlib.util.find_spec(top)
    if found is None:
        return False
    places = found.submodule_search_locations
    if found.origin is None:  # a package without a file of its own: searched from the first on
        return file.parent in {Path(place).resolve() for place in list(places or ())[:1]}
    return Path(found.origin).resolve() == file.resolve()


def _load(name: str, file: Path) -> None:
    """Make the module or the package at `file` importable as `name`."""
    if file.is_file():
        spec = importlib.util.spec_from_file_location(name, file)
    else:
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(file.parent)]
    if spec is None:
        raise ImportError(f"cannot load {file.name}")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        if spec.loader is not None:
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
