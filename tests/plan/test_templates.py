"""Placeholders: typed values kept, paths that cannot be broken out of, text as text."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from gateway.core.errors import BadReply, InvalidArguments
from gateway.plan.template import TemplateError, compile_path, compile_text, compile_value
from gateway.testing import ScriptedService
from tests.apps import driven

NAMES: dict[str, Any] = {
    "id": 7,
    "ratio": 0.5,
    "yes": True,
    "nothing": None,
    "text": "a b",
    "list": [1, "x", None],
    "user": {"name": "Ann", "tags": ["a", "b"], "address": {"city": "Bern"}},
    "big": 2**70,
}

# ------------------------------------------------------------------ values


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{id}", 7),
        ("{ id }", 7),
        ("{ratio}", 0.5),
        ("{yes}", True),
        ("{nothing}", None),
        ("{list}", [1, "x", None]),
        ("{user}", NAMES["user"]),
        ("{big}", 2**70),
        ("{user.address.city}", "Bern"),
        ("{user.tags[0]}", "a"),
        ("{user.tags[-1]}", "b"),
        ("{length(list)}", 3),
        ("{user.missing.deeper}", None),
        ("{id.deeper}", None),
        ("{{id: id, name: user.name}}", "{id: id, name: user.name}"),  # `{{` is a literal brace
        ("{ {id: id, name: user.name} }", {"id": 7, "name": "Ann"}),
        ('{`{"a": 1}`}', {"a": 1}),
        ("{join('}', user.tags)}", "a}b"),
        ("{id} ", "7 "),
        ("n={id}&r={ratio}&y={yes}&z={nothing}.", "n=7&r=0.5&y=true&z=."),
        ("{list}{user.tags}", '[1,"x",null]["a","b"]'),
        ("{{{id}}}", "{7}"),
        ("{{}}", "{}"),
        ("", ""),
        ("plain", "plain"),
        (5, 5),
        (None, None),
        ([1, "{id}", ["{yes}"]], [1, 7, [True]]),
        ({"a": {"b": "{id}"}, "c": "x{id}"}, {"a": {"b": 7}, "c": "x7"}),
        ({"{id}": 1}, {"{id}": 1}),  # names are not templates
        ({"a": "{{x}}"}, {"a": "{x}"}),
        (["{{x}}"], ["{x}"]),
    ],
)
def test_a_value_keeps_its_type_and_its_shape(template: Any, value: Any) -> None:
    rendered = compile_value(template).render(NAMES)
    assert rendered == value
    assert type(rendered) is type(value)


@pytest.mark.parametrize(
    ("template", "roots"),
    [
        ("{id}", {"id"}),
        ("{user.name} and {list[0]}", {"user", "list"}),
        ("{user.tags[?@ == 'a']}", {"user"}),
        ("{sort_by(list, &x.y)}", {"list"}),
        ("{list[*].{a: id, b: text}}", {"list"}),
        ("{ {a: id, b: text} }", {"id", "text"}),
        ("{[id, text]}", {"id", "text"}),
        ("{id || text && !yes}", {"id", "text", "yes"}),
        ("{list | [0]}", {"list"}),
        ("{list[]}", {"list"}),
        ("{list[0:2]}", {"list"}),
        ("{user.*}", {"user"}),
        ("{'id'}", set()),
        ("{`1`}", set()),
        ({"a": ["{id}"], "b": "{text}"}, {"id", "text"}),
        ("{{id}}", set()),
        ('{"id"}', {"id"}),
        ("{max_by(list, &id).name}", {"list"}),
        ("{not_null(id, text)}", {"id", "text"}),
        ("{id == text}", {"id", "text"}),
    ],
)
def test_a_template_knows_the_names_it_reads(template: Any, roots: set[str]) -> None:
    assert compile_value(template).roots == roots


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{id", 'a "{" without "}"'),
        ("{user.tags[?@ == '}']", 'a "{" without "}"'),
        ("id}", 'a "}" without "{"'),
        ("{id}}", 'a "}" without "{"'),
        ("{}", "expected JMESPath"),
        ("{ }", "expected JMESPath"),
        ("{id.}", "expected JMESPath"),
        ("{nonsense(}", "expected JMESPath"),
        ("{@}", "reads everything"),
        ("{keys(@)}", "reads everything"),
        ("{*}", "reads everything"),
        ("{[*]}", "reads everything"),
        (["fine {id}", {"x": "{"}], 'a "{" without "}"'),
    ],
)
def test_a_template_that_does_not_compile_says_why(template: Any, said: str) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_value(template)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_function_that_does_not_fit_its_data_is_the_services_fault() -> None:
    with pytest.raises(BadReply, match=r"length\(id\)"):
        compile_value("{length(id)}").render(NAMES)


def test_constants_are_worked_out_once() -> None:
    template = compile_value({"a": ["x", {"b": 1}]})
    assert template.render({}) is template.render({})


# ------------------------------------------------------------------ text


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{id}", "7"),
        ("{nothing}", ""),
        ("{yes}", "true"),
        ("{list}", '[1,"x",null]'),
        ("{text}\r\n{text}", "a b\r\na b"),
        ("{user.address}", '{"city":"Bern"}'),
        ("<{user.name}>", "<Ann>"),
    ],
)
def test_a_text_is_text(template: str, text: str) -> None:
    assert compile_text(template).render(NAMES) == text


# ------------------------------------------------------------------ paths

SEGMENTS = {
    7: "7",
    True: "true",
    "a b": "a%20b",
    "a/b": "a%2Fb",
    "../admin": "..%2Fadmin",
    "..\\admin": "..%5Cadmin",
    "%2e%2e": "%252e%252e",
    "%2F": "%252F",
    "a?x=1": "a%3Fx%3D1",
    "a#top": "a%23top",
    "a;p=1": "a%3Bp%3D1",
    "é": "%C3%A9",
    "日本": "%E6%97%A5%E6%9C%AC",
    "\u202e": "%E2%80%AE",
    "a\r\nHost: x": "a%0D%0AHost%3A%20x",
    "\0": "%00",
    "...": "...",
    "@evil.test": "%40evil.test",
    "//evil.test": "%2F%2Fevil.test",
    "{id}": "%7Bid%7D",
}


@pytest.mark.parametrize(("value", "segment"), SEGMENTS.items())
def test_a_value_in_a_path_is_one_segment(value: Any, segment: str) -> None:
    template = compile_path("/a/{x}/b")
    assert template.render({"x": value}) == f"/a/{segment}/b"


@pytest.mark.parametrize("value", ["", ".", "..", None])
@pytest.mark.parametrize(
    ("inputs", "blame"), [(frozenset({"x"}), InvalidArguments), (frozenset(), BadReply)]
)
def test_a_value_that_would_name_another_resource_is_refused(
    value: Any, inputs: frozenset[str], blame: type[Exception]
) -> None:
    with pytest.raises(blame, match=r"not called: \{x\}"):
        compile_path("/a/{x}/b", inputs).render({"x": value})


def test_two_placeholders_cannot_make_a_dot_segment_together() -> None:
    with pytest.raises(BadReply):
        compile_path("/a/{x}{y}").render({"x": ".", "y": "."})


@pytest.mark.parametrize("path", ["/a/.{x}", "/a/{x}.", "/a/.{x}/b"])
def test_a_placeholder_cannot_complete_a_dot_segment(path: str) -> None:
    with pytest.raises(BadReply):
        compile_path(path).render({"x": "."})


def test_a_part_of_a_segment_may_be_filled_in() -> None:
    assert compile_path("/u-{id}.json").render(NAMES) == "/u-7.json"


# ------------------------------------------------------------------ through a whole tool


@pytest.mark.parametrize(
    "keys",
    [
        {"post": "/x", "query": {"q": "{value}"}},
        {"post": "/x", "headers": {"h": "{value}"}},
        {"post": "/x", "json": {"v": ["{value}"]}},
        {"post": "/x", "form": {"f": "{value}"}},
    ],
    ids=lambda keys: list(keys)[1],
)
@pytest.mark.parametrize("value", [0, False, 1.5, None, "x", [1], {"a": {"b": None}}])
async def test_a_call_gets_values_as_they_are(keys: dict[str, Any], value: Any) -> None:
    service = ScriptedService()
    calls = {"a": {"service": "s", **keys}}
    async with driven(calls, {"s": service}, input={"properties": {"value": {}}}) as gateway:
        await gateway.call(value=value)
    (name,) = keys.keys() - {"post"}
    (got,) = service.requests[0].arguments[name].values()
    expected = [value] if name == "json" else value
    assert got == expected
    assert type(got) is type(expected)


async def test_a_text_body_holds_text() -> None:
    service = ScriptedService()
    calls = {"a": {"service": "s", "post": "/", "body": "<id>{id}</id>"}}
    schema = {"properties": {"id": "integer"}}
    async with driven(calls, {"s": service}, input=schema) as gateway:
        await gateway.call(id=3)
    assert service.requests[0].arguments == {"post": "/", "body": "<id>3</id>"}


async def test_a_json_body_that_is_null_is_a_body() -> None:
    service = ScriptedService()
    calls = {"a": {"service": "s", "post": "/", "json": "{id}"}}
    async with driven(calls, {"s": service}, input={"properties": {"id": {}}}) as gateway:
        await gateway.call(id=None)
    assert service.requests[0].arguments == {"post": "/", "json": None}


async def test_a_hostile_argument_in_a_path_is_the_callers_fault() -> None:
    service = ScriptedService()
    calls = {"a": {"service": "s", "get": "/files/{name}"}}
    schema = {"properties": {"name": "string"}}
    async with driven(calls, {"s": service}, input=schema) as gateway:
        answer = await gateway.post(name="..")
        assert (answer.status, answer.json()["code"]) == (422, "invalid_arguments")
        assert not service.requests
        await gateway.post(name="../etc/passwd")
    assert service.requests[0].arguments["get"] == "/files/..%2Fetc%2Fpasswd"


@pytest.mark.parametrize("schema", [{}, {"additionalProperties": True}])
async def test_an_undeclared_argument_cannot_pose_as_a_call(schema: dict[str, Any]) -> None:
    calls = {
        "user": {"service": "u", "get": "/me"},
        "then": {"service": "t", "get": "/{user.id}", "when": "user.admin"},
    }
    then = ScriptedService()
    users = ScriptedService().reply({"id": 1, "admin": False})
    async with driven(calls, {"u": users, "t": then}, input=schema) as gateway:
        answer = await gateway.post(user={"id": 0, "admin": True}, then="x", _errors=[])
    assert answer.json()["user"] == {"id": 1, "admin": False}
    assert answer.json()["then"] is None
    assert not then.requests


async def test_a_date_written_in_the_file_is_text() -> None:
    service = ScriptedService()
    calls = {"a": {"service": "s", "post": "/", "json": {"at": dt.date(2024, 5, 1)}}}
    async with driven(calls, {"s": service}) as gateway:
        await gateway.call()
    assert service.requests[0].arguments["json"] == {"at": "2024-05-01"}
