"""What `gateway.toml` becomes, and what is said of every mistake in it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from gateway.config.fields import Secret, reveal
from gateway.config.problems import ConfigError

USERS = '[services.users]\nkind = "http"\nurl = "http://users/"\n'
"""Three lines: a service that is right."""

TOOL = USERS + '[tools.t.calls]\na = { service = "users", get = "/a" }\n'
"""Five lines: a service and a tool of one call."""

WHOLE = """\
#:schema ./gateway.schema.json
[server]
bind = ["127.0.0.1:8080", "unix:/run/gateway.sock", "[::1]:1"]
deadline = "1m30s"
allowed_origins = []
tls = { certificate = "file:tls.crt", key = "keys/tls.key" }

[services.users]
kind = "http"
url = "https://users.internal/api"
headers = { authorization = "env:USERS_TOKEN", X-Trace = "on", cookie = "file:cookie" }
max_reply = "none"
use = "flaky"
timeout = "2s"

[profiles.flaky]
timeout = "1s"
coalesce = true

[services.ldap]
kind = "python"
module = "mycompany.directory"

[tools.customer_360]
description = "Everything."
http = "GET  /customers/{id}"
deadline = "2s"
wait = 2

[tools.customer_360.input.properties]
id = { type = "integer", minimum = 1 }
name = "string"
deep = { type = "object", properties = { a = "array" } }
[tools.customer_360.input]
required = ["id"]

[tools.customer_360.calls]
profile = { service = "users", get = "/customers/{id}" }

[tools.customer_360.calls.groups]
service = "ldap"
function = "groups_of"
arguments = { uid = "{profile.uid}", day = 2024-01-02, at = 07:30:00 }
optional = true
default = []
timeout = "800ms"
when = "profile.active"

[tools.customer_360.output]
name = "profile.name"

[access]
anonymous = true
"""


def test_a_whole_file(files: Any) -> None:
    files.environ["USERS_TOKEN"] = "Bearer t"
    files.write("tls.crt", "c")
    files.write("keys/tls.key", "k")
    files.write("cookie", "a=b\n")
    config = files.load(WHOLE).unwrap()

    assert config.path == Path("gateway.toml")
    assert config.server.bind == ("127.0.0.1:8080", "unix:/run/gateway.sock", "[::1]:1")
    assert config.server.deadline == 90.0
    assert config.server.allowed_origins == ()
    assert config.server.max_body == 1024 * 1024
    assert config.server.tls.certificate == Path("tls.crt")
    assert config.server.tls.key == Path("keys/tls.key")
    assert config.access.anonymous is True
    assert config.mcp.path == "/mcp"

    users = config.services["users"]
    assert (users.name, users.kind, users.profile) == ("users", "http", "flaky")
    assert users.policies == {"timeout": 2.0, "coalesce": True}
    assert users.settings.url == "https://users.internal/api"
    assert users.settings.max_reply == math.inf
    assert users.settings.headers == {
        "authorization": Secret("Bearer t"),
        "x-trace": "on",
        "cookie": Secret("a=b"),
    }
    assert config.services["ldap"].policies == {}
    assert config.services["ldap"].settings.threads == 8

    tool = config.tools["customer_360"]
    assert tool.settings.http == "GET /customers/{id}"
    assert tool.settings.deadline == 2.0
    assert tool.settings.wait == 2
    assert tool.settings.output == {"name": "profile.name"}
    assert tool.settings.input == {
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": {"type": "integer", "minimum": 1},
            "name": {"type": "string"},
            "deep": {"type": "object", "properties": {"a": {"type": "array"}}},
        },
    }
    assert list(tool.calls) == ["profile", "groups"]
    profile, groups = tool.calls.values()
    assert (profile.name, profile.common.service, profile.has_default) == (
        "profile",
        "users",
        False,
    )
    assert profile.keys.get == "/customers/{id}"
    assert groups.common.optional
    assert groups.common.default == []
    assert groups.has_default
    assert groups.common.timeout == 0.8
    assert groups.common.when == "profile.active"
    assert groups.keys.arguments == {
        "uid": "{profile.uid}",
        "day": "2024-01-02",
        "at": "07:30:00",
    }


def test_what_was_written_is_known(files: Any) -> None:
    config = files.load(TOOL + '[server]\ndeadline = "1s"\n').unwrap()
    assert "server.deadline" in config.explicit
    assert "server.drain" not in config.explicit
    assert {"services.users.kind", "tools.t.calls.a.get"} <= config.explicit


def test_an_empty_file_is_all_defaults(files: Any) -> None:
    config = files.load("").unwrap()
    assert config.services == config.tools == {}
    assert config.server.keep_alive == 75.0
    assert config.explicit == frozenset()


def test_eight_mistakes_are_eight_lines(files: Any) -> None:
    text = """\
[server]
deadline = 2

[services.users]
kind = "http"
url = "ftp://users"
timeot = "2s"

[services.orders]
kind = "htp"
pages = 3

[services.stock]
kind = "python"

[tools.lookup]
http = "FETCH /x"
[tools.lookup.calls]
a = { service = "usres", get = 3 }
b = { service = "orders", fetch = "/" }

[channels.room]
path = "/rooms"
"""
    assert files.lines(text) == [
        'gateway.toml:2: server.deadline: expected a duration such as "2s", got 2; write the unit',
        'gateway.toml:6: services.users.url: expected a URL such as "https://users.internal/api", got "ftp://users": it starts with http:// or https://',
        'gateway.toml:7: services.users.timeot: unknown key; did you mean "timeout"?',
        'gateway.toml:10: services.orders.kind: expected one of "http", "python", got "htp"; did you mean "http"?',
        "gateway.toml:13: services.stock.module: missing; expected a string",
        'gateway.toml:17: tools.lookup.http: expected one of "GET", "POST", "PUT", "PATCH", "DELETE" before the path, got "FETCH"',
        'gateway.toml:19: tools.lookup.calls.a.service: expected the name of a service, got "usres"; did you mean "users"?',
        "gateway.toml:22: channels: not available in this version",
    ]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        pytest.param(text, lines, id=name)
        for name, text, *lines in [
            # ---- values
            (
                "duration",
                '[server]\ndeadline = "2 parsecs"\n',
                ':2: server.deadline: expected a duration such as "2s", got "2 parsecs"',
            ),
            (
                "duration without unit, quoted",
                '[server]\ndeadline = "2"\n',
                ':2: server.deadline: expected a duration such as "2s", got "2"; write the unit',
            ),
            (
                "duration of nothing",
                '[server]\ndeadline = "0s"\n',
                ':2: server.deadline: expected a duration such as "2s", above zero, got "0s"',
            ),
            (
                "no limit where there must be one",
                '[server]\nmax_body = "none"\n',
                ':2: server.max_body: expected a size such as "1MiB", got "none"',
            ),
            (
                "size",
                "[server]\nmax_body = 1.5\n",
                ':2: server.max_body: expected a size such as "1MiB", got 1.5; write the unit',
            ),
            (
                "size that may be none",
                USERS + 'max_reply = "nothing"\n',
                ':4: services.users.max_reply: expected a size such as "1MiB" or "none", got "nothing"',
            ),
            (
                "integer",
                "[server]\nmax_connections = 0\n",
                ":2: server.max_connections: expected a whole number from 1 up, got 0",
            ),
            (
                "integer, not true",
                "[server]\nmax_connections = true\n",
                ":2: server.max_connections: expected a whole number from 1 up, got true",
            ),
            (
                "integer of many digits",
                USERS + "max_connections = 0.5\nheaders = 0x" + "f" * 400 + "\n",
                ":4: services.users.max_connections: expected a whole number from 1 up, got 0.5",
                ':5: services.users.headers: expected a table of headers such as { accept = "application/json" }, got a number of more than 60 digits',
            ),
            (
                "choice",
                '[telemetry]\nlevel = "warn"\n',
                ':2: telemetry.level: expected one of "debug", "info", "warning", "error", got "warn"; did you mean "warning"?',
            ),
            (
                "choice, not near",
                "[telemetry]\nlevel = 1979-05-27\n",
                ':2: telemetry.level: expected one of "debug", "info", "warning", "error", got 1979-05-27',
            ),
            (
                "list",
                '[server]\nallowed_hosts = "localhost"\n',
                ':2: server.allowed_hosts: expected a list of strings such as ["a", "b"], got "localhost"',
            ),
            (
                "items of a list, each in its line",
                '[server]\nallowed_hosts = [\n  "a",\n  3,\n  "b", { c = 1 },\n]\n',
                ":4: server.allowed_hosts[1]: expected a string, got 3",
                ":5: server.allowed_hosts[3]: expected a string, got a table",
            ),
            (
                "bind",
                '[server]\nbind = ["localhost", "[::1]:80", "127.0.0.1:70000", "unix:run"]\n',
                *(
                    f':2: server.bind[{index}]: expected an address such as "127.0.0.1:8080", "[::1]:8080" or "unix:/run/gateway.sock", got "{got}": {why}'
                    for index, got, why in (
                        (0, "localhost", "a port is missing"),
                        (2, "127.0.0.1:70000", "a port is a number up to 65535"),
                        (3, "unix:run", "the path of a socket starts with /"),
                    )
                ),
            ),
            (
                "no bind",
                "[server]\nbind = []\n",
                ':2: server.bind: expected a list of addresses such as ["127.0.0.1:8080"], got []',
            ),
            (
                "path",
                '[mcp]\npath = "mcp"\n',
                ':2: mcp.path: expected a path such as "/mcp", got "mcp": a path starts with /',
            ),
            (
                "table",
                "[server]\nadmin = 9901\n",
                ":2: server.admin: expected a table, got 9901",
            ),
            (
                "keys of a table",
                '[server.tls]\ncertificate = "file:none.crt"\nky = "a"\n',
                ':2: server.tls.certificate: expected a file such as "file:tls.crt", got "file:none.crt": no such file',
                ':3: server.tls.ky: unknown key; did you mean "key"?',
            ),
            (
                "section",
                "server = 3\n",
                ":1: server: expected a table, got 3",
            ),
            (
                "a value is cut",
                f'[telemetry]\nlog = "{"x" * 1000}"\n',
                f':2: telemetry.log: expected one of "json", "console", got "{"x" * 60}…"',
            ),
            (
                "a value stays on one line",
                '[telemetry]\nlog = "a\\n\\u001b[1m\\u2028\\"\\\\"\n',
                ':2: telemetry.log: expected one of "json", "console", got "a\\n\\u001b[1m\\u2028\\"\\\\"',
            ),
            # ---- sections
            ("unknown section", "[sever]\n", ':1: sever: unknown section; did you mean "server"?'),
            ("unknown section, not near", "[zzz]\n", ":1: zzz: unknown section"),
            (
                "a section with a slip",
                '[servces.users]\nkind = "http"\n[tools.t.calls]\na = { service = "users", get = "/" }\n',
                ':1: servces: unknown section; did you mean "services"?',
            ),
            (
                "services that are no table",
                'services = 1\n[tools.t.calls]\na = { service = "users", get = "/" }\n',
                ":1: services: expected a table, got 1",
            ),
            # ---- services
            (
                "no kind",
                '[services.users]\nurl = "http://users/"\n',
                ':1: services.users.kind: missing; expected one of "http", "python"',
            ),
            (
                "kind with a slip",
                '[services.users]\nknd = "http"\nurl = "http://users/"\n',
                ':2: services.users.knd: unknown key; did you mean "kind"?',
            ),
            (
                "kind that is no text",
                "[services.users]\nkind = 3\n",
                ':2: services.users.kind: expected one of "http", "python", got 3',
            ),
            (
                "the policies of a service of no kind",
                '[services.users]\nkind = "htp"\ntimeout = 3\nuse = "x"\nanything = 1\n',
                ':2: services.users.kind: expected one of "http", "python", got "htp"; did you mean "http"?',
                ':3: services.users.timeout: expected a duration such as "2s", got 3; write the unit',
                ':4: services.users.use: expected the name of a profile, got "x"',
            ),
            (
                "no url",
                '[services.users]\nkind = "http"\n',
                ':1: services.users.url: missing; expected a URL such as "https://users.internal/api"',
            ),
            (
                "a required key with a slip is one mistake",
                '[services.users]\nkind = "http"\nulr = "http://users/"\n',
                ':3: services.users.ulr: unknown key; did you mean "url"?',
            ),
            (
                "a service that is no table",
                "[services]\nusers = 3\n",
                ":2: services.users: expected a table with kind, got 3",
            ),
            (
                "a service's name",
                '[services."a b"]\nkind = "http"\nurl = "http://a/"\n[tools.t.calls]\nx = { service = "a b", get = "/" }\n',
                ':1: services."a b": expected a name such as "users": a letter, then up to 63 letters, digits, _ or -',
            ),
            (
                "unknown profile",
                USERS + 'use = "flakey"\n[profiles.flaky]\n',
                ':4: services.users.use: expected the name of a profile, got "flakey"; did you mean "flaky"?',
            ),
            (
                "a profile holds policies alone, used or not",
                '[profiles.flaky]\ntimeout = 1\nmax_reply = "1MiB"\nretry = {}\n',
                ':2: profiles.flaky.timeout: expected a duration such as "2s", got 1; write the unit',
                ":3: profiles.flaky.max_reply: unknown key",
                ":4: profiles.flaky.retry: not available in this version",
            ),
            # ---- tools
            (
                "no calls",
                '[tools.t]\ndescription = "x"\n',
                ":1: tools.t.calls: missing; expected at least one call",
            ),
            ("empty calls", "[tools.t.calls]\n", ":1: tools.t.calls: expected at least one call"),
            (
                "calls with a slip",
                "[tools.t]\ncals = { a = {} }\n",
                ':2: tools.t.cals: unknown key; did you mean "calls"?',
            ),
            (
                "calls that are no table",
                "[tools.t]\ncalls = []\n",
                ":2: tools.t.calls: expected a table of calls, got []",
            ),
            (
                "a tool that is no table",
                "[tools]\nt = 1\n",
                ":2: tools.t: expected a table with calls, got 1",
            ),
            (
                "a call that is no table",
                USERS + '[tools.t.calls]\na = "users"\n',
                ':5: tools.t.calls.a: expected a table with service, got "users"',
            ),
            (
                "names of tools and calls",
                USERS + '[tools."ä".calls]\n1a = { service = "users", get = "/a" }\n',
                ':4: tools."ä": expected a name such as "users": a letter, then up to 63 letters, digits, _ or -',
                ':5: tools."ä".calls.1a: expected a name such as "users": a letter, then up to 63 letters, digits, _ or -',
            ),
            (
                "no service",
                USERS + '[tools.t.calls]\na = { get = "/a", whatever = 1 }\n',
                ":5: tools.t.calls.a.service: missing; expected the name of a service",
            ),
            (
                "service with a slip",
                USERS + '[tools.t.calls]\na = { get = "/a", servce = "users" }\n',
                ':5: tools.t.calls.a.servce: unknown key; did you mean "service"?',
            ),
            (
                "a call to a service that is wrong itself",
                '[services.users]\nkind = "http"\nurl = 1\n[tools.t.calls]\na = { service = "users", gte = "/" }\n',
                ':3: services.users.url: expected a URL such as "https://users.internal/api", got 1',
                ':5: tools.t.calls.a.gte: unknown key; did you mean "get"?',
            ),
            (
                "what the kind says of a call as a whole",
                USERS + '[tools.t.calls]\na = { service = "users", get = "/a", post = "/a" }\n',
                ":5: tools.t.calls.a: expected exactly one of get, post",
            ),
            (
                "what the kind says of a key",
                USERS + '[tools.t.calls]\na = { service = "users", get = "/a", json = 1 }\n',
                ":5: tools.t.calls.a.json: a GET has no body",
            ),
            (
                "a call's keys",
                USERS
                + '[tools.t.calls]\na = { service = "users", get = "a", query = { x = { y = 1 } }, json = [nan] }\n',
                ':5: tools.t.calls.a.get: expected a path such as "/customers/{id}", got "a"',
                ":5: tools.t.calls.a.query.x: expected a string, a number, true, false or a list of these, got a table",
                ":5: tools.t.calls.a.json[0]: expected a value that JSON has, got nan",
            ),
            (
                "when",
                USERS + '[tools.t.calls]\na = { service = "users", get = "/a", when = "a.[" }\n',
                ':5: tools.t.calls.a.when: expected a JMESPath expression such as "profile.name", got "a.[": it ends too early',
            ),
            (
                "waiting for more than there is",
                TOOL + "[tools.t]\nwait = 2\n",
                ":7: tools.t.wait: expected at most 1, the number of calls, got 2",
            ),
            (
                "wait",
                TOOL + '[tools.t]\nwait = "frist"\n',
                ':7: tools.t.wait: expected "all", "first" or a whole number from 1 up, got "frist"; did you mean "first"?',
            ),
            (
                "output",
                TOOL + '[tools.t.output]\na = "x y"\n_errors = "x"\nb = 3\n',
                ':7: tools.t.output.a: expected a JMESPath expression such as "profile.name", got "x y": unexpected "y" at character 3',
                ":8: tools.t.output._errors: this key is the gateway's own: it names the calls that are missing",
                ':9: tools.t.output.b: expected a JMESPath expression such as "profile.name", got 3',
            ),
            # ---- across
            (
                "keys that do not exist yet",
                "[access]\nanonymous = false\n",
                ":2: access.anonymous: needs keys or jwt, which are not available in this version",
            ),
            (
                "open to everyone without saying so",
                '[server]\nbind = ["127.0.0.1:1", "0.0.0.0:8080", "[::]:1"]\n',
                ':2: server.bind: expected loopback addresses only, got "0.0.0.0:8080": say [access] anonymous = true to serve everyone who can reach it',
            ),
            (
                "open to everyone, and said so",
                '[server]\nbind = ["0.0.0.0:8080"]\n[access]\nanonymous = true\n',
            ),
            (
                "open, and said with a slip",
                '[server]\nbind = ["0.0.0.0:8080"]\n[access]\nanonymus = true\n',
                ':4: access.anonymus: unknown key; did you mean "anonymous"?',
            ),
        ]
    ],
)
def test_mistakes(files: Any, text: str, lines: list[str]) -> None:
    assert files.lines(text) == ["gateway.toml" + line for line in lines]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[models.a]\n", ":1: models"),
        ("[channels.a]\n", ":1: channels"),
        ('[access]\nkeys = "file:keys.toml"\nanonymous = false\n', ":2: access.keys"),
        ("[access.jwt]\n", ":1: access.jwt"),
        ("[access.limits.default]\n", ":1: access.limits"),
        ('[state]\njobs = "sqlite:///jobs.db"\n', ":2: state.jobs"),
        ("[mcp]\nsampling = true\n", ":2: mcp.sampling"),
        *(
            (USERS + f"{key} = 1\n", f":4: services.users.{key}")
            for key in ("health", "allow_private")
        ),
        *(
            (USERS + f"{key} = 1\n", f":4: services.users.{key}")
            for key in ("retry", "hedge", "breaker", "limit", "rate", "cache", "fault")
        ),
        *((TOOL + f"[tools.t]\n{key} = 1\n", f":7: tools.t.{key}") for key in ("scopes", "job")),
        (
            USERS + '[tools.t.calls]\na = { service = "users", get = "/", pages = 1 }\n',
            ":5: tools.t.calls.a.pages",
        ),
    ],
)
def test_keys_of_another_version_are_refused(files: Any, text: str, key: str) -> None:
    assert files.lines(text) == [f"gateway.toml{key}: not available in this version"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            '[state]\nurl = "redis://me:hunter2@cache/0"\n',
            ':2: state.url: expected "memory:", got "redis://***@cache/0": shared state is not available in this version',
        ),
        (
            '[telemetry]\ntraces = "otlp:http://collector:4318"\n',
            ':2: telemetry.traces: expected "none", got "otlp:http://collector:4318": sending traces is not available in this version',
        ),
        (
            '[services.w]\nkind = "sql"\nurl = "env:W"\n[tools.t.calls]\na = { service = "w", sql = "select 1" }\n',
            ':2: services.w.kind: "sql" is not available in this version',
        ),
    ],
)
def test_values_of_another_version_are_refused(files: Any, text: str, line: str) -> None:
    assert files.lines(text) == ["gateway.toml" + line]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            'authorization = "env:USERS_TOKEN"',
            "authorization: environment variable USERS_TOKEN is not set",
        ),
        ('accept = "env:EMPTY"', "accept: environment variable EMPTY is empty"),
        ('accept = "env:1X"', 'accept: expected "env:NAME", got "env:1X"'),
        ('x-key = "file:none"', 'x-key: cannot read file "none": no such file'),
        ('x-key = "file:"', 'x-key: expected "file:PATH", got "file:"'),
        ('x-key = "file:."', 'x-key: "." is not a file'),
        ('x-key = "file:large"', 'x-key: file "large" is larger than 64KiB'),
        ('x-key = "file:binary"', 'x-key: file "binary" is not UTF-8 text'),
        ('x-key = "file:empty"', 'x-key: file "empty" is empty'),
        ('x-key = ["hunter2"]', "x-key: expected a string"),
        ("accept = 3", "accept: expected a string, got 3"),
        ('"a b" = "x"', '"a b": expected the name of a header, such as accept-language'),
        (
            'Accept = "a", ACCEPT = "b"',
            'ACCEPT: the same header as "Accept": case makes no difference',
        ),
        *(
            (
                text,
                text.split()[0]
                + ": expected a header's value: up to 8192 visible ASCII characters, spaces only between them",
            )
            for text in (
                r'accept = "a\nb"',
                'cookie = "hunter2\t"',
                'accept = "é"',
                'x = "env:BROKEN"',
                'x = "file:twolines"',
            )
        ),
    ],
)
def test_secrets_are_looked_up_and_never_shown(files: Any, header: str, message: str) -> None:
    files.environ |= {"EMPTY": "", "BROKEN": "hunter2\r\nx: y"}
    files.write("large", "x" * 70_000)
    files.write("binary", b"\xff\xfe")
    files.write("empty", "\n")
    files.write("twolines", "hunter2\n\n")
    found = files.lines(USERS + f"headers = {{ {header} }}\n")
    assert found == [f"gateway.toml:4: services.users.headers.{message}"]
    assert "hunter2" not in found[0]


NO_PORT = "a port is a number from 1 to 65535"
NO_SCHEME = "it starts with http:// or https://"


@pytest.mark.parametrize(
    ("url", "got", "why"),
    [
        ("env:BAD_URL", 'something else from "env:BAD_URL"', NO_SCHEME),
        ("env:BAD_PORT", 'something else from "env:BAD_PORT"', NO_PORT),
        ("ftp://me:hunter2@host/x", '"ftp://***@host/x"', NO_SCHEME),
        ("http://host/x?key=hunter2#part", '"http://host/x"', "a fragment is never sent"),
        ("http://", '"http://"', "the host is missing"),
        ("http://:80/", '"http://:80/"', "the host is missing"),
        ("http://host:0/", '"http://host:0/"', NO_PORT),
        ("http://host:x/", '"http://host:x/"', NO_PORT),
        ("http://host:/", '"http://host:/"', NO_PORT),
        ("http://host:70000/?key=hunter2", '"http://host:70000/"', NO_PORT),
        ("http://me:hunter2@host:70000/", '"http://***@host:70000/"', NO_PORT),
        (
            "http://ho st/",
            '"http://ho st/"',
            "a space, a control character or a backslash stands in no URL",
        ),
        ("http://[::1/", '"http://[::1/"', "the host is no IPv6 address in brackets"),
        ("http://é/", '"http://é/"', "the host is neither a name nor an address, in ASCII"),
        ("//host/", '"//host/"', NO_SCHEME),
    ],
)
def test_a_url_says_nothing_it_should_not(files: Any, url: str, got: str, why: str) -> None:
    files.environ["BAD_URL"] = "redis://:hunter2@host"
    files.environ["BAD_PORT"] = "http://:hunter2@host:70000"
    text = f'[services.users]\nkind = "http"\nurl = "{url}"\n'
    assert files.lines(text) == [
        (
            'gateway.toml:3: services.users.url: expected a URL such as "https://users.internal/api", '
            f"got {got}: {why}"
        )
    ]


@pytest.mark.parametrize(
    ("bind", "why"),
    [
        ("127.0.0.1:70000", "a port is a number up to 65535"),
        ("[::1]:99999", "a port is a number up to 65535"),
        ("127.0.0.1:", "a port is a number up to 65535"),
        ("127.0.0.1:http", "a port is a number up to 65535"),
        ("127.0.0.1", "a port is missing"),
        ("http://127.0.0.1:80", "an address has no scheme"),
        (":8080", "0.0.0.0 is every address of this machine, and [::] with IPv6"),
        ("*:8080", "0.0.0.0 is every address of this machine, and [::] with IPv6"),
        ("::1:80", "an IPv6 address stands in brackets"),
        ("[127.0.0.1]:80", "there is no IPv6 address in the brackets"),
        ("300.1.1.1:80", "the host is no IPv4 address"),
        ("a b:80", "the host is neither a name nor an address"),
        (
            f"unix:/{'x' * 107}",
            "the path of a socket has up to 107 bytes, none of them zero",
        ),
    ],
)
@pytest.mark.parametrize("key", ["bind", "admin"])
def test_an_address_says_what_is_wrong_with_it(files: Any, key: str, bind: str, why: str) -> None:
    text = f'bind = ["{bind}"]' if key == "bind" else f'admin = {{ bind = "{bind}" }}'
    (line,) = files.lines(f"[server]\n{text}\n")
    where = "server.bind[0]" if key == "bind" else "server.admin.bind"
    assert line.startswith(f"gateway.toml:2: {where}: expected an address such as ")
    assert line.endswith(f": {why}")


def test_a_url_may_come_from_the_environment(files: Any) -> None:
    files.environ["URL"] = "https://me:hunter2@[::1]:8443/api?x=1"
    config = files.load('[services.users]\nkind = "http"\nurl = "env:URL"\n').unwrap()
    assert config.services["users"].settings.url == files.environ["URL"]
    assert "hunter2" not in repr(config)


def test_what_is_right_is_decoded_although_something_is_wrong(files: Any) -> None:
    loaded = files.load(
        '[server]\ndeadline = 3\ndrain = "1s"\n'
        '[services.bad]\nkind = "http"\nurl = 3\n'
        + TOOL
        + 'b = { service = "bad", get = "/b" }\n'
        + 'c = { service = "users", get = 3 }\n'
        + 'd = { service = "none", get = "/" }\n'
        + '[tools.u]\ninput = 3\ncalls = { a = { service = "users", get = "/" } }\n'
        + '[tools.v]\ndeadline = 3\ncalls = { a = { service = "users", get = "/" } }\n'
    )
    assert loaded.config.server.deadline == 10.0
    assert loaded.config.server.drain == 1.0
    assert list(loaded.config.services) == ["users"]
    assert list(loaded.config.tools) == ["t", "v"]
    assert list(loaded.config.tools["t"].calls) == ["a", "b", "c"]  # d calls nothing there is
    assert loaded.failed == {
        ("services", "bad"),
        ("tools", "t", "calls", "b"),
        ("tools", "t", "calls", "c"),
        ("tools", "t", "calls", "d"),
        ("tools", "u"),
    }
    assert loaded.failed_calls("t") == {"b", "c", "d"}
    assert len(loaded.problems) == 6
    with pytest.raises(ConfigError) as caught:
        loaded.unwrap()
    assert len(caught.value.problems) == len(str(caught.value).splitlines()) == 6


def test_later_stages_tell_their_mistakes_in_the_same_list(files: Any) -> None:
    loaded = files.load(TOOL)
    loaded.problems.add(("tools", "t", "calls", "a", "get"), "expected a name, got {x}")
    (loaded.problems.place(("services",)) / "users" / "url").problem("taken")
    with pytest.raises(ConfigError) as caught:
        loaded.unwrap()
    assert str(caught.value) == (
        "gateway.toml:3: services.users.url: taken\n"
        "gateway.toml:5: tools.t.calls.a.get: expected a name, got {x}"
    )


def test_a_secret_shows_as_stars() -> None:
    secret = Secret("hunter2")
    assert f"{secret} {secret!r}" == "*** ***"
    assert reveal(secret) == secret.reveal() == "hunter2"
    assert reveal("plain") == "plain"
    assert {secret, Secret("hunter2")} == {secret}
    assert secret != "hunter2"
