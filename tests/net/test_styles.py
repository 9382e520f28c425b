"""Values as parts of a request: the table of OpenAPI's styles, and what it leaves open."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.errors import InvalidArguments
from gateway.net.styles import Spelling, misuse, spelt_path, spelt_plainly, spelt_query

COLOR = "blue"
COLORS = ["blue", "black", "brown"]
RGB = {"R": 100, "G": 200, "B": 150}


# OpenAPI 3.1.1, "Style Examples", as RFC 6570 expands them.
@pytest.mark.parametrize(
    ("style", "explode", "one", "several", "fields"),
    [
        ("matrix", False, ";color=blue", ";color=blue,black,brown", ";color=R,100,G,200,B,150"),
        (
            "matrix",
            True,
            ";color=blue",
            ";color=blue;color=black;color=brown",
            ";R=100;G=200;B=150",
        ),
        ("label", False, ".blue", ".blue,black,brown", ".R,100,G,200,B,150"),
        ("label", True, ".blue", ".blue.black.brown", ".R=100.G=200.B=150"),
        ("simple", False, "blue", "blue,black,brown", "R,100,G,200,B,150"),
        ("simple", True, "blue", "blue,black,brown", "R=100,G=200,B=150"),
    ],
)
def test_paths(style: str, explode: bool, one: str, several: str, fields: str) -> None:
    assert spelt_path("color", COLOR, style, explode=explode) == one
    assert spelt_path("color", COLORS, style, explode=explode) == several
    assert spelt_path("color", RGB, style, explode=explode) == fields


@pytest.mark.parametrize(
    ("style", "explode", "one", "several", "fields"),
    [
        ("form", False, "color=blue", "color=blue,black,brown", "color=R,100,G,200,B,150"),
        (
            "form",
            True,
            "color=blue",
            "color=blue&color=black&color=brown",
            "R=100&G=200&B=150",
        ),
        (
            "spaceDelimited",
            False,
            "color=blue",
            "color=blue%20black%20brown",
            "color=R%20100%20G%20200%20B%20150",
        ),
        (
            "pipeDelimited",
            False,
            "color=blue",
            "color=blue%7Cblack%7Cbrown",
            "color=R%7C100%7CG%7C200%7CB%7C150",
        ),
        (
            "deepObject",
            False,
            "color=blue",
            "color%5B0%5D=blue&color%5B1%5D=black&color%5B2%5D=brown",
            "color%5BR%5D=100&color%5BG%5D=200&color%5BB%5D=150",
        ),
        (
            "json",
            False,
            "color=%22blue%22",
            "color=%5B%22blue%22%2C%22black%22%2C%22brown%22%5D",
            "color=%7B%22R%22%3A100%2C%22G%22%3A200%2C%22B%22%3A150%7D",
        ),
    ],
)
def test_queries(style: str, explode: bool, one: str, several: str, fields: str) -> None:
    assert spelt_query("color", COLOR, style, explode=explode) == one
    assert spelt_query("color", COLORS, style, explode=explode) == several
    assert spelt_query("color", RGB, style, explode=explode) == fields


@pytest.mark.parametrize(
    ("style", "explode", "value", "text"),
    [
        ("simple", False, COLORS, "blue,black,brown"),
        ("simple", False, RGB, "R,100,G,200,B,150"),
        ("simple", True, RGB, "R=100,G=200,B=150"),
        ("simple", False, True, "true"),
        ("json", False, RGB, '{"R":100,"G":200,"B":150}'),
        ("simple", False, None, None),
    ],
)
def test_headers(style: str, explode: bool, value: Any, text: str | None) -> None:
    assert spelt_plainly(value, style, explode=explode) == text


@pytest.mark.parametrize("style", ["form", "spaceDelimited", "pipeDelimited", "deepObject"])
def test_what_separates_is_told_from_what_is_separated(style: str) -> None:
    text = spelt_query("q&", ["a,b", "c d", "e|f", "g=h&i"], style, explode=False)
    for encoded in ("a%2Cb", "c%20d", "e%7Cf", "g%3Dh%26i"):
        assert encoded in text
    assert text.startswith("q%26")


@pytest.mark.parametrize("value", [None, [], {}, [None]])
@pytest.mark.parametrize("style", ["form", "pipeDelimited", "deepObject"])
@pytest.mark.parametrize("explode", [True, False])
def test_nothing_is_left_out(value: Any, style: str, explode: bool) -> None:
    assert spelt_query("q", value, style, explode=explode) == ""


def test_a_form_repeats_lists_and_writes_objects_as_json() -> None:
    body = {"a": [1, 2], "b": {"c": 1}, "d": None, "e": True}
    text = spelt_query("body", body, "form", explode=True)
    assert text == "a=1&a=2&b=%7B%22c%22%3A1%7D&e=true"


def test_deep_objects_go_as_deep_as_they_are() -> None:
    value = {"a": {"b": 1}, "c": [{"d": "x y"}, None]}
    text = spelt_query("q", value, "deepObject", explode=True)
    assert text == "q%5Ba%5D%5Bb%5D=1&q%5Bc%5D%5B0%5D%5Bd%5D=x%20y"


@pytest.mark.parametrize("style", ["simple", "label", "matrix"])
@pytest.mark.parametrize("value", [None, "", [], {}])
def test_a_path_says_something(style: str, value: Any) -> None:
    with pytest.raises(InvalidArguments, match="not called: id in its path is"):
        spelt_path("id", value, style, explode=False)


@pytest.mark.parametrize(("style", "value"), [("simple", ".."), ("label", "."), ("simple", ["."])])
def test_a_path_leads_nowhere_else(style: str, value: Any) -> None:
    with pytest.raises(InvalidArguments, match="not called"):
        spelt_path("id", value, style, explode=False)
    assert spelt_path("id", "../x", style, explode=False).endswith("..%2Fx")


@pytest.mark.parametrize(
    ("value", "style", "explode", "text"),
    [
        ("http://a/b?c=d&e#f", "form", True, "q=http://a/b?c%3Dd%26e%23f"),
        ("a+b;c[d] !$'()*,@", "form", True, "q=a%2Bb%3Bc%5Bd%5D%20!$'()*,@"),
        (["a/b,c", "d"], "form", True, "q=a/b,c&q=d"),
        (["a/b,c", "d"], "form", False, "q=a/b%2Cc,d"),
        (["a/b,c", "d"], "pipeDelimited", False, "q=a/b,c%7Cd"),
        ({"k/": "a/b"}, "form", True, "k%2F=a/b"),
        ({"k": "a/,b"}, "form", False, "q=k,a/%2Cb"),
        ({"k/": ["a/b"]}, "deepObject", True, "q%5Bk%2F%5D%5B0%5D=a/b"),
        ({"k": "a/b"}, "json", False, "q=%7B%22k%22%3A%22a%2Fb%22%7D"),
    ],
)
def test_reserved_characters_stay_where_they_end_nothing(
    value: Any, style: str, explode: bool, text: str
) -> None:
    assert spelt_query("q", value, style, explode=explode, allow_reserved=True) == text


def test_values_that_are_no_text_are_refused() -> None:
    with pytest.raises(InvalidArguments, match="no text"):
        spelt_query("q", "\ud800", "form", explode=True)


def parameter(to: str, name: str, value: Any = 1, style: str = "form", explode: bool = True) -> Any:
    return {"to": to, "name": name, "value": value, "style": style, "explode": explode}


SPELLING = Spelling(verb="post", cookies="sid=s", optional_body=False)


def test_values_go_where_they_belong() -> None:
    arguments = {
        "post": "/a/{ids}/b?x=1",
        "headers": {"x-own": "1"},
        "parameters": [
            parameter("path", "ids", [1, 2], "simple", explode=False),
            parameter("query", "q", [3, 4], explode=False),
            parameter("header", "x-ids", [5, 6], "simple", explode=False),
            parameter("cookie", "c", "a;b"),
            parameter("cookie", "d", [1, 2]),
            parameter("form", "f", [7, 8]),
        ],
        "form": {"plain": "a b", "none": None},
    }
    assert SPELLING(arguments) == {
        "post": "/a/1,2/b?x=1&q=3,4",
        "headers": {
            "x-own": "1",
            "x-ids": "5,6",
            "cookie": "sid=s; c=a%3Bb; d=1; d=2",
            "content-type": "application/x-www-form-urlencoded",
        },
        "body": "plain=a%20b&f=7&f=8",
    }


def test_a_value_cannot_fill_another_ones_place() -> None:
    arguments = {
        "post": "/{a}/{b}",
        "parameters": [
            parameter("path", "a", "{b}", "simple"),
            parameter("path", "b", "x", "simple"),
        ],
    }
    assert SPELLING(arguments)["post"] == "/%7Bb%7D/x"


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        ({"json": None}, {}),
        ({"json": {"a": None}}, {"json": {"a": None}}),
        ({"json": ""}, {"json": ""}),
        ({"body": ""}, {}),
        ({"body": "x"}, {"body": "x"}),
        ({"form": {"a": None}}, {}),
        ({"form": {"a": 0}}, {"form": {"a": 0}}),
        ({"parameters": [parameter("form", "a", None)]}, {}),
        ({"parameters": [parameter("part", "a", None)]}, {}),
    ],
)
def test_an_optional_body_that_is_nothing_is_none(arguments: Any, left: Any) -> None:
    spelling = Spelling(verb="post", cookies="", optional_body=True)
    spelt = dict(spelling({"post": "/", "headers": {"content-type": "a/b"}, **arguments}))
    headers = spelt.pop("headers")
    assert spelt == {"post": "/", **left}
    assert ("content-type" in headers) == bool(left)


@pytest.mark.parametrize(
    ("to", "verb", "path", "bodies", "message"),
    [
        ("form", "get", "/", [], "a GET has no body"),
        ("form", "post", "/", ["json"], "expected at most one body, got form and json"),
        ("part", "post", "/", ["form"], "expected at most one body, got form and part"),
        ("path", "post", "/{x}", [], "expected {{x}} in the path, where the value of x goes"),
    ],
)
def test_misuse(to: str, verb: str, path: str, bodies: list[str], message: str) -> None:
    assert list(misuse([parameter(to, "x")], verb, path, bodies)) == [message]


def test_a_form_may_have_plain_fields_too() -> None:
    assert list(misuse([parameter("form", "x")], "post", "/", ["form"])) == []
    assert list(misuse([parameter("path", "x")], "post", "/a{{x}}", ["json"])) == []
