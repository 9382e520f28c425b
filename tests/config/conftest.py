"""Kinds and policies like the real ones, and a way to load text as a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest

from gateway.config import fields
from gateway.config.loader import Loaded, load
from gateway.core.adapter import Kind

if TYPE_CHECKING:
    from pathlib import Path


@attrs.frozen(slots=True, kw_only=True)
class HttpSettings:
    url: str = fields.url(doc="Where the service is.")
    headers: dict[str, Any] = fields.headers(default={}, doc="Sent with every request.")
    http2: bool = fields.boolean(default=False, doc="Whether HTTP/2 is spoken.")
    max_connections: int = fields.integer(default=100, minimum=1, doc="Connections open at once.")
    max_reply: int = fields.size(default="8MiB", none=True, doc="Largest reply.")
    forward: tuple[str, ...] = fields.strings(default=(), doc="Headers passed on.")


@attrs.frozen(slots=True, kw_only=True)
class HttpCall:
    get: str | None = fields.template_path(doc="GET this path.")
    post: str | None = fields.template_path(doc="POST to this path.")
    query: dict[str, Any] = fields.template_mapping(default={}, tables=False, doc="The query.")
    json: Any = fields.template_value(doc="A JSON body.")
    body: str | None = fields.template_text(doc="A text body.")


@attrs.frozen(slots=True, kw_only=True)
class PythonSettings:
    module: str = fields.string(doc="Where the functions are.")
    threads: int = fields.integer(default=8, minimum=1, maximum=1000, doc="Threads.")
    processes: int = fields.one_of(0, default=0, doc="Worker processes.")


@attrs.frozen(slots=True, kw_only=True)
class PythonCall:
    function: str = fields.string(doc="Which function.")
    arguments: dict[str, Any] | None = fields.template_mapping(doc="Its arguments.")


def _create(settings: Any, environment: Any) -> Any:
    raise AssertionError("reading a configuration makes no adapter")


def _check_http(call: HttpCall) -> list[tuple[str, str]]:
    if (call.get is None) == (call.post is None):
        return [("", "expected exactly one of get, post")]
    if call.get is not None and call.json is not None:
        return [("json", "a GET has no body")]
    return []


@pytest.fixture(scope="session")
def kinds() -> dict[str, Kind]:
    return {
        "http": Kind(settings=HttpSettings, call=HttpCall, create=_create, check=_check_http),
        "python": Kind(settings=PythonSettings, call=PythonCall, create=_create),
    }


@pytest.fixture(scope="session")
def policies() -> dict[str, fields.Codec]:
    return {
        "timeout": fields.codec_of(fields.duration(doc="One attempt.")),
        "coalesce": fields.codec_of(fields.boolean(doc="Whether equal calls share one.")),
    }


class Files:
    """Loads text as `gateway.toml`."""

    def __init__(self, folder: Path, kinds: Any, policies: Any) -> None:
        self.folder = folder
        self.environ: dict[str, str] = {}
        self._kinds = kinds
        self._policies = policies

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def load(self, text: str | bytes | None = None) -> Loaded:
        """Load `text`, or the `gateway.toml` that was written before."""
        if text is not None:
            self.write("gateway.toml", text)
        return load(
            "gateway.toml", kinds=self._kinds, policies=self._policies, environ=self.environ
        )

    def lines(self, text: str | bytes | None = None) -> list[str]:
        """Every mistake in `text`."""
        return [str(problem) for problem in self.load(text).problems]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: Any, policies: Any) -> Files:
    """In a folder of its own, which is the current one: messages show what the user typed."""
    monkeypatch.chdir(tmp_path)
    return Files(tmp_path, kinds, policies)
