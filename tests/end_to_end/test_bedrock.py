"""Amazon's knowledge bases behind a tool, over real HTTP before an endpoint that speaks as AWS does."""

from __future__ import annotations

import json
import math
import time
import tomllib
from typing import Any

import pytest
import trio

from gateway.app import Gateway, create_app
from gateway.config.problems import ConfigError
from gateway.core.errors import (
    DeadlineExceeded,
    GatewayError,
    InvalidArguments,
    Rejected,
    Unreachable,
)
from gateway.telemetry.events import AbandonedThreadEnded, ThreadAbandoned
from tests.apps import Events, request
from tests.bedrock_server import Bedrock, bedrock
from tests.documents import ROOT
from tests.end_to_end.support import until
from tests.http_service import Received, http

pytestmark = pytest.mark.end_to_end

KB = ("KB00000001", "KB00000002", "KB00000003")


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)


def written(server: Bedrock, service: Any = None, /, **call: Any) -> dict[str, Any]:
    call = {"query": "{x}", **call} if call.get("operation") != "list" else call
    settings = {"region": "eu-west-1", "endpoint_url": server.url, **(service or {})}
    return {
        "services": {"s": {"kind": "bedrock_kb", **settings}},
        "tools": {
            "t": {
                "input": {"properties": {"x": {}, "y": {}}},
                "output": "a",
                "calls": {"a": {"service": "s", **call}},
            }
        },
    }


def app_of(server: Bedrock, service: Any = None, /, **call: Any) -> Gateway:
    return create_app(written(server, service, **call))


async def asked(app: Gateway, timeout_s: float = 10, /, **arguments: Any) -> Any:
    async with app.running():
        return (await app.call(request(**{"x": "lamps", **arguments}), timeout_s=timeout_s)).value


def document(text: str, score: float | None = None, **more: Any) -> dict[str, Any]:
    scored = {} if score is None else {"score": score}
    location = {"type": "S3", "s3Location": {"uri": f"s3://b/{text}"}}
    return {"content": {"type": "TEXT", "text": text}, "location": location, **scored, **more}


def texts(documents: list[dict[str, Any]]) -> list[str]:
    return [one["content"]["text"] for one in documents]


def error(status: int, code: str, message: str = "no") -> Any:
    return http(status, f'{{"message": "{message}"}}', **{"x-amzn-errortype": code})


def by_base(answers: dict[str, Any]) -> Any:
    """Answers searches by the knowledge base in their path."""

    def answer(received: Received) -> Any:
        said = answers[received.target.split("/")[2]]
        return {"retrievalResults": said} if isinstance(said, list) else said

    return answer


# ------------------------------------------------------------------ searching


async def test_a_search_on_the_wire() -> None:
    documents = [document("a", 0.9, metadata={"page": 3.0, "draft": False}), document("b")]
    async with bedrock(by_base({KB[0]: documents})) as server:
        found = await asked(app_of(server, {"knowledge_base": KB[0]}))
        assert found == [{**one, "knowledge_base": KB[0]} for one in documents]
        assert server.asked == [
            ("POST", f"/knowledgebases/{KB[0]}/retrieve", {"retrievalQuery": {"text": "lamps"}})
        ]


MODEL = "arn:aws:bedrock:eu-west-1::foundation-model/"
FILTER = {
    "andAll": [{"equals": {"key": "year", "value": 2024}}, {"in": {"key": "k", "value": ["a"]}}]
}


@pytest.mark.parametrize(
    ("call", "y", "sent"),
    [
        ({"results": 7}, None, {"numberOfResults": 7}),
        ({"results": "{y}"}, 3, {"numberOfResults": 3}),
        ({"filter": FILTER}, None, {"filter": FILTER}),
        ({"filter": "{y}"}, FILTER, {"filter": FILTER}),
        ({"filter": {"equals": {"key": "k", "value": "{y}"}}}, 5, {"filter": {"equals": {"key": "k", "value": 5}}}),
        ({"rerank": True}, None, MODEL + "amazon.rerank-v1:0"),
        ({"rerank": "{y}"}, "COHERE", MODEL + "cohere.rerank-v3-5:0"),
        ({"rerank": "some.model:1"}, None, MODEL + "some.model:1"),
        ({"rerank": "arn:aws:x"}, None, "arn:aws:x"),
        ({"rerank": "{y}", "filter": "{y}", "results": "{y}"}, None, {}),
        ({"rerank": "{y}"}, False, {}),
    ],
)  # fmt: skip
async def test_how_it_searches(call: Any, y: Any, sent: Any) -> None:
    async with bedrock(by_base({KB[0]: []})) as server:
        assert await asked(app_of(server, knowledge_base=KB[0], **call), y=y) == []
        ((_, _, body),) = server.asked
    got = body.get("retrievalConfiguration", {}).get("vectorSearchConfiguration", {})
    if isinstance(sent, str):
        got = got["rerankingConfiguration"]
        sent = {
            "type": "BEDROCK_RERANKING_MODEL",
            "bedrockRerankingConfiguration": {"modelConfiguration": {"modelArn": sent}},
        }
    assert got == sent


async def test_several_are_searched_at_once_and_merged() -> None:
    arrived, all_there = 0, trio.Event()
    found = {
        KB[0]: [document("a", 0.5), document("b", 0.1)],
        KB[1]: [document("c", 0.9), document("d")],
        KB[2]: [document("e", 0.3)],
    }

    def answer(received: Received) -> Any:
        nonlocal arrived
        arrived += 1
        if arrived == 3:
            all_there.set()
        said = by_base(found)(received)

        async def say(received: Received, stream: trio.abc.Stream) -> None:
            await all_there.wait()
            await http(200, json.dumps(said))(received, stream)  # type: ignore[operator]

        return say

    async with bedrock(answer) as server:
        app = app_of(server, {"knowledge_base": list(KB), "threads": 3})
        assert texts(await asked(app)) == ["c", "a", "e", "b", "d"]
        app = app_of(server, {"knowledge_base": "KB99999999"}, knowledge_base="{y}", results=2)
        documents = await asked(app, y=[KB[0], KB[1], KB[0]])
        assert texts(documents) == ["c", "a"]
        assert [one["knowledge_base"] for one in documents] == [KB[1], KB[0]]
        assert len(server.asked) == 5


async def test_what_one_of_several_lacks_is_told() -> None:
    answers = {KB[0]: [document("a", 0.5)], KB[1]: error(404, "ResourceNotFoundException", "gone")}
    async with bedrock(by_base(answers)) as server:
        app = app_of(server, {"knowledge_base": list(KB[:2])})
        async with app.running():
            reply = await app.call(request(x="lamps"))
        assert texts(reply.value) == ["a"]
        (missing,) = reply.missing
        assert (missing.code, missing.status, missing.call, missing.service) == (
            "rejected",
            404,
            "a",
            "s",
        )
        assert missing.detail.startswith(f"{KB[1]}: ")
        assert "gone" in missing.detail
        answers[KB[0]] = answers[KB[1]]
        with pytest.raises(Rejected, match="gone"):
            await asked(app_of(server, {"knowledge_base": list(KB[:2])}))


@pytest.mark.parametrize(
    ("call", "y"),
    [
        ({"results": "{y}"}, 0),
        ({"results": "{y}"}, 101),
        ({"results": "{y}"}, "5"),
        ({"results": "{y}"}, True),
        ({"filter": "{y}"}, "year = 2024"),
        ({"filter": "{y}"}, {"no such": 1}),
        ({"rerank": "{y}"}, 5),
        ({"knowledge_base": "{y}"}, None),
        ({"knowledge_base": "{y}"}, []),
        ({"knowledge_base": "{y}"}, ["KB00000001", 5]),
        ({"knowledge_base": "{y}"}, ["KB00000001"] * 101),
        ({"knowledge_base": "{y}"}, "short"),
    ],
)
async def test_what_cannot_be_meant_is_not_asked(call: Any, y: Any) -> None:
    async with bedrock(by_base({})) as server:
        with pytest.raises(InvalidArguments, match="not called"):
            await asked(app_of(server, **{"knowledge_base": KB[0], **call}), y=y)
        assert not server.asked


@pytest.mark.parametrize("base", ["../../x1234567", "KB00000001/retrieve?", "KB0000 0001\r\nx: y"])
async def test_an_id_is_one_segment_of_the_path(base: str) -> None:
    async with bedrock(lambda _: {"retrievalResults": []}) as server:
        assert await asked(app_of(server, knowledge_base="{y}"), y=base) == []
        ((_, path, _),) = server.asked
        assert path.startswith("/knowledgebases/")
        assert path.endswith("/retrieve")
        assert path.count("/") == 3


async def test_a_failure_is_not_tried_again_by_boto3() -> None:
    async with bedrock(lambda _: error(500, "InternalServerException")) as server:
        with pytest.raises(GatewayError, match="answered 500"):
            await asked(app_of(server, knowledge_base=KB[0]))
        assert len(server.asked) == 1


async def test_too_fast_is_told_with_when() -> None:
    said = http(429, "{}", **{"x-amzn-errortype": "ThrottlingException", "retry-after": "3"})
    async with bedrock(lambda _: said) as server:
        with pytest.raises(Rejected) as caught:
            await asked(app_of(server, knowledge_base=KB[0]))
        assert (caught.value.status, caught.value.retry_after_s) == (503, 3)


# ------------------------------------------------------------------ listing


def catalogue(received: Received) -> Any:
    """Two pages of knowledge bases, one of which has its tag."""
    path = received.target.rstrip("/")
    if path == "/knowledgebases":
        if b"nextToken" in received.body:
            return {"knowledgeBaseSummaries": [{"knowledgeBaseId": KB[1], "name": "two"}]}
        first = {"knowledgeBaseId": KB[0], "name": "one", "description": "The first"}
        return {"knowledgeBaseSummaries": [first], "nextToken": "more"}
    if path.endswith("/datasources"):
        source = {"dataSourceId": "DS1", "name": "papers", "knowledgeBaseId": path.split("/")[2]}
        return {"dataSourceSummaries": [source]}
    if path.startswith("/tags/"):
        return {"tags": {"mine": "true" if path.endswith(KB[0]) else "false"}}
    arn = f"arn:aws:bedrock:eu-west-1:1:knowledge-base/{path.split('/')[2]}"
    return {"knowledgeBase": {"knowledgeBaseArn": arn}}


SOURCES = [{"id": "DS1", "name": "papers"}]
LISTED = {
    KB[0]: {"name": "one", "description": "The first", "data_sources": SOURCES},
    KB[1]: {"name": "two", "description": "", "data_sources": SOURCES},
}


async def test_all_are_listed_with_their_sources() -> None:
    async with bedrock(catalogue) as server:
        assert await asked(app_of(server, operation="list")) == LISTED
        assert len(server.asked) == 4


async def test_only_those_with_a_tag_are_listed() -> None:
    async with bedrock(catalogue) as server:
        app = app_of(server, {"tag": "mine"}, operation="list")
        assert await asked(app) == {KB[0]: LISTED[KB[0]]}


async def test_what_cannot_be_listed_is_told() -> None:
    def answer(received: Received) -> Any:
        if KB[1] in received.target:
            return error(403, "AccessDeniedException")
        return catalogue(received)

    async with bedrock(answer) as server:
        app = app_of(server, operation="list")
        async with app.running():
            reply = await app.call(request())
        assert list(reply.value) == [KB[0]]
        assert [one.code for one in reply.missing] == ["rejected"]


async def test_a_list_without_end_has_one() -> None:
    endless = {"knowledgeBaseSummaries": [], "nextToken": "more"}
    async with bedrock(lambda _: endless) as server:
        assert await asked(app_of(server, operation="list")) == {}
        assert len(server.asked) == 10


# ------------------------------------------------------------------ time


async def test_one_of_several_that_hangs_is_missing_and_the_others_are_in_time() -> None:
    answers = {KB[0]: [document("a", 0.5)], KB[1]: http(after_s=60)}
    async with bedrock(by_base(answers)) as server:
        app = app_of(server, {"knowledge_base": list(KB[:2])})
        async with app.running():
            reply = await app.call(request(x="lamps"), timeout_s=4)
        assert texts(reply.value) == ["a"]
        (missing,) = reply.missing
        assert (missing.code, missing.call, missing.service) == ("deadline_exceeded", "a", "s")
        assert missing.detail == f"{KB[1]}: time ran out before its reply came"


async def test_the_deadline_is_kept_and_threads_end() -> None:
    events = Events()
    async with bedrock(lambda _: http(after_s=60)) as server:
        app = create_app(
            written(server, {"knowledge_base": list(KB), "threads": 3}), listeners=[events.append]
        )
        async with app.running():
            start = time.monotonic()
            with pytest.raises(DeadlineExceeded):
                await app.call(request(x="lamps"), timeout_s=4)
            late_s = time.monotonic() - start - 4
            limiter: Any = app._built.adapters["s"]._limiter  # type: ignore[attr-defined]
            assert limiter.borrowed_tokens == 3  # kept until they end
            await until(lambda: not limiter.borrowed_tokens)
            ended_s = time.monotonic() - start - 4
            await until(lambda: len(events.of(AbandonedThreadEnded)) == 3)
    print({"late_s": round(late_s, 4), "ended_s": round(ended_s, 3)})
    assert late_s < 3
    assert ended_s < 10
    assert len(events.of(ThreadAbandoned)) == 3


async def test_the_loop_goes_on() -> None:
    async def longest_tick_s(app: Gateway) -> float:
        longest = 0.0
        async with app.running(), trio.open_nursery() as nursery:

            async def ticks() -> None:
                nonlocal longest
                while True:
                    start = time.monotonic()
                    await trio.sleep(0.005)
                    longest = max(longest, time.monotonic() - start)

            nursery.start_soon(ticks)
            for _ in range(3):
                await app.call(request(x="lamps"))
            nursery.cancel_scope.cancel()
        return longest

    async with bedrock(lambda _: http(200, '{"retrievalResults": []}', after_s=0.3)) as server:
        longest = [math.inf]
        while longest[-1] >= 0.25 and len(longest) <= 5:  # the machine may be what held it
            app = app_of(server, {"knowledge_base": list(KB)})
            longest.append(await longest_tick_s(app))
        print({"longest_tick_s": round(longest[-1], 4)})
        assert longest[-1] < 0.25


async def test_clients_are_few_whatever_the_budgets() -> None:
    async with bedrock(by_base({KB[0]: []})) as server:
        app = app_of(server, knowledge_base=KB[0])
        async with app.running():
            for number in range(30):
                await app.call(request(x="lamps"), timeout_s=8 + number / 20)
            adapter: Any = app._built.adapters["s"]  # type: ignore[attr-defined]
            assert len(adapter._aws._clients) == 2
        assert server.service.accepted == 1


# ------------------------------------------------------------------ who asks


async def test_without_credentials_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    async with bedrock(by_base({})) as server:
        with pytest.raises(Unreachable, match="no AWS credentials"):
            await asked(app_of(server, knowledge_base=KB[0]))
        assert not server.asked


@pytest.mark.parametrize(
    ("service", "says"),
    [
        ({"region": None}, "services.s: region: missing"),
        ({"profile": "none"}, "services.s: boto3: .*profile"),
    ],
)
async def test_it_does_not_start_without_knowing_where(service: Any, says: str) -> None:
    async with bedrock(by_base({})) as server:
        config = written(server, {"knowledge_base": KB[0], **service})
        config["services"]["s"] = {k: v for k, v in config["services"]["s"].items() if v}
        with pytest.raises(ValueError, match=says):
            await asked(create_app(config))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ({"query": "x"}, "knowledge_base: missing"),
        ({"knowledge_base": "KB00000001", "query": ""}, "query: missing"),
        ({"operation": "list", "results": 5}, "results: goes with"),
        ({"operation": "search"}, "operation"),
    ],
)
async def test_mistakes_of_the_file_are_told(call: Any, says: str) -> None:
    async with bedrock(by_base({})) as server:
        with pytest.raises(ConfigError, match=says):
            app_of(server, **call)


# ------------------------------------------------------------------ the example


async def test_the_example_has_the_tools_of_aws_own_server() -> None:
    def answer(received: Received) -> Any:
        if received.target.endswith("/retrieve"):
            image = {"content": {"type": "IMAGE", "byteContent": "aGk="}, "score": 0.95}
            return {"retrievalResults": [image, document("a", 0.9, metadata={"k": "v"})]}
        return catalogue(received)

    config = tomllib.loads((ROOT / "config" / "examples" / "bedrock_kb.toml").read_text())
    async with bedrock(answer) as server:
        config["services"]["kb"] |= {"endpoint_url": server.url, "tag": "mine"}
        app = create_app(config)
        async with app.running():
            listed = (await app.call(request("ListKnowledgeBases"))).value
            assert listed == {KB[0]: LISTED[KB[0]]}
            told = {"query": "lamps", "knowledge_base_id": KB[0]}
            found = (await app.call(request("QueryKnowledgeBases", **told))).value
            assert found == [document("a", 0.9)]
            assert server.asked[-1][2]["retrievalConfiguration"] == {
                "vectorSearchConfiguration": {"numberOfResults": 10}
            }
            more = {"number_of_results": 3, "reranking": True, "reranking_model_name": "COHERE"}
            told |= {**more, "data_source_ids": ["DS1", "DS2"]}
            await app.call(request("QueryKnowledgeBases", **told))
            search = server.asked[-1][2]["retrievalConfiguration"]["vectorSearchConfiguration"]
            assert search["numberOfResults"] == 3
            assert search["filter"] == {
                "in": {"key": "x-amz-bedrock-kb-data-source-id", "value": ["DS1", "DS2"]}
            }
            model = "arn:aws:bedrock:eu-central-1::foundation-model/cohere.rerank-v3-5:0"
            assert model in str(search["rerankingConfiguration"])
            tool: Any = app._built.tools["QueryKnowledgeBases"]  # type: ignore[attr-defined]
            assert list(tool.input_schema["properties"]) == [
                "query",
                "knowledge_base_id",
                "number_of_results",
                "reranking",
                "reranking_model_name",
                "data_source_ids",
            ]
