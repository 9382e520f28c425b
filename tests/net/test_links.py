"""`link` headers as RFC 8288 has them, and where references lead."""

from __future__ import annotations

import time

import pytest

from gateway.net.links import linked, resolved
from gateway.net.messages import Origin

HERE = Origin.of("https://api.test")


@pytest.mark.parametrize(
    ("header", "target"),
    [
        (None, None),
        ("", None),
        ('<https://api.test/x?page=2>; rel="next"', "https://api.test/x?page=2"),
        ("</x?page=2>; rel=next", "/x?page=2"),
        ("</p>; rel=prev, </n>; rel=next", "/n"),
        ('</p>; rel="prev", </n>; rel="last next"', "/n"),
        ("</n>; rel=NEXT", "/n"),
        ("</n> ; REL = next ; title=x", "/n"),
        ('</a,b;c>; title="x, </no>; rel=next \\" "; rel="next"', "/a,b;c"),
        ('</no>; title="rel=next"', None),
        ("</no>; rel=prev; rel=next", None),
        ("</no>; rel=nextish", None),
        ('</no>; rel=next; anchor="/other", </n>; rel=next', "/n"),
        ("</no>; anchor; rel=next", None),
        ("</no>", None),
        ("<>; rel=next", ""),
        (",, </n>; rel=next", "/n"),
        ("< /n >; rel=next", "/n"),
        ("</n; rel=next", None),
        ("nonsense, </n>; rel=next", None),
        ('</n>; rel="next', None),
        ("</p>; rel=prev junk </n>; rel=next", None),
    ],
)
def test_the_link_of_a_relation(header: str | None, target: str | None) -> None:
    assert linked(header, "next") == target


@pytest.mark.parametrize(
    "header",
    [
        "<" * 60_000,
        "</x>" + ";" * 60_000,
        "</x>; a=" + '"\\' * 30_000,
        "</x>" + " " * 60_000,
        "<a>," * 15_000,
    ],
    ids=["open", "semicolons", "quoted", "spaces", "many"],
)
def test_a_malicious_header_is_read_in_no_time(header: str) -> None:
    start = time.process_time()
    assert linked(header, "next") is None
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("reference", "target"),
    [
        ("/x", "/x"),
        ("?page=2", "/a/b?page=2"),
        ("c", "/a/c"),
        ("../c", "/c"),
        ("https://api.test/x?y#z", "/x?y"),
        ("https://API.test:443/x", "/x"),
        ("https://user:pass@api.test/x", "/x"),
        ("", "/a/b?page=1"),
        ("/é".encode().decode("latin-1"), "/%C3%A9"),
        ("/a b", "/a%20b"),
    ],
)
def test_where_a_reference_leads(reference: str, target: str) -> None:
    assert resolved(HERE, "/a/b?page=1", reference) == (HERE, target)


@pytest.mark.parametrize(
    ("reference", "origin"),
    [
        ("http://api.test/x", "http://api.test"),
        ("https://api.test:8443/x", "https://api.test:8443"),
        ("//other.test/x", "https://other.test"),
        ("https://api.test@other.test/x", "https://other.test"),
        ("https:\\\\other.test/x", "https://api.test"),
    ],
)
def test_whose_it_is(reference: str, origin: str) -> None:
    assert str(resolved(HERE, "/", reference)[0]) == origin


@pytest.mark.parametrize(
    "reference",
    ["ftp://api.test/x", "javascript:alert(1)", "http://", "http://[", "/" + "x" * 70_000],
)
def test_what_leads_nowhere(reference: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        resolved(HERE, "/", reference)
