"""Kinds of services that installed packages offer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import ConfigError, create_app, load_config
from gateway.adapters.installed import Kinds
from gateway.cli import main
from tests.third_party import FOLDER, installed, memcached_kind

MODULE = """
from gateway.adapters.tcp import KIND
"""
FILE = """
[services.s]
kind = "{kind}"
address = "127.0.0.1:7"
{more}

[tools.t]
calls.a = {{ service = "s", send = "x" }}
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """A folder on the path of modules, for this test alone."""
    modules = set(sys.modules)
    sys.path.insert(0, str(tmp_path))
    yield tmp_path
    sys.path.remove(str(tmp_path))
    for name in set(sys.modules) - modules:
        if not name.startswith(("gateway", "tests")):
            del sys.modules[name]


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(kind: str = "plc_link", more: str = "") -> Path:
        path = tmp_path / "gateway.toml"
        path.write_text(FILE.format(kind=kind, more=more))
        return path

    return write


def test_a_kind_of_an_installed_package_is_found(site: Path, file: Callable[..., Path]) -> None:
    (site / "plc_module.py").write_text(MODULE)
    installed(site, "plc", plc_link="plc_module:KIND")
    assert load_config(file()).services["s"].kind == "plc_link"


def test_its_keys_are_checked_with_their_lines(
    site: Path, file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (site / "plc_module.py").write_text(MODULE)
    installed(site, "plc", plc_link="plc_module:KIND")
    path = file(more='max_reply = "much"\nadress = "x"')
    assert main(["check", str(path)]) == 2
    said = capsys.readouterr().err
    assert f"{path}:5: services.s.max_reply: expected a size" in said
    assert f'{path}:6: services.s.adress: unknown key; did you mean "address"?' in said


@pytest.mark.parametrize("kind", ["tcp", "http", "sql"])
def test_packages_are_left_alone_where_no_kind_of_theirs_is_named(
    site: Path, file: Callable[..., Path], kind: str
) -> None:
    (site / "plc_module.py").write_text("raise AssertionError('imported')")
    installed(site, "plc", plc_link="plc_module:KIND", tcp="plc_module:KIND")
    if kind == "tcp":
        assert load_config(file(kind)).services["s"].kind == "tcp"
    else:
        with pytest.raises(ConfigError, match="address: unknown key"):
            load_config(file(kind))
    assert "plc_module" not in sys.modules


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("raise RuntimeError('no licence\\nat all')", "RuntimeError: no licence"),
        ("import no_such_module_anywhere", "ModuleNotFoundError: No module named"),
        ("", "AttributeError: module 'plc_module' has no attribute 'KIND'"),
        ("KIND = 1", "it is no gateway.Kind"),
    ],
)
def test_a_package_that_cannot_give_it_is_a_mistake_with_its_line(
    site: Path, file: Callable[..., Path], source: str, says: str
) -> None:
    (site / "plc_module.py").write_text(source)
    installed(site, "plc", plc_link="plc_module:KIND")
    with pytest.raises(ConfigError) as caught:
        load_config(file())
    (problem,) = caught.value.problems
    assert str(problem).startswith(f"{site / 'gateway.toml'}:3: services.s.kind: ")
    assert f'"plc_link" cannot be had from plc_module:KIND: {says}' in str(problem)
    assert "at all" not in str(problem)


def test_two_packages_of_one_kind_are_named(site: Path, file: Callable[..., Path]) -> None:
    (site / "plc_module.py").write_text(MODULE)
    (site / "other_module.py").write_text(MODULE)
    installed(site, "plc", plc_link="plc_module:KIND")
    installed(site, "other", plc_link="other_module:KIND")
    with pytest.raises(ConfigError, match="offered by several packages: ") as caught:
        load_config(file())
    assert "plc_module:KIND" in str(caught.value)
    assert "other_module:KIND" in str(caught.value)


def test_what_is_passed_in_comes_first(site: Path, file: Callable[..., Path]) -> None:
    (site / "plc_module.py").write_text("raise AssertionError('imported')")
    installed(site, "plc", plc_link="plc_module:KIND")
    with pytest.raises(ConfigError, match="max_reply: unknown key"):
        create_app(file(more='max_reply = "1KiB"'), adapters={"plc_link": memcached_kind().KIND})


def test_a_kind_that_nobody_has_names_those_there_are(
    site: Path, file: Callable[..., Path]
) -> None:
    installed(site, "plc", plc_link="plc_module:KIND")
    with pytest.raises(ConfigError) as caught:
        load_config(file("plc_lnk"))
    assert '"plc_link"' in str(caught.value)
    assert 'did you mean "plc_link"?' in str(caught.value)
    assert "plc_module" not in sys.modules


def test_the_schema_has_it(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "memcached_kind.py").write_text((FOLDER / "memcached_kind.py").read_text())
    installed(site, "memcached-kind", memcached="memcached_kind:KIND")
    assert main(["schema"]) == 0
    assert "service.memcached" in capsys.readouterr().out
    installed(site, "plc", plc_link="plc_module:KIND")
    assert main(["schema"]) == 1
    assert "plc_module:KIND" in capsys.readouterr().err


def test_kinds_are_a_mapping(site: Path) -> None:
    known: Any = memcached_kind().KIND
    installed(site, "plc", plc_link="plc_module:KIND", known="plc_module:KIND")
    kinds = Kinds({"known": known})
    assert list(kinds) == ["known", "plc_link"]
    assert len(kinds) == 2
    assert kinds["known"] is known
    assert "neither" not in kinds
