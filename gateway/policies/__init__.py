"""The guards that stand around a call: one file each, and this table of their TOML keys.

To add one: a file with its settings and its `Policy`; a line here; its position, with the reason,
in `build.py`; a page in `docs/reference/policies/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import attrs

from gateway.config import fields, values
from gateway.config.fields import Codec
from gateway.core.adapter import Environment
from gateway.core.service import CallFacts, Policy
from gateway.policies import (
    breaker,
    cache,
    coalesce,
    extra_load,
    fault,
    hedge,
    latencies,
    limit,
    rate,
    retry,
    timeout,
)

__all__ = ["POLICIES", "PolicyKind"]


@attrs.frozen(slots=True)
class PolicyKind:
    """A policy that services and profiles may name.

    Args:
        codec: The value of its TOML key.
        create: From that value, decoded, and what the gateway gives a service, to what makes the
            policy of each call, `None` where it is not for that call. Called once for a service:
            what its calls share is made here.
        fixed: The numbers that no key sets, by what they are.
    """

    codec: Codec
    create: Callable[[Any, Environment], Callable[[CallFacts], Policy | None]]
    fixed: Mapping[str, Any] = attrs.field(factory=dict)


def _kind(
    field: Any,
    create: Callable[[Any, Environment], Any],
    fixed: Mapping[str, Any] = MappingProxyType({}),
) -> PolicyKind:
    return PolicyKind(values.or_none(fields.codec_of(field)), create, fixed)


POLICIES: Mapping[str, PolicyKind] = {
    "timeout": PolicyKind(
        fields.codec_of(fields.duration(none=True, doc="For one attempt of a call.")),
        timeout.create,
    ),
    "retry": _kind(
        fields.table(retry.RetrySettings, doc="Tries calls again that failed in passing."),
        retry.create,
        extra_load.FIXED,
    ),
    "hedge": _kind(
        fields.table(
            hedge.HedgeSettings, doc="Makes slow calls once more, and takes what comes first."
        ),
        hedge.create,
        {**extra_load.FIXED, **latencies.FIXED},
    ),
    "breaker": _kind(
        fields.table(
            breaker.BreakerSettings, doc="Leaves the service alone while it mostly fails."
        ),
        breaker.create,
    ),
    "limit": _kind(
        fields.table(limit.LimitSettings, doc="How many calls are under way at once, and wait."),
        limit.create,
        limit.FIXED,
    ),
    "rate": _kind(
        fields.rate(doc="How many calls a second, a minute, an hour or a day go out at most."),
        rate.create,
        rate.FIXED,
    ),
    "cache": _kind(
        fields.table(cache.CacheSettings, doc="Gives replies again while they are good."),
        cache.create,
        cache.FIXED,
    ),
    "coalesce": PolicyKind(
        fields.codec_of(
            fields.boolean(
                doc="Whether identical calls under way at the same time are made once; with a `cache` they are."
            )
        ),
        coalesce.create,
    ),
    "fault": _kind(
        fields.table(fault.FaultSettings, doc="Makes calls go wrong on purpose: for tests."),
        fault.create,
    ),
}
"""Every policy, by its key in `[services.NAME]` and `[profiles.NAME]`; `"none"` takes a profile's away."""
