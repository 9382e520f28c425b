"""The house's arrows: who may import whom (docs/explanation/architecture.md)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "gateway"

# Each room may import the rooms on the right, and itself.
ARROWS = {
    "core": set(),
    "config": {"core"},
    "telemetry": {"core"},
    "net": {"core", "config", "telemetry"},
    "state": {"core", "config", "telemetry"},
    "adapters": {"net", "state", "config", "core", "telemetry"},
    "policies": {"net", "state", "config", "core", "telemetry"},
    "access": {"policies", "adapters", "net", "state", "config", "core", "telemetry"},
    "plan": {"policies", "adapters", "net", "state", "config", "core", "telemetry"},
    "inbound": {"access", "plan", "policies", "adapters", "net", "state", "config", "core"}
    | {"telemetry"},
    "admin": {"access", "plan", "policies", "adapters", "net", "state", "config", "core"}
    | {"telemetry"},
}
ARROWS["build"] = {"inbound", "admin"} | ARROWS["inbound"]
ARROWS["guest"] = {"net", "config", "core", "telemetry"}
ARROWS["lifespan"] = {"plan", "net", "core"}
ARROWS["dispatch"] = {"lifespan"} | ARROWS["inbound"] | {"inbound"}
ARROWS["app"] = {"build", "dispatch", "guest", "lifespan"} | ARROWS["build"]
ARROWS["server"] = {"app"} | ARROWS["app"]
ARROWS["explain"] = {"build"} | ARROWS["build"]
ARROWS["testing"] = {"app"} | ARROWS["app"]
ARROWS["simulation"] = {"testing"} | ARROWS["testing"]
ARROWS["cli"] = {"server", "explain", "simulation"} | ARROWS["server"] | ARROWS["simulation"]
ARROWS["__main__"] = {"cli"}
ARROWS["__init__"] = {"app", "build", "config", "core"}

# What stands beside the siblings, for all of them.
SHARED = {
    "inbound": {"clashes", "front", "routes"},
    "policies": {"apart", "capacity", "extra_load", "failures", "keys", "latencies"}
    | {"flights", "observed", "race", "seat", "watched"},
}
# A protocol in several files: one writes its document, one its event streams.
PARTS = {("inbound", "http"): {"openapi", "partials"}}


def imports_of(path: Path) -> set[str]:
    """The modules of ours that a file imports, type checking included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(names if node.module.count(".") < 2 else [node.module])
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return {name for name in found if name == "gateway" or name.startswith("gateway.")}


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path: Path) -> None:
    room = room_of(path)
    for name in imports_of(path):
        target = name.split(".")[1] if "." in name else "__init__"
        assert target == room or target in ARROWS[room], f"{room} may not import {name}"


@pytest.mark.parametrize("room", ["adapters", "policies", "inbound"])
def test_siblings_never_import_one_another(room: str) -> None:
    for path in sorted((ROOT / room).rglob("*.py")):
        own = path.relative_to(ROOT / room).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        allowed = {own} | SHARED.get(room, set()) | PARTS.get((room, own), set())
        for name in imports_of(path):
            parts = name.split(".")
            if parts[1] == room and len(parts) > 2:
                assert parts[2] in allowed, f"{path.name} may not import its sibling {name}"


def test_every_room_is_known() -> None:
    assert {room_of(path) for path in FILES} <= set(ARROWS)
