"""`multipart` of a call: which part is a file, and what of it comes from whom."""

from __future__ import annotations

import base64
import email.parser
import email.policy
from typing import Any

import pytest
from trio.testing import MockClock

from gateway import ConfigError, load_config
from gateway.core.errors import InvalidArguments, TooLarge
from tests.adapters.test_http import bench, failure
from tests.http_service import Received, Scripted, http


def parts_of(request: Received) -> list[tuple[Any, ...]]:
    """Name, filename, type and content of each part."""
    head = f"content-type: {request.header('content-type')}\r\n\r\n".encode()
    message: Any = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
        head + request.body
    )
    return [
        (
            part.get_param("name", header="content-disposition"),
            part.get_filename(),
            part["content-type"] and part["content-type"].replace('"', ""),
            part.get_payload(decode=True),
        )
        for part in message.iter_parts()
    ]


async def sent(multipart: Any, settings: Any = None, /, **values: Any) -> list[tuple[Any, ...]]:
    service = Scripted(http())
    async with bench(service, {"post": "/x", "multipart": multipart}, **(settings or {})) as call:
        await call(**values)
    return parts_of(service.requests[0])


@pytest.mark.parametrize(
    ("part", "value", "parts"),
    [
        ("a", None, [("p", None, None, b"a")]),
        (7, None, [("p", None, None, b"7")]),
        (True, None, [("p", None, None, b"true")]),
        ("{v}", None, []),
        ("{v}", "é", [("p", None, None, "é".encode())]),
        ("{v}", ["a", None, "b"], [("p", None, None, b"a"), ("p", None, None, b"b")]),
        ("{v}", {"a": 1}, [("p", None, "application/json", b'{"a":1}')]),
        # What a caller sends is no file, whatever its keys.
        (
            "{v}",
            {"filename": "x", "text": "y"},
            [("p", None, "application/json", b'{"filename":"x","text":"y"}')],
        ),
        (
            {"filename": "{v}.txt", "text": "Hello {v}"},
            "Ann",
            [("p", "Ann.txt", "text/plain; charset=utf-8", b"Hello Ann")],
        ),
        (
            {"filename": "a", "content_type": "text/{v}", "text": "<p>"},
            "html",
            [("p", "a", "text/html", b"<p>")],
        ),
        (
            {"filename": "a", "base64": "{v}"},
            base64.b64encode(b"\x00\xff").decode(),
            [("p", "a", "application/octet-stream", b"\x00\xff")],
        ),
        ({"json": "{v}"}, {"a": [1]}, [("p", None, "application/json", b'{"a":[1]}')]),
        ({"json": "{v}"}, None, [("p", None, "application/json", b"null")]),
        ({"filename": "{v}", "text": "t"}, None, [("p", None, "text/plain; charset=utf-8", b"t")]),
        ({"filename": "a", "text": "{v}"}, None, []),
        ({"filename": "a", "base64": "{v}"}, None, []),
        ({"filename": "a", "text": "{v}"}, "", [("p", "a", "text/plain; charset=utf-8", b"")]),
        ({"filename": "a", "text": "{v}"}, 5, [("p", "a", "text/plain; charset=utf-8", b"5")]),
        ({"filename": "a", "file": "{v}"}, None, []),
        ({"filename": "a", "file": "{v}"}, "", [("p", "a", "text/plain; charset=utf-8", b"")]),
        ({"file": "{v}"}, {"json": None}, [("p", None, "application/json", b"null")]),
        (
            {"filename": "a", "content_type": "image/png", "file": "{v}"},
            {"base64": "AP8=", "text": None},
            [("p", "a", "image/png", b"\x00\xff")],
        ),
        (
            {"filename": "a", "content_type": "image/png", "file": "{v}"},
            ["x", None, {"filename": "b", "content_type": "c/d", "text": "y"}],
            [("p", "a", "image/png", b"x"), ("p", "b", "c/d", b"y")],
        ),
        (
            ["{v}", {"filename": "a", "text": "t"}],
            ["x", "y"],
            [
                ("p", None, None, b"x"),
                ("p", None, None, b"y"),
                ("p", "a", "text/plain; charset=utf-8", b"t"),
            ],
        ),
    ],
)
async def test_what_goes_out(
    autojump_clock: MockClock, part: Any, value: Any, parts: list[Any]
) -> None:
    assert await sent({"p": part}, v=value) == parts


async def test_parts_keep_their_order(autojump_clock: MockClock) -> None:
    written = {"b": 1, "a": {"json": {}}, "c": [{"text": "x"}, "y"]}
    assert [part[0] for part in await sent(written)] == ["b", "a", "c", "c"]


@pytest.mark.parametrize(
    ("part", "value", "says"),
    [
        ({"base64": "{v}"}, "no base64!", "the file p is not base64"),
        ({"base64": "{v}"}, "YQ", "the file p is not base64"),
        ({"base64": "{v}"}, "é", "the file p is not base64"),
        ({"base64": "{v}"}, ["YQ=="], "base64 of the file p is no text"),
        ({"text": "{v}"}, {"a": 1}, "text of the file p is no text"),
        ({"text": "a", "filename": "{v}"}, [], "filename of the file p is no text"),
        ({"text": "a", "content_type": "{v}"}, "a/b\r\nx: y", "control character"),
        *(
            (
                {"file": "{v}"},
                value,
                "expected the file p as text, or as an object with text, base64",
            )
            for value in (1, {}, {"filename": "a"}, {"text": "a", "base64": "YQ=="}, {"file": "a"})
        ),
        ({"file": "{v}"}, [["a"]], "expected the file p as text"),
        ({"file": "{v}"}, {"text": "a", "mode": 1}, "expected the file p as text"),
        ({"file": "{v}"}, {"base64": "no base64!"}, "the file p is not base64"),
        ({"file": "{v}"}, {"text": {"a": 1}}, "text of the file p is no text"),
        ({"file": "{v}"}, {"text": "a", "content_type": "a\nb"}, "control character"),
    ],
)
async def test_what_is_refused(autojump_clock: MockClock, part: Any, value: Any, says: str) -> None:
    service = Scripted(http())
    async with bench(service, {"post": "/x", "multipart": {"p": part}}) as call:
        error = await failure(call, v=value)
    assert isinstance(error, InvalidArguments)
    assert says in error.detail
    assert not service.requests


async def test_a_body_has_a_bound(autojump_clock: MockClock) -> None:
    service = Scripted(http())
    call = {"post": "/x", "multipart": {"p": "{v}", "f": {"text": "{v}"}}}
    async with bench(service, call, max_upload="1KiB") as made:
        await made(v="x" * 512)
        error = await failure(made, v="x" * 513)
    assert isinstance(error, TooLarge)
    assert "over 1024 bytes" in error.detail
    assert len(service.requests) == 1


async def test_a_part_in_a_style_has_the_bound_too(autojump_clock: MockClock) -> None:
    parameters = [{"to": "part", "name": "p", "value": "{v}"}]
    call = {"post": "/x", "parameters": parameters}
    async with bench(Scripted(http()), call, max_upload="1KiB") as made:
        assert isinstance(await failure(made, v="x" * 1025), TooLarge)


async def test_beside_values_in_styles(autojump_clock: MockClock) -> None:
    service = Scripted(http())
    call = {
        "post": "/x",
        "multipart": {"p": "{v}"},
        "parameters": [{"to": "query", "name": "q", "value": "{v}"}],
        "optional_body": True,
    }
    async with bench(service, call) as made:
        await made(v="a")
    (request,) = service.requests
    assert request.target == "/x?q=a"
    assert parts_of(request) == [("p", None, None, b"a")]


@pytest.mark.parametrize("part", ["{v}", {"file": "{v}"}, {"text": "{v}"}])
async def test_a_body_without_parts_may_be_none(autojump_clock: MockClock, part: Any) -> None:
    service = Scripted(http())
    for optional in (True, False):
        call = {"post": "/x", "multipart": {"p": part}, "optional_body": optional}
        async with bench(service, call) as made:
            await made()
            await made(v="a")
    types = [request.header("content-type") for request in service.requests]
    assert types[0] is None
    assert all(named and named.startswith("multipart/form-data; ") for named in types[1:])
    bodies = [request.body.count(b"\r\n") for request in service.requests]
    assert bodies[0] == 0
    assert bodies[1] == bodies[3] > bodies[2] > 0


async def test_a_large_upload_goes_out_whole(autojump_clock: MockClock) -> None:
    data = bytes(range(256)) * 8192
    encoded = base64.b64encode(data).decode()
    ((_, _, _, content),) = await sent({"f": {"filename": "a", "base64": "{v}"}}, v=encoded)
    assert content == data


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ({"post": "/", "multipart": {"f": {}}}, "one of text, base64, json, file as a file's"),
        ({"post": "/", "multipart": {"f": {"text": "a", "json": 1}}}, "got text and json"),
        ({"post": "/", "multipart": {"f": {"text": "a", "file": "b"}}}, "got text and file"),
        ({"post": "/", "multipart": {"f": {"text": 1}}}, "multipart.f.text: expected a string"),
        ({"post": "/", "multipart": {"f": {"text": "", "name": "x"}}}, "multipart.f.name: unknown"),
        ({"post": "/", "multipart": {"f": [{"txt": ""}]}}, 'did you mean "text"'),
        ({"post": "/", "multipart": 1}, "multipart: expected a table"),
        ({"get": "/", "multipart": {"a": 1}}, "a GET has no body"),
        ({"post": "/", "multipart": {"a": 1}, "json": 1}, "got json and multipart"),
        (
            {"post": "/", "multipart": {"a": 1}, "headers": {"Content-Type": "x/y"}},
            "content-type names what parts a multipart",
        ),
        (
            {
                "post": "/",
                "multipart": {"a": 1},
                "parameters": [{"to": "part", "name": "b", "value": 1}],
            },
            "expected at most one body, got multipart and part",
        ),
    ],
)
def test_mistakes_are_told(call: Any, says: str) -> None:
    config = {
        "services": {"s": {"kind": "http", "url": "http://api.test"}},
        "tools": {"t": {"calls": {"a": {"service": "s", **call}}}},
    }
    with pytest.raises(ConfigError) as caught:
        load_config(config)
    assert says in str(caught.value)
