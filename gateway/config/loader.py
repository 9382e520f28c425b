"""A `gateway.toml`, or a mapping like one, → `Loaded`: what is right of it, and every mistake."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.config.decode import Loaded, decode
from gateway.config.problems import Location, Origins, Problems, Refused
from gateway.config.reader import read
from gateway.config.text import show

if TYPE_CHECKING:
    from gateway.config.codec import Codec
    from gateway.core.adapter import Kind

__all__ = ["Loaded", "load", "load_mapping"]

_MAX_DEPTH = 64
_MAPPING = "<mapping>"


def load(
    path: str | Path,
    *,
    kinds: Mapping[str, Kind],
    policies: Mapping[str, Codec],
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Read and decode a file and all that it includes.

    Args:
        path: As the user named it; messages repeat it.
        kinds: The kinds of services there are, by the value of `kind`.
        policies: The codec of each policy's key: `fields.codec_of(fields.duration(doc=…))`.
        environ: What `env:NAME` is looked up in; the process's own by default.

    Returns:
        What is right of it, and every mistake. Nothing is raised: see `Loaded.unwrap`.
    """
    document, problems = read(path, os.environ if environ is None else environ)
    if document is None:
        return Loaded(None, problems)
    return decode(document, kinds, policies, problems, path=Path(path))


def load_mapping(
    mapping: Mapping[str, Any],
    *,
    kinds: Mapping[str, Kind],
    policies: Mapping[str, Codec],
    base: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Decode a mapping with the keys and values that the file would have.

    Mistakes name their key and no line: `<mapping>: services.users.url: missing; …`.

    Args:
        mapping: Tables as mappings, arrays as lists or tuples.
        kinds: As for `load`.
        policies: As for `load`.
        base: The folder that `file:PATH` is relative to; the current one by default.
        environ: As for `load`.
    """
    root = Location(_MAPPING, None, Path() if base is None else base)
    problems = Problems(Origins(root, os.environ if environ is None else environ, files=[_MAPPING]))
    try:
        document = _plain(mapping, 0)
    except Refused as refused:
        problems.place().tell(refused)
        return Loaded(None, problems)
    if "include" in document:
        problems.add(("include",), "only a file includes others")
        return Loaded(None, problems)
    return decode(document, kinds, policies, problems, path=root.directory / _MAPPING)


def _plain(value: Any, depth: int) -> Any:
    """`value` in the types that TOML's are read as."""
    if depth > _MAX_DEPTH:
        raise Refused(f"nested deeper than {_MAX_DEPTH}")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise Refused(f"expected keys that are strings, got {show(key)}")
        return {key: _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1) for item in value]
    return value
