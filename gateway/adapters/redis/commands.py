"""Which commands only read, and which cannot be calls.

Source: `COMMAND` of Redis 7.0, the flags `readonly` and `write`; of 7.4, those of the fields' times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["READS", "fault_of", "reads"]

READS = frozenset(
    """
    BITCOUNT BITFIELD_RO BITPOS DBSIZE DUMP EVALSHA_RO EVAL_RO EXISTS EXPIRETIME FCALL_RO GEODIST
    GEOHASH GEOPOS GEORADIUSBYMEMBER_RO GEORADIUS_RO GEOSEARCH GET GETBIT GETRANGE HEXISTS
    HEXPIRETIME HGET HGETALL HKEYS HLEN HMGET HPEXPIRETIME HPTTL HRANDFIELD HSCAN HSTRLEN HTTL HVALS
    KEYS LCS LINDEX LLEN LOLWUT LPOS LRANGE MGET PEXPIRETIME PFCOUNT PTTL RANDOMKEY SCAN SCARD SDIFF
    SINTER SINTERCARD SISMEMBER SMEMBERS SMISMEMBER SORT_RO SRANDMEMBER SSCAN STRLEN SUBSTR SUNION
    TOUCH TTL TYPE XLEN XPENDING XRANGE XREAD XREVRANGE ZCARD ZCOUNT ZDIFF ZINTER ZINTERCARD
    ZLEXCOUNT ZMSCORE ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZREVRANGE ZREVRANGEBYLEX
    ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE ZUNION
    """.split()  # noqa: SIM905 - a table to read
) | {
    *("MEMORY USAGE", "OBJECT ENCODING", "OBJECT FREQ", "OBJECT IDLETIME", "OBJECT REFCOUNT"),
    *("XINFO CONSUMERS", "XINFO GROUPS", "XINFO STREAM"),
}
"""Those that change nothing; of commands with subcommands both words."""

_LISTENS = "it has no reply of its own but goes on for ever"
_TRANSACTION = "a transaction takes several commands of one connection: say EVAL with a script"
_STATE = "it would change the connection for the calls after it"
_SERVICE = "what a connection is opened with stands in the service's url"
_SILENT = "it is not answered"

_REFUSED: Mapping[str, str] = {
    **dict.fromkeys(
        ("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "MONITOR", "SYNC", "PSYNC"), _LISTENS
    ),
    **dict.fromkeys(("UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"), _STATE),
    **dict.fromkeys(("MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH"), _TRANSACTION),
    **dict.fromkeys(("ASKING", "READONLY", "READWRITE", "RESET", "REPLCONF"), _STATE),
    **dict.fromkeys(("AUTH", "HELLO", "SELECT"), _SERVICE),
    **dict.fromkeys(("QUIT", "SHUTDOWN"), _SILENT),
    "CLIENT REPLY": _STATE,
    "CLIENT TRACKING": _STATE,
    "CLIENT CACHING": _STATE,
    "CLIENT SETNAME": _STATE,
    "CLIENT SETINFO": _STATE,
    "CLIENT NO-EVICT": _STATE,
    "CLIENT NO-TOUCH": _STATE,
    "SCRIPT DEBUG": _STATE,
}
_TWO_WORDS = frozenset(name.split()[0] for name in (*READS, *_REFUSED) if " " in name)
"""Commands of which a subcommand is one of ours: it has to be known."""


def _name_of(command: Sequence[str]) -> str:
    name = command[0].upper()
    if name in _TWO_WORDS and len(command) > 1:
        return f"{name} {command[1].upper()}"
    return name


def reads(command: Sequence[str]) -> bool:
    """Whether `command`, its words as they are written in the file, changes nothing."""
    return _name_of(command) in READS


def fault_of(command: Sequence[str]) -> str | None:
    """Why `command`, its words as they are written in the file, cannot be a call."""
    known = command[: 2 if command[0].upper() in _TWO_WORDS else 1]
    for word in known:
        if "{" in word or not word or word.split() != [word]:
            return f"expected the name of a command, one word, got {word!r}: it is never filled in"
    name = _name_of(command)
    reason = _REFUSED.get(name)
    return None if reason is None else f"{name} cannot be called: {reason}"
