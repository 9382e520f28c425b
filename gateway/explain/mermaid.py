"""A plan as a graph in Mermaid's language, as Markdown pages and editors draw it.

Source: https://mermaid.js.org/syntax/flowchart.html
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.config.text import printable
from gateway.explain.describe import Call, Explanation

__all__ = ["graph_of"]


def graph_of(explained: Explanation) -> Iterator[str]:
    """The lines of the graph: a solid arrow is a value that is needed, a dotted one a condition."""
    yield "flowchart LR"
    # Numbers, for a call's name may be a word of the language.
    numbers = {name: f"c{number}" for number, name in enumerate(explained.calls)}
    yield f"    request([{explained.tool.name}])"
    for name, call in explained.calls.items():
        open_, close = ("[", "]") if not call.node.optional else ("(", ")")
        yield f'    {numbers[name]}{open_}"{_label(call)}"{close}'
    yield "    answer([answer])"
    for name, call in explained.calls.items():
        node = call.node
        if not node.waits_for:
            yield f"    request --> {numbers[name]}"
        for other in sorted(node.waits_for, key=list(numbers).index):
            arrow = "-->" if other in node.reads else "-.->"
            yield f"    {numbers[other]} {arrow} {numbers[name]}"
        if not explained.tool.plan.dependents[name]:
            yield f"    {numbers[name]} --> answer"


def _label(call: Call) -> str:
    node = call.node
    words = [f"{node.name} → {node.service}"]
    if node.optional:
        words.append("optional")
    if node.when is not None:
        words.append(f"when {node.when.source}")
    if node.commit_timeout_s is not None:
        words.append("commit")
    return "<br>".join(_escaped(word) for word in words)


def _escaped(text: str) -> str:
    """Entities: nothing else may stand in a quoted label."""
    text = printable(text).replace("&", "#amp;")
    return text.replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
