"""The tools that the MCP conformance suite asks for, and what its prompts and resources need."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import anyio

from gateway import content

STEP_S = 0.05
IMAGE = content.Image((Path(__file__).parent / "red.png").read_bytes(), "image/png")
SILENCE = b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0@\x1f\0\0@\x1f\0\0\x01\0\x08\0data\0\0\0\0"
TEXT = {"type": "string"}


def form(message: str, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": [*properties]}
    return {"message": message, "requestedSchema": schema}


def sample(text: str, most: int = 100) -> dict[str, Any]:
    content = {"type": "text", "text": text}
    return {"messages": [{"role": "user", "content": content}], "maxTokens": most}


def test_simple_text() -> str:
    return "This is a simple text response for testing."


def test_header(**given: str) -> str:
    return given.get("region", "")


def test_error_handling() -> str:
    raise ValueError("This tool intentionally returns an error for testing")


def test_image_content() -> content.Image:
    return IMAGE


def test_audio_content() -> content.Audio:
    return content.Audio(SILENCE, "audio/wav")


def embedded(uri: str, text: str, mime_type: str = "text/plain") -> content.Embedded:
    return content.Embedded(content.Resource(uri, text=text, mime_type=mime_type))


def test_embedded_resource() -> content.Embedded:
    return embedded("test://embedded-resource", "This is an embedded resource content.")


def test_multiple_content_types() -> list[content.Block]:
    data = embedded(
        "test://mixed-content-resource", '{"test":"data","value":123}', "application/json"
    )
    return [content.Text("Multiple content types test:"), IMAGE, data]


def prompt_with_embedded_resource(resourceUri: str) -> list[content.Block]:  # noqa: N803 - the suite's
    resource = embedded(resourceUri, "Embedded resource content for testing.")
    return [resource, content.Text("Please process the embedded resource above.")]


def prompt_with_image() -> list[content.Block]:
    return [IMAGE, content.Text("Please analyze the image above.")]


def template_data(id: str) -> dict[str, Any]:  # noqa: A002 - the suite's
    return {"id": id, "templateTest": True, "data": f"Data for ID: {id}"}


async def test_tool_with_progress(caller: Any) -> str:
    for done in (0, 50, 100):
        await caller.progress(done, 100)
        await anyio.sleep(STEP_S)
    return "done"


async def test_tool_with_logging(caller: Any) -> str:
    for text in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await caller.log("info", text)
        await anyio.sleep(STEP_S)
    return "done"


async def test_logging_tool(caller: Any) -> str:
    await caller.log("info", "This is for whoever asked for it")
    return "done"


async def test_sampling(prompt: str, caller: Any) -> str:
    reply = await caller.ask("sampling/createMessage", sample(prompt))
    return f"LLM response: {reply['content']['text']}"


async def test_missing_capability(caller: Any) -> str:
    return await test_sampling("Say something", caller)


async def test_elicitation(message: str, caller: Any) -> str:
    asked = form(message, username=TEXT, email=TEXT)
    reply = await caller.ask("elicitation/create", asked)
    return f"User response: {reply}"


async def test_streaming_elicitation(caller: Any) -> str:
    await caller.progress(1, 2)
    return await test_elicitation("Who are you?", caller)


async def test_elicitation_sep1034_defaults(caller: Any) -> str:
    asked = form(
        "Change what is wrong",
        name={"type": "string", "default": "John Doe"},
        age={"type": "integer", "default": 30},
        score={"type": "number", "default": 95.5},
        status={
            "type": "string",
            "enum": ["active", "inactive", "pending"],
            "default": "active",
        },
        verified={"type": "boolean", "default": True},
    )
    reply = await caller.ask("elicitation/create", asked)
    return f"Elicitation completed: action={reply['action']}, content={reply.get('content')}"


async def test_elicitation_sep1330_enums(caller: Any) -> str:
    plain = ["option1", "option2", "option3"]
    titled = [
        {"const": f"value{number}", "title": f"{ordinal} Option"}
        for number, ordinal in enumerate(("First", "Second", "Third"), 1)
    ]
    asked = form(
        "Choose",
        untitledSingle={"type": "string", "enum": plain},
        titledSingle={"type": "string", "oneOf": titled},
        legacyEnum={
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        untitledMulti={"type": "array", "items": {"type": "string", "enum": plain}},
        titledMulti={"type": "array", "items": {"anyOf": titled}},
    )
    reply = await caller.ask("elicitation/create", asked)
    return f"Elicitation completed: action={reply['action']}, content={reply.get('content')}"


async def test_input_required_result_elicitation(caller: Any) -> str:
    asked = form("What is your name?", name=TEXT)
    reply = await caller.ask("elicitation/create", asked, key="user_name")
    return f"Hello, {reply['content']['name']}!"


async def input_required_result_prompt(caller: Any) -> str:
    asked = form("What context should the prompt use?", context=TEXT)
    reply = await caller.ask("elicitation/create", asked, key="user_context")
    return f"Mind this: {reply['content']['context']}"


async def test_input_required_result_sampling(caller: Any) -> str:
    asked = sample("What is the capital of France?")
    reply = await caller.ask("sampling/createMessage", asked, key="capital_question")
    return str(reply["content"])


async def test_input_required_result_list_roots(caller: Any) -> list[Any]:
    reply = await caller.ask("roots/list", {}, key="client_roots")
    return list(reply["roots"])


async def test_input_required_result_request_state(caller: Any) -> str:
    asked = form("Please confirm", ok={"type": "boolean"})
    await caller.ask("elicitation/create", asked, key="confirm")
    return "state-ok"


test_input_required_result_tampered_state = test_input_required_result_request_state


async def ask_all(caller: Any, **questions: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    replies: dict[str, Any] = {}

    async def ask(key: str, method: str, params: dict[str, Any]) -> None:
        replies[key] = await caller.ask(method, params, key=key)

    async with anyio.create_task_group() as group:
        for key, (method, params) in questions.items():
            group.start_soon(partial(ask, key, method, params))
    return replies


async def test_input_required_result_multiple_inputs(caller: Any) -> dict[str, Any]:
    return await ask_all(
        caller,
        user_name=("elicitation/create", form("What is your name?", name=TEXT)),
        greeting=("sampling/createMessage", sample("Generate a greeting", 50)),
        client_roots=("roots/list", {}),
    )


async def test_input_required_result_multi_round(caller: Any) -> str:
    name = form("Step 1: What is your name?", name=TEXT)
    first = await caller.ask("elicitation/create", name, key="step1")
    color = form("Step 2: What is your favorite color?", color=TEXT)
    second = await caller.ask("elicitation/create", color, key="step2")
    return f"{first['content']['name']} likes {second['content']['color']}"


async def test_input_required_result_capabilities(caller: Any) -> dict[str, Any]:
    able = caller.capabilities
    questions: dict[str, tuple[str, dict[str, Any]]] = {}
    if "elicitation" in able:
        questions["user_name"] = ("elicitation/create", form("What is your name?", name=TEXT))
    if "sampling" in able:
        questions["greeting"] = ("sampling/createMessage", sample("Generate a greeting", 50))
    return await ask_all(caller, **questions)
