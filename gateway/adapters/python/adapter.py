"""The adapter: async functions run on the loop, blocking ones in threads or in worker processes.

A thread cannot be stopped: when its request goes away it is abandoned, keeps its place in the
limiter, and is counted until it ends. A process is killed.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import msgspec
import trio

from gateway.adapters.python.function import CALLER, Function, Limits
from gateway.adapters.python.items import from_thread, on_the_loop
from gateway.adapters.python.modules import function_of, imported
from gateway.adapters.python.processes import Processes, can_have_processes
from gateway.adapters.python.settings import PythonCall, PythonSettings
from gateway.adapters.python.work import Failed, Job, Module
from gateway.core.adapter import Environment, Kind
from gateway.core.caller import Caller
from gateway.core.deadline import remaining_s
from gateway.core.errors import Unreachable
from gateway.core.messages import Reply, Request
from gateway.core.service import Emit, Service
from gateway.net.threads import Threads
from gateway.telemetry.events import PlacesMade
from gateway.telemetry.logs import log_form, plain_context, shared
from gateway.telemetry.watchdog import on_loop

__all__ = ["KIND", "PythonAdapter"]


class PythonAdapter:
    """One Python module.

    Args:
        settings: Its keys.
        environment: What the gateway gives it.

    Raises:
        ValueError: What runs worker processes is not installed.
    """

    def __init__(self, settings: PythonSettings, environment: Environment) -> None:
        if settings.processes and not can_have_processes():
            raise ValueError(
                'processes: needs trio-parallel: pip install "trio-gateway[processes]"'
            )
        self._name = environment.service
        self._settings = settings
        self._environment = environment
        self._limiter = trio.CapacityLimiter(settings.threads)
        self._threads = Threads(environment.service, environment.record, self._limiter)
        if not settings.processes:
            environment.record(PlacesMade(environment.service, "threads", self._limiter))
        self._functions: dict[str, Function | None] = {}
        self._processes: Processes | None = None

    def bind(self, call: PythonCall, /) -> Service:
        """The `Service` of `call`; the module is imported when the service opens."""
        name = call.function
        given = call.arguments is not None
        self._functions.setdefault(name, None)

        async def invoke(request: Request, emit: Emit, /) -> Reply:
            function = self._functions[name]
            if function is None:
                raise Unreachable(f"{self._name} is not open")
            values = request.arguments.get("arguments") or {}
            arguments = function.fit(values, given=given)
            limits = Limits(self._settings.max_reply, request.opaque)
            if self._processes is not None:
                return Reply(await self._in_process(self._processes, function, arguments, limits))
            arguments = function.typed(arguments)
            if arguments.get("caller") is CALLER:
                arguments["caller"] = Caller(request.context.peer, emit)
            with shared():
                return Reply(await self._here(function, arguments, limits, emit))

        return invoke

    async def _here(
        self, function: Function, arguments: dict[str, Any], limits: Limits, emit: Emit
    ) -> Any:
        """What a function gives on the loop, or in a thread."""
        if function.shape == "plain":
            return await self._threads.run(partial(function.run_sync, arguments, limits=limits))
        if function.shape == "generator":
            return await from_thread(function, arguments, self._threads, limits.max_bytes, emit)
        with on_loop(self._name, function.name):
            if function.shape == "async":
                return await function.run(arguments, remaining_s(), limits)
            return await on_the_loop(function, arguments, remaining_s(), limits.max_bytes, emit)

    async def _in_process(
        self, processes: Processes, function: Function, arguments: dict[str, Any], limits: Limits
    ) -> Any:
        """What a function gives in a worker process."""
        plain = {name: value for name, value in arguments.items() if function.is_given(value)}
        encoded = msgspec.json.encode(plain)

        def job(left_s: float) -> Job:
            return Job(
                module=processes.module,
                function=function.name,
                arguments=encoded,
                left_s=left_s,
                limits=limits,
                context=plain_context(),
            )

        done = await processes.run(job)
        if isinstance(done, Failed):
            raise done.error()
        return done.decoded()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Import the module and find the functions; start the worker processes.

        Raises:
            ValueError: The module cannot be imported, or lacks a function; one of them cannot run
                in a process; a process cannot be started.
        """
        place = f"services.{self._name}"
        try:
            module = imported(self._settings.module, self._environment.directory)
        except ValueError as error:
            raise ValueError(f"{place}.module: {error}") from error
        for name in self._functions:
            try:
                found = function_of(module, name, self._settings.module)
                self._functions[name] = self._checked(Function.of(name, found))
            except ValueError as error:
                raise ValueError(f"{place}: {error}") from error
        if not self._settings.processes:
            yield
            return
        environment = self._environment
        there = environment.directory.resolve()
        self._processes = processes = Processes(
            self._name,
            self._settings.processes,
            Module(self._settings.module, there, tuple(self._functions)),
            environment.background,
        )
        environment.record(PlacesMade(self._name, "processes", processes.limiter))
        async with processes.open(log_form()):
            yield

    def _checked(self, function: Function) -> Function:
        """`function`, if it can run where it is to.

        Raises:
            ValueError: It cannot run in a process.
        """
        if not self._settings.processes:
            return function
        bound = function.bound_here()
        if bound:
            raise ValueError(f"{self._settings.module}.{function.name} {bound}")
        return function


KIND = Kind(
    settings=PythonSettings,
    call=PythonCall,
    create=PythonAdapter,
    inputs_key="arguments",
)
"""How `python` is declared."""
