"""The error tree: codes, statuses, problem objects."""

import pytest

from gateway.core.errors import (
    ERRORS,
    DeadlineExceeded,
    GatewayError,
    InvalidArguments,
    NotFound,
    Rejected,
    Skipped,
    TooLarge,
    Unreachable,
)


def test_codes_are_unique_and_every_class_is_listed() -> None:
    assert len({error.code for error in ERRORS}) == len(ERRORS)
    assert set(GatewayError.__subclasses__()) == set(ERRORS)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("invalid_request", 400),
        ("invalid_arguments", 422),
        ("unauthenticated", 401),
        ("forbidden", 403),
        ("not_found", 404),
        ("too_large", 413),
        ("rate_limited", 429),
        ("overloaded", 503),
        ("unreachable", 502),
        ("bad_reply", 502),
        ("rejected", 502),
        ("deadline_exceeded", 504),
        ("internal", 500),
    ],
)
def test_each_code_has_its_status(code: str, status: int) -> None:
    (error,) = [error for error in ERRORS if error.code == code]
    assert error("x").status == status


@pytest.mark.parametrize(
    ("service_status", "status"),
    [
        *((kept, kept) for kept in (404, 409, 410, 412, 422)),
        *((other, 502) for other in (400, 401, 403, 405, 418, 451)),
        (429, 503),
    ],
)
def test_a_refusal_keeps_the_statuses_that_mean_something(service_status: int, status: int) -> None:
    error = Rejected("no", service_status=service_status)
    assert error.status == status
    assert error.problem()["service_status"] == service_status


def test_a_head_that_is_too_large_is_431() -> None:
    assert TooLarge("x", head=True).status == 431


def test_a_known_path_with_another_method_is_405() -> None:
    assert NotFound("x", allow=("GET",)).status == 405


def test_a_problem_has_only_the_members_that_mean_something() -> None:
    assert Unreachable("down").problem() == {
        "type": "about:blank",
        "title": "Service unreachable",
        "status": 502,
        "code": "unreachable",
        "detail": "down",
    }
    breach = {"pointer": "/id", "detail": "required, but missing"}
    problem = InvalidArguments("x", errors=(breach,), retry_after_s=2).problem("r1")
    assert problem["errors"] == [breach]
    assert problem["request_id"] == "r1"
    assert problem["retry_after_s"] == 2


def test_blame_is_a_copy_and_never_overwritten() -> None:
    error = Rejected("no", service_status=404)
    blamed = error.blamed(call="a", service="s")
    assert (error.call, error.service) == (None, None)
    assert (blamed.call, blamed.service, blamed.status) == ("a", "s", 404)
    assert blamed.blamed(call="b", service="t").label == "a=rejected"
    assert type(blamed) is Rejected


def test_blame_keeps_the_cause() -> None:
    cause = Unreachable("x")
    skipped = Skipped("y")
    skipped.__cause__ = cause
    assert skipped.blamed(call="c").__cause__ is cause
    assert DeadlineExceeded("z").blamed(call="c").__cause__ is None
