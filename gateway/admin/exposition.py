"""Several workers' metrics as one page."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["merged"]

_END = "# EOF"
_UP = "gateway_worker_up"


def merged(pages: Mapping[int, bytes | None]) -> bytes:
    """One page of them all: every sample with its worker's number as the label `worker`.

    `gateway_worker_up` says of each worker whether its metrics are there.

    Args:
        pages: By worker; each in the same format, Prometheus text or OpenMetrics; `None` for a
            worker whose page is not to be had.

    Returns:
        The page, in the pages' format.

    Source: Prometheus, "Exposition formats": all lines of a metric are one group; OpenMetrics 1.0,
    "Overall Structure".
    """
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    ending: list[str] = []
    for number, page in sorted(pages.items()):
        family = ""
        known = frozenset(heads)
        for line in (page or b"").decode(errors="replace").split("\n"):
            if line == _END:
                ending = [_END]
            elif line.startswith("# "):
                family = line.split(" ", 3)[2]
                if family not in known:
                    heads.setdefault(family, []).append(line)
            elif line:
                samples.setdefault(family, []).append(_labelled(line, number))
    heads[_UP] = [f"# HELP {_UP} Whether its metrics are on this page.", f"# TYPE {_UP} gauge"]
    samples[_UP] = [
        f'{_UP}{{worker="{number}"}} {float(page is not None)}'
        for number, page in sorted(pages.items())
    ]
    lines = [line for family in heads for line in (*heads[family], *samples.get(family, ()))]
    return "\n".join([*lines, *ending, ""]).encode()


def _labelled(sample: str, worker: int) -> str:
    """`name 1` → `name{worker="0"} 1`; `name{a="b"} 1` → `name{worker="0",a="b"} 1`."""
    brace, space = sample.find("{"), sample.find(" ")
    if brace == -1 or space < brace:
        return f'{sample[:space]}{{worker="{worker}"}}{sample[space:]}'
    more = "" if sample[brace + 1] == "}" else ","
    return f'{sample[: brace + 1]}worker="{worker}"{more}{sample[brace + 1 :]}'
