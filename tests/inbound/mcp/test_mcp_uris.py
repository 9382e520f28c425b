"""URI templates: what they stand for, and that no URI makes matching slow."""

from __future__ import annotations

import time

import pytest

from gateway.inbound.mcp.uris import UriTemplate


@pytest.mark.parametrize(
    ("template", "uri", "values"),
    [
        ("crm://customers/{id}", "crm://customers/7", {"id": "7"}),
        ("crm://customers/{id}", "crm://customers/a%2Fb%20c", {"id": "a/b c"}),
        ("crm://customers/{id}", "crm://customers/", None),
        ("crm://customers/{id}", "crm://customers/7/8", None),
        ("crm://customers/{id}", "crm://customers/7?x", None),
        ("crm://customers/{id}", "other://customers/7", None),
        ("a:{x}-{y}", "a:1-2-3", {"x": "1", "y": "2-3"}),
        ("a:{x}.json", "a:b.json", {"x": "b"}),
        ("a:{x}.json", "a:.json", None),
        ("a:{x}.json", "a:b.xml", None),
        ("a:{x}/b/{y}/c", "a:1/b/2/c", {"x": "1", "y": "2"}),
        ("docs://handbook", "docs://handbook", {}),
        ("docs://handbook", "docs://handbook/", None),
        ("docs://handbook", "docs://handboo", None),
    ],
)
def test_match(template: str, uri: str, values: dict[str, str] | None) -> None:
    assert UriTemplate.of(template).match(uri) == values


@pytest.mark.parametrize(
    ("template", "uri", "fits"),
    [
        ("file:///{+path}", "file:///a/b/c", True),
        ("x://search{?q,page}", "x://search?q=1", True),
        ("x://search{?q,page}", "x://search", True),
        ("x://a{/b}{?c}", "x://a", True),
        ("x://a{/b}/z", "x://a/b/y", False),
        ("x://a", "x://b", False),
    ],
)
def test_fits(template: str, uri: str, fits: bool) -> None:
    assert UriTemplate.of(template).fits(uri) is fits


def test_no_uri_makes_it_slow() -> None:
    template = UriTemplate.of("a:" + "-".join(f"{{x{n}}}" for n in range(30)) + "!")
    start = time.process_time()
    assert template.match("a:" + "-" * 8_000) is None
    assert template.match("a:" + "-" * 100_000 + "!") is None  # over the bound
    assert time.process_time() - start < 0.5
