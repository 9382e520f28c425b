"""What of a URL is secret, in every form in which a service may repeat it."""

from __future__ import annotations

import pytest

from gateway.config.secret import Redaction
from gateway.net.credentials import secrets_of_url


@pytest.mark.parametrize(
    ("url", "said", "shown"),
    [
        ("http://u:p%40ss@x/", "got p@ss, sent p%40ss", "got ***, sent ***"),
        ("http://u:p%40ss@x/", "Basic dTpwQHNz or dTpwQHNz alone", "*** or *** alone"),
        ("http://token@x/", "got dG9rZW46", "got ***"),
        ("http://x/?key=s%2F3", "no such key: s/3", "no such key: ***"),
        ("http://x/", "u:p", "u:p"),
    ],
)
def test_what_is_hidden_of_a_url(url: str, said: str, shown: str) -> None:
    assert Redaction(secrets_of_url(url))(said) == shown
