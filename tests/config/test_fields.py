"""Fields: what a class of settings may say of its keys."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import attrs
import pytest

from gateway.config import fields, settings
from gateway.config.problems import Location, Origins, Problems, Refused
from gateway.config.text import dotted, nearest, show


def decode(field: Any, value: Any, **environ: str) -> Any:
    """The value, or what is said of it."""
    problems = Problems(Origins(Location("f", None, Path()), environ))
    place = problems.place(("k",))
    try:
        return fields.codec_of(field).decode(value, place)
    except Refused as refused:
        place.tell(refused)
        return [str(problem) for problem in problems]


def test_settings_are_complete_without_a_file() -> None:
    server = settings.ServerSettings()
    assert server.bind == ("127.0.0.1:8080",)
    assert server.keep_alive == 75.0
    assert server.max_headers == 32 * 1024
    assert server.tls is None
    assert server.admin == settings.AdminSettings(bind="127.0.0.1:9901")
    assert settings.ToolSettings().input == {"type": "object"}


def test_defaults_that_can_change_are_not_shared() -> None:
    one, other = settings.ToolSettings(), settings.ToolSettings()
    assert one.input == other.input
    assert one.input is not other.input


def test_a_wrong_default_fails_where_it_is_written() -> None:
    with pytest.raises(ValueError, match="write the unit"):
        fields.duration(default=3, doc="x")
    with pytest.raises(ValueError, match=r"k.*got 3"):
        fields.headers(default={"k2": "a", "k": {}, "accept": 3}, doc="x")


def test_every_key_of_the_file_says_what_it_is_for() -> None:
    classes = [getattr(settings, name) for name in settings.__all__ if name.endswith("Settings")]
    for cls in classes:
        for name, codec in fields.codecs_of(cls).items():
            assert codec.doc.endswith("."), name


def test_a_field_of_another_make_is_no_key() -> None:
    with pytest.raises(TypeError, match="was not made by"):
        fields.codec_of(attrs.field())


@pytest.mark.parametrize(
    ("field", "mode"),
    [
        (fields.template_path(doc="x"), "path"),
        (fields.template_text(doc="x"), "text"),
        (fields.template_value(doc="x"), "value"),
        (fields.template_mapping(doc="x"), "value"),
        (fields.strings(doc="x", template="text"), "text"),
        (fields.string(doc="x", template="value"), "value"),
        (fields.json(doc="x", template="value"), "value"),
        (fields.string(doc="x"), None),
    ],
)
def test_how_placeholders_are_filled_in(field: Any, mode: str | None) -> None:
    cls = attrs.make_class("Call", {"key": field})
    assert fields.template_of(attrs.fields(cls).key) == mode


@pytest.mark.parametrize(
    ("field", "value", "decoded"),
    [
        (fields.string(doc="x"), "env:A", "env:A"),
        (fields.string(doc="x", reference=True), "env:A", fields.Secret("a")),
        (fields.string(doc="x", reference=True), "plain", "plain"),
        (fields.string(doc="x", secret=True), "plain", fields.Secret("plain")),
        (fields.duration(doc="x", none=True), "none", math.inf),
        (fields.size(doc="x", none=True), "none", math.inf),
        (fields.integer(doc="x", minimum=1, maximum=2), 2, 2),
        (fields.one_of(1, True, "a", doc="x"), True, True),
        (fields.table(settings.AdminSettings, doc="x"), {}, settings.AdminSettings()),
        (fields.wait(doc="x"), 3, 3),
        (fields.route(doc="x"), " GET   /", "GET /"),
        (fields.route(doc="x"), "DELETE /a/{b}/c-d/{e_f}", "DELETE /a/{b}/c-d/{e_f}"),
        (fields.route(doc="x"), "GET /a/", "GET /a/"),
        (fields.path(doc="x"), "/a/b%20c", "/a/b%20c"),
        (fields.url(doc="x", schemes=("redis", "rediss")), "redis://h:1/0", "redis://h:1/0"),
        (fields.bind(doc="x"), "0.0.0.0:0", "0.0.0.0:0"),
        (fields.template_text(doc="x"), "", ""),
        (
            fields.template_value(doc="x"),
            {"a": ["{b}", 1, 1.5, True]},
            {"a": ["{b}", 1, 1.5, True]},
        ),
        (fields.jmespath_output(doc="x"), "a.b", "a.b"),
        (fields.headers(doc="x"), {"Accept": ""}, {"accept": ""}),
    ],
)
def test_values(field: Any, value: Any, decoded: Any) -> None:
    assert decode(field, value, A="a") == decoded
    assert type(decode(field, value, A="a")) is type(decoded)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        (
            fields.string(doc="x", reference=True),
            3,
            'expected a string or "env:NAME" or "file:PATH", got 3',
        ),
        (fields.string(doc="x", secret=True), 3, 'expected a string or "env:NAME" or "file:PATH"'),
        (fields.one_of(1, doc="x"), True, "expected 1, got true"),
        (fields.integer(doc="x", maximum=2), 3, "expected a whole number up to 2, got 3"),
        (
            fields.integer(doc="x", minimum=1, maximum=2),
            3,
            "expected a whole number from 1 to 2, got 3",
        ),
        (fields.integer(doc="x"), 1.0, "expected a whole number, got 1.0"),
        (
            fields.wait(doc="x"),
            True,
            'expected "all", "first" or a whole number from 1 up, got true',
        ),
        (
            fields.jmespath(doc="x"),
            "",
            'expected a JMESPath expression such as "profile.name", got "": it is empty',
        ),
        (
            fields.jmespath(doc="x"),
            "`a",
            'expected a JMESPath expression such as "profile.name", got "`a": Unclosed ` delimiter at character 1',
        ),
        (
            fields.jmespath(doc="x"),
            "!" * 9000,
            f'expected a JMESPath expression such as "profile.name", got "{"!" * 60}…": nested too deeply',
        ),
        (
            fields.jmespath(doc="x"),
            "a" * 10_001,
            f'expected a JMESPath expression such as "profile.name", got "{"a" * 60}…": longer than 10000 characters',
        ),
        (
            fields.jmespath(doc="x"),
            "abs(",
            'expected a JMESPath expression such as "profile.name", got "abs(": it ends too early',
        ),
        (
            fields.name(doc="x"),
            "a" * 65,
            f'expected a name such as "users": a letter, then up to 63 letters, digits, _ or -, got "{"a" * 60}…"',
        ),
        (
            fields.table(settings.TlsSettings, doc="x"),
            3,
            "expected a table with certificate, key, got 3",
        ),
        (
            fields.file(doc="x"),
            ".",
            'expected a file such as "file:tls.crt", got ".": it is not a file',
        ),
        (
            fields.file(doc="x"),
            "x" * 300,
            f'expected a file such as "file:tls.crt", got "{"x" * 60}…": file name too long',
        ),
        (
            fields.template_path(doc="x"),
            "/a\nb",
            'expected a path such as "/customers/{id}", got "/a\\nb"',
        ),
        (
            fields.path(doc="x"),
            "/a/../b",
            'expected a path such as "/mcp", got "/a/../b": a segment . or .. leads elsewhere',
        ),
        (
            fields.path(doc="x"),
            "/a?b",
            'expected a path such as "/mcp", got "/a?b": a path has neither a query nor a fragment',
        ),
        (
            fields.url(doc="x", schemes=("redis",), example="redis://cache/0"),
            "http://h/",
            'expected a URL such as "redis://cache/0", got "http://h/": it starts with redis://',
        ),
        *(
            (
                fields.route(doc="x"),
                text,
                f'expected a method and a path such as "GET /customers/{{id}}", got "{text}"{why}',
            )
            for text, why in (
                ("GET", ""),
                ("GET /a /b", ""),
                ("GET a", ": a path starts with /"),
                (
                    "GET /a?b=1",
                    ": a route has no query; arguments that are not in the path come by it of themselves",
                ),
                ("GET /a{b}", ': "a{b}" is no placeholder: it is a whole segment such as {id}'),
                ("GET /{1}", ': "{1}" is no placeholder: it is a whole segment such as {id}'),
                ("GET /{a}/{a}", ": {a} stands there twice"),
                ("GET /a//b", ": a segment is empty"),
                ("GET /../b", ': a path has no segment ".."'),
                ("GET /é", ': a path has no segment "é"'),
            )
        ),
        (
            fields.route(doc="x"),
            "get /",
            'expected one of "GET", "POST", "PUT", "PATCH", "DELETE" before the path, got "get"; did you mean "GET"?',
        ),
        (fields.json(doc="x"), [math.inf], None),
    ],
)
def test_what_is_said_of_wrong_values(field: Any, value: Any, said: str | None) -> None:
    expected = f"k: {said}" if said else "k[0]: expected a value that JSON has, got inf"
    assert decode(field, value) == [f"f: {expected}"]


def test_deep_values_are_refused_before_they_overflow() -> None:
    value: Any = 1
    for _ in range(70):
        value = [value]
    (line,) = decode(fields.json(doc="x"), value)
    assert line.endswith("nested deeper than 64")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ([1, "a", [2], {"b": 3}, True, 1.5], '[1, "a", […], {…}, true, 1.5]'),
        (list(range(1000)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 1…"),
        ({"password": "hunter2"}, "a table"),
        (["http://me:hunter2@host/"], '["http://***@host/"]'),
        ("x://me:hun/ter2@host/", '"x://***@host/"'),
        ("x://me:" + "hunter2" * 1000 + "@host/", '"x:…"'),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        ("\U000e0001", '"\\U000e0001"'),
    ],
)
def test_how_values_are_shown(value: Any, shown: str) -> None:
    assert show(value) == shown


def test_how_paths_are_shown() -> None:
    assert dotted(("a-b", 0, "c d", "", "é", 1)) == 'a-b[0]."c d"."".é[1]'.replace(".é", '."é"')
    assert dotted(("a" * 1000,)) == f'"{"a" * 60}…"'


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("timeot", "timeout"),
        ("URL", "url"),
        ("uri", "url"),
        ("time", "timeout"),
        ("pages", None),
        ("x" * 1000, None),
        (3, None),
    ],
)
def test_what_is_near(name: Any, near: str | None) -> None:
    assert nearest(name, ("timeout", "url", "headers")) == near
