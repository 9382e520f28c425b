"""Many requests as a page that needs nothing from elsewhere: tables, and plots of the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from gateway.simulation.plots import plots
from gateway.simulation.text import Subject, tables

__all__ = ["page"]

_STYLE = """\
:root{color-scheme:light dark;--ink:#1a1a1a;--paper:#fff;--faint:#767676;--grid:#ddd;
--s0:#0060a8;--s1:#b34700;--s2:#00735c;--s3:#a02c7a;--s4:#6b5200;--s5:#4a4ab8}
@media(prefers-color-scheme:dark){:root{--ink:#e8e8e8;--paper:#16181c;--faint:#9a9a9a;--grid:#3a3d44;
--s0:#6cb6ff;--s1:#ff9d5c;--s2:#4fd1b0;--s3:#f59fd5;--s4:#e0c060;--s5:#a9a9ff}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:44rem;
margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse;width:100%;margin:1rem 0}
caption{text-align:left;font-weight:600}
th{text-align:left;font-weight:400}
td{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
th,td{padding:.15rem .5rem;border-bottom:1px solid var(--grid)}
thead th{color:var(--faint)}thead th+th{text-align:right}
figure{margin:2rem 0}figcaption{font-weight:600}
figure ul{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:0 1.5rem;margin:.2rem 0}
svg{width:100%;height:auto;overflow:visible}svg.key{width:1.5rem}
.wide{overflow-x:auto}
svg text{font-size:11px;fill:var(--faint)}
.left{text-anchor:end}.below{text-anchor:middle}.below:last-of-type{text-anchor:end}
.grid{stroke:var(--grid)}.line{fill:none;stroke-width:1.75}
.s0{stroke:var(--s0)}.s1{stroke:var(--s1);stroke-dasharray:7 2}.s2{stroke:var(--s2);stroke-dasharray:2 2}
.s3{stroke:var(--s3);stroke-dasharray:9 3 2 3}.s4{stroke:var(--s4);stroke-dasharray:4 4}
.s5{stroke:var(--s5);stroke-dasharray:1 3}
@media(max-width:34rem){svg text{font-size:17px}}
"""


def page(title: str, subjects: Sequence[Subject], changed: Sequence[str]) -> str:
    """The report as HTML.

    Args:
        title: What was simulated.
        subjects: One configuration, or two to compare.
        changed: Where they differ: a title, and a line for each key.
    """
    named = [(one.name if len(subjects) > 1 else "", one.figures) for one in subjects]
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n<main>",
        f"<h1>{escape(title)}</h1>",
        *_list("weather", subjects[0].figures.weather),
        *(_list(changed[0], changed[1:]) if changed else ()),
        *plots(named),
        "<h2>figures</h2>",
        *_tables(subjects),
        "</main>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _list(title: str, lines: Sequence[str]) -> Iterator[str]:
    yield f"<h2>{escape(title)}</h2>\n<ul>"
    for line in lines:
        yield f"<li>{escape(line.strip())}</li>"
    yield "</ul>"


def _tables(subjects: Sequence[Subject]) -> Iterator[str]:
    heads, found = tables(subjects)
    for title, rows in found:
        yield f'<div class="wide"><table><caption>{escape(title)}</caption>'
        cells = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
        yield f"<thead><tr><th></th>{cells}</tr></thead><tbody>"
        for name, *values in rows:
            cells = "".join(f"<td>{escape(value)}</td>" for value in values)
            yield f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'
        yield "</tbody></table></div>"
