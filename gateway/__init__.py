"""gateway: one endpoint for model clients in front of many downstream services, on Trio.

The public names; a map of the rest:

* `core`: the vocabulary: `Service`, `Policy`, `Request`, `Reply`, errors, deadlines
* `config`: `gateway.toml` → frozen objects, every mistake with its line
* `net`: HTTP to services, the ASGI side of clients, the address guard
* `adapters`: one file = one kind of downstream service
* `policies`: one file = one guard around a call
* `plan`: templates, the graph of calls, its run in a nursery, the merge
* `inbound`: one file or folder = one protocol that clients speak
* `access`: who may call what
* `state`: what workers share
* `telemetry`: events → metrics, logs
* `admin`: health and metrics, on an address of their own
* `server`: HTTP/1.1, HTTP/2 and WebSocket for clients, each within bounds
* `guest`: the Trio loop inside the loops of asyncio hosts
* `explain`: what a tool will do: every effective value, its sums, its warnings
* `cli`: the `gateway` command
* `build`: config → objects; `app`: the ASGI application; `dispatch`: which protocol answers
* `testing`: scripted services, an in-memory client, cancellation at every checkpoint
"""

from gateway.app import Gateway, create_app
from gateway.build import load_config
from gateway.config import fields
from gateway.config.problems import ConfigError
from gateway.core import content
from gateway.core.adapter import Adapter, Environment, Kind
from gateway.core.caller import Caller
from gateway.core.errors import (
    BadReply,
    CannotAsk,
    DeadlineExceeded,
    Forbidden,
    GatewayError,
    Internal,
    InvalidArguments,
    InvalidRequest,
    NotFound,
    Overloaded,
    RateLimited,
    Rejected,
    Skipped,
    TooLarge,
    Unauthenticated,
    Unreachable,
)
from gateway.core.messages import Branch, Chunk, Context, Log, Partial, Progress, Reply, Request
from gateway.core.peer import JsonRpcError
from gateway.core.service import Emit, Policy, Service

__all__ = [
    "Adapter",
    "BadReply",
    "Branch",
    "Caller",
    "CannotAsk",
    "Chunk",
    "ConfigError",
    "Context",
    "DeadlineExceeded",
    "Emit",
    "Environment",
    "Forbidden",
    "Gateway",
    "GatewayError",
    "Internal",
    "InvalidArguments",
    "InvalidRequest",
    "JsonRpcError",
    "Kind",
    "Log",
    "NotFound",
    "Overloaded",
    "Partial",
    "Policy",
    "Progress",
    "RateLimited",
    "Rejected",
    "Reply",
    "Request",
    "Service",
    "Skipped",
    "TooLarge",
    "Unauthenticated",
    "Unreachable",
    "content",
    "create_app",
    "fields",
    "load_config",
]
