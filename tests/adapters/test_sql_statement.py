"""A statement as it is written: its parameters, and that it is one."""

from __future__ import annotations

import pytest

from gateway.adapters.sql.statement import Statement


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("select 1", ()),
        ("select :a", ("a",)),
        ("select :a, :b_2, :a;", ("a", "b_2", "a")),
        ("select ':a', :b", ("b",)),
        ("select 'it''s :a', :b", ("b",)),
        ('select ":a" from t where x = :b', ("b",)),
        ("select `:a`, :b", ("b",)),
        ("select 1 -- :a\n, :b", ("b",)),
        ("select /* :a /* :c */ :d */ :b", ("b",)),
        ("select $$ :a; $$, $x$ :c $$ $x$, :b", ("b",)),
        (r"select E'\' :a', :b", ("b",)),
        ("select x::int, :b::text", ("b",)),
        ("select a[1:2], a[:n:3] from t", ("n",)),
        ("select 1 ; -- done", ()),
        ("select ';' ;", ()),
    ],
)
def test_parameters_are_what_stands_outside_of_quotes_and_comments(
    text: str, names: tuple[str, ...]
) -> None:
    assert Statement.of(text).names == names


@pytest.mark.parametrize(
    "text", ["select 1; select 2", "select ':a'; delete from t", "select 1; ; x", ";select 1; x"]
)
def test_several_statements_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected one statement, got several"):
        Statement.of(text)


@pytest.mark.parametrize("text", ["", "  ", "-- only words", "/* a */ ;"])
def test_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a statement, got none"):
        Statement.of(text)


def test_its_text_has_marks_in_the_parameters_places() -> None:
    statement = Statement.of("select '50%' , :a % 2, :b;")
    assert statement.text(["?", "?"]) == "select '50%' , ? % 2, ?"
    assert statement.text(["%(a)s", "%(b)s"], "%") == "select '50%%' , %(a)s %% 2, %(b)s"


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("select pg_advisory_xact_lock(:a)", False),
        ("\n (SELECT temp from t) union values (1)", False),
        ("with x as (select 1) insert into t select * from x", False),
        ("select pg_try_advisory_lock_shared(:a)", True),
        ("select * into temp mine from t", True),
        ("select set_config(:a, :b, false)", True),
        ("set work_mem = '1MB'", True),
        ("-- sets\nselect 1", True),
        ("do $$ begin end $$", True),
        ("call p(:a)", True),
    ],
)
def test_what_may_mark_its_session_is_known_by_its_words(text: str, marks: bool) -> None:
    assert Statement.of(text).marks_session is marks


@pytest.mark.parametrize(
    "text", ["select * from {t}", "select $1", "select a from t where b = $12"]
)
def test_parameters_of_another_form_are_told(text: str) -> None:
    with pytest.raises(ValueError, match="is filled in nowhere; a parameter is written :name"):
        Statement.of(text)


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("select ?", True),
        ("select a ?| b", True),  # PostgreSQL's
        ("select '?{$1'", False),
        ("select $$ ? { $$ -- ?", False),
    ],
)
def test_question_marks_are_known(text: str, question: bool) -> None:
    assert Statement.of(text).question is question
