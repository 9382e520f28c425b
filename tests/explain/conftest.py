"""A file's text → what is explained of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.build import build
from gateway.explain.describe import Explanation, describe

Explain = Callable[..., Explanation]


@pytest.fixture
def explain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Explain:
    """Explains the tool `t` of a file with these lines."""
    monkeypatch.chdir(tmp_path)

    def explained(*lines: str, tool: str = "t") -> Explanation:
        Path("gateway.toml").write_text("\n".join(lines) + "\n")
        built = build("gateway.toml", record=lambda _event: None)
        return describe(built, built.tools[tool])

    return explained
