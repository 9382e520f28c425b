"""Multipart bodies: what parsers of others read."""

from __future__ import annotations

import email.parser
import email.policy
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidArguments, TooLarge
from gateway.net.multipart import Part, multipart, plain_parts


def parsed(content_type: str, body: bytes) -> list[Any]:
    head = f"content-type: {content_type}\r\n\r\n".encode()
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    return list(parser.parsebytes(head + body).iter_parts())  # type: ignore[attr-defined]


def test_plain_values_are_what_parsers_read() -> None:
    values = [("a", "é\r\n--x"), ('b"\r\n', [1, True]), ("c", {"d": None}), ("e", None), ("f", 1.5)]
    read = parsed(*multipart((p for each in values for p in plain_parts(*each)), math.inf))
    got = [
        (part.get_param("name", header="content-disposition"), part.get_payload(decode=True))
        for part in read
    ]
    assert got == [
        ("a", "é\r\n--x".encode()),
        ("b%22%0D%0A", b"1"),
        ("b%22%0D%0A", b"true"),
        ("c", b'{"d":null}'),
        ("f", b"1.5"),
    ]
    assert [part["content-type"] for part in read] == [None, None, None, "application/json", None]


def test_files_are_what_parsers_read() -> None:
    parts = [
        Part("f", b"\x00\xff\r\n", "a.bin", "application/octet-stream"),
        Part("g", b"", 'a"b\r\n.txt', "text/plain; charset=utf-8"),
    ]
    first, second = parsed(*multipart(parts, math.inf))
    assert (first.get_filename(), first.get_content_type()) == ("a.bin", "application/octet-stream")
    assert first.get_payload(decode=True) == b"\x00\xff\r\n"
    assert second.get_filename() == "a%22b%0D%0A.txt"
    assert second.get_payload(decode=True) == b""


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_contents_come_out_as_they_went_in(contents: list[bytes]) -> None:
    content_type, body = multipart((Part("f", each) for each in contents), math.inf)
    boundary = content_type.partition("boundary=")[2].encode()
    pieces = body.split(b"--" + boundary)
    assert pieces[0] == b""
    assert pieces[-1] == b"--\r\n"
    head = b'\r\ncontent-disposition: form-data; name="f"\r\n\r\n'
    assert [piece.removeprefix(head).removesuffix(b"\r\n") for piece in pieces[1:-1]] == contents


def test_no_boundary_comes_twice() -> None:
    assert len({multipart([], math.inf)[0] for _ in range(1000)}) == 1000


@pytest.mark.parametrize("media_type", ["text/plain\r\nx: y", "text/plain\n\n", "a\0"])
def test_a_media_type_ends_no_line(media_type: str) -> None:
    with pytest.raises(InvalidArguments, match="control character"):
        multipart([Part("f", b"", "x", media_type)], math.inf)


def test_what_is_no_text_is_refused() -> None:
    for part in (Part("\ud800", b""), Part("f", b"", "\ud800"), Part("f", b"", "x", "\ud800")):
        with pytest.raises(InvalidArguments, match="no text"):
            multipart([part], math.inf)
    with pytest.raises(InvalidArguments, match="no text"):
        list(plain_parts("a", "\ud800"))


def test_a_body_has_a_bound() -> None:
    parts = [Part("a", b"x" * 60), Part("b", b"x" * 40)]
    assert multipart(parts, 100)
    with pytest.raises(TooLarge, match="over 99 bytes"):
        multipart(parts, 99)
