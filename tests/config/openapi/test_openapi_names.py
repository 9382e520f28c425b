"""Names and descriptions for models: fit, different, and the same every time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.openapi.names import (
    MAX_DESCRIPTION,
    MAX_NAME,
    described,
    fitted,
    names_of,
)

FIT = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]*")


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        (("getUser", "get", "/users/{id}"), "getUser"),
        (("repos/list-for-org", "get", "/"), "repos_list-for-org"),
        (("calendar.events.list", "get", "/"), "calendar_events_list"),
        (("1click", "get", "/"), "op_1click"),
        (("__init", "get", "/"), "init"),
        (("", "get", "/users/{id}/posts"), "get_users_by_id_posts"),
        (("", "post", "/"), "post"),
        (("日本", "delete", "/a.b/{c-d}"), "delete_a_b_by_c-d"),
    ],
)
def test_names(operation: tuple[str, str, str], name: str) -> None:
    assert names_of([operation]) == [name]


def test_the_same_id_twice() -> None:
    operations = [("list", "get", "/users"), ("list", "get", "/posts"), ("other", "get", "/x")]
    assert names_of(operations) == ["get_users", "get_posts", "other"]


def test_the_same_name_by_path() -> None:
    first, second = names_of([("", "get", "/a/b"), ("", "get", "/a_b")])
    assert first != second
    assert first.startswith("get_a_b_")
    assert second.startswith("get_a_b_")
    assert names_of([("", "get", "/a_b"), ("", "get", "/a/b")]) == [second, first]


@given(
    st.lists(st.tuples(st.text(max_size=9), st.sampled_from(["get", "put"]), st.text(max_size=9)))
)
def test_names_are_different_and_fit(operations: list[tuple[str, str, str]]) -> None:
    operations = list(
        {(method, path): (i, method, path) for i, method, path in operations}.values()
    )
    names = names_of(operations)
    assert len(set(names)) == len(operations)
    assert all(FIT.fullmatch(name) for name in names)


def test_long_names_end_in_a_hash() -> None:
    long = "a" * 70
    assert fitted("p_", "short") == "p_short"
    assert len(fitted("", long)) == MAX_NAME
    assert fitted("", long) != fitted("", long + "b")
    assert fitted("", long) == fitted("", long)
    assert fitted("", "a" * MAX_NAME) == "a" * MAX_NAME


@pytest.mark.parametrize(
    ("summary", "description", "text"),
    [
        ("List users", "All of them.", "List users\n\nAll of them."),
        ("List users", "List users, all of them.", "List users, all of them."),
        ("List users", "", "List users"),
        ("", "<p>Lists <b>users</b> &amp; more.</p>\r\n\r\n\r\nEnd", "Lists users & more.\n\nEnd"),
        ("", "a < b and c > d & e", "a < b and c > d & e"),
        ("", "", "GET /users"),
        ("", "  \n ", "GET /users"),
    ],
)
def test_descriptions(summary: str, description: str, text: str) -> None:
    assert described(summary, description, "GET /users", deprecated=False) == text


def test_deprecated_operations_say_so() -> None:
    assert described("Old", "", "", deprecated=True) == "Deprecated. Old"


@pytest.mark.parametrize("word", ["word ", "wordwithoutend"])
def test_long_descriptions_are_cut(word: str) -> None:
    text = described(word * 1000, "", "", deprecated=False)
    assert MAX_DESCRIPTION // 2 < len(text) <= MAX_DESCRIPTION
    assert text.endswith("d…" if word == "word " else "…")
