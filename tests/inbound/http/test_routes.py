"""Routes: which target answers on a path, by method."""

from __future__ import annotations

import pytest

from gateway.inbound.routes import Routes

ADDED = [
    ("GET", "/"),
    ("GET", "/users/{id}"),
    ("POST", "/users/{id}"),
    ("POST", "/users/search"),
    ("GET", "/users/{id}/posts/{post}"),
    ("GET", "/users/me/posts/{n}"),
    ("GET", "/a b/é"),
    ("GET", "/trailing/"),
]


@pytest.fixture
def routes() -> Routes[str]:
    made: Routes[str] = Routes()
    for method, path in ADDED:
        assert made.add(method, path, f"{method} {path}") is None
    return made


FOUND = [
    # path → method, target, values
    ("/", "GET", "GET /", {}),
    ("/users/7", "GET", "GET /users/{id}", {"id": "7"}),
    ("/users/search", "POST", "POST /users/search", {}),
    ("/users/search", "GET", "GET /users/{id}", {"id": "search"}),
    ("/users/a%2Fb", "GET", "GET /users/{id}", {"id": "a/b"}),
    ("/users/%65", "GET", "GET /users/{id}", {"id": "e"}),
    ("/users/%252e", "GET", "GET /users/{id}", {"id": "%2e"}),
    ("/users/..", "GET", "GET /users/{id}", {"id": ".."}),
    ("/users/{id}", "GET", "GET /users/{id}", {"id": "{id}"}),
    ("/users/7/posts/9", "GET", "GET /users/{id}/posts/{post}", {"id": "7", "post": "9"}),
    ("/users/me/posts/9", "GET", "GET /users/me/posts/{n}", {"n": "9"}),
    ("/users/me", "GET", "GET /users/{id}", {"id": "me"}),
    ("/%61%20b/%C3%A9", "GET", "GET /a b/é", {}),
    ("/trailing/", "GET", "GET /trailing/", {}),
]


@pytest.mark.parametrize(("path", "method", "target", "values"), FOUND)
def test_a_path_finds_its_target(
    routes: Routes[str], path: str, method: str, target: str, values: dict[str, str]
) -> None:
    assert routes.find(path)[method] == (target, values)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/users",
        "/users/",
        "//",
        "/users//posts/1",
        "/users/1/posts",
        "/trailing",
        "/USERS/1",
        "/users/1/",
        "users/1",
        "/" * 10000,
        "/users/1/posts/2/3",
    ],
)
def test_any_other_path_finds_nothing(routes: Routes[str], path: str) -> None:
    assert routes.find(path) == {}


def test_every_method_of_a_path_is_known(routes: Routes[str]) -> None:
    assert set(routes.find("/users/7")) == {"GET", "POST"}
    assert set(routes.find("/users/search")) == {"GET", "POST"}


@pytest.mark.parametrize(
    ("method", "path", "taken_by"),
    [
        ("GET", "/users/{name}", "GET /users/{id}"),
        ("POST", "/users/search", "POST /users/search"),
        ("POST", "/users/%73earch", "POST /users/search"),
        ("GET", "/", "GET /"),
    ],
)
def test_a_route_that_is_taken_is_not_added(
    routes: Routes[str], method: str, path: str, taken_by: str
) -> None:
    assert routes.add(method, path, "new") == taken_by
    assert "new" not in {target for target, _ in routes.find(path).values()}
