"""Documents written for one test, and the tools that become of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from gateway.config.openapi.document import Library, Node, Unfit
from gateway.config.openapi.operations import Document, read_document
from gateway.config.openapi.schemas import Schemas
from gateway.config.openapi.tables import table_of


@attrs.frozen
class Documents:
    """A folder of documents; `api.json` is the one that is read."""

    folder: Path

    def write(self, name: str, content: Any) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8")
        return path

    def read(
        self, paths: Any = None, *, version: str = "3.1.0", name: str = "api.json", **rest: Any
    ) -> Document:
        content = {"openapi": version, "info": {"title": "A"}, "paths": paths or {}, **rest}
        self.write(name, content)
        return read_document(Path(name))

    def table(self, operation: Any, path: str = "/x", method: str = "get", **rest: Any) -> Any:
        """The table of a document's only operation."""
        document = self.read({path: {method: operation}}, **rest)
        return table_of(document.operations[0], document, "s")

    def call(self, operation: Any, path: str = "/x", method: str = "get", **rest: Any) -> Any:
        """The call in it, its service aside."""
        table = self.table(operation, path, method, **rest)
        assert table["output"] == "reply"
        call = dict(table["calls"]["reply"])
        assert call.pop("service") == "s"
        return call

    def why(self, operation: Any, path: str = "/x", method: str = "get", **rest: Any) -> str:
        """Where and why a document's only operation is no tool."""
        with pytest.raises(Unfit) as caught:
            self.table(operation, path, method, **rest)
        return str(caught.value)

    def schema(self, schema: Any, *, version: str = "3.1.0", **components: Any) -> Any:
        """A schema as it is converted, and its definitions where it has some."""
        self.write("schemas.json", {"schema": schema, "components": {"schemas": components}})
        library = Library(Path("schemas.json"))
        node = library.root.get("schema")
        assert isinstance(node, Node)
        schemas = Schemas(library, old=version.startswith("3.0"))
        converted = schemas.convert(node)
        return (converted, schemas.definitions) if schemas.definitions else converted


@pytest.fixture
def documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Documents:
    """In a folder of its own, which is the current one: messages show what the user typed."""
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Documents(folder)


@pytest.fixture
def unfit() -> Callable[[Callable[[], Any]], str]:
    """Where and why something is unfit."""

    def caught(what: Callable[[], Any]) -> str:
        with pytest.raises(Unfit) as error:
            what()
        return str(error.value)

    return caught
