"""Faults of the network between the worker and its servers, set at exact moments of a batch."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.messages import Step
from devstack.toxiproxy import Proxy, Toxiproxy

ADDRESSES = {
    "elasticsearch": "ERASURE_ELASTICSEARCH__URL",
    "clickhouse": "ERASURE_CLICKHOUSE__URL",
    "postgres": "ERASURE_POSTGRES__DSN",
    "s3": "ERASURE_S3__ENDPOINT_URL",
    "redis": "ERASURE_REDIS__URL",
    "vault": "ERASURE_VAULT__ENDPOINT_URL",
}
"""Where each server's address stands."""

_ADDRESS = re.compile(r"127\.0\.0\.1:\d+")


@dataclass(frozen=True)
class Proxied:
    """The servers, each behind a proxy of its own; the vault has one apart from S3.

    Args:
        env: How the worker reaches them.
        proxies: The proxies, by server.
    """

    env: dict[str, str]
    proxies: dict[str, Proxy]

    @classmethod
    def behind(cls, toxiproxy: Toxiproxy, env: Mapping[str, str], life: str) -> Proxied:
        """Puts a proxy before every server.

        Args:
            toxiproxy: Makes them.
            env: How the servers are reached.
            life: Whose they are.
        """
        vault = {name.replace("_S3__", "_VAULT__"): value for name, value in env.items() if "_S3__" in name}
        proxied, proxies = {**env, **vault}, {}
        for name, variable in ADDRESSES.items():
            found = _ADDRESS.search(proxied[variable])
            assert found, variable
            proxies[name] = toxiproxy.proxy(f"{life}-{name}", found[0])
            proxied[variable] = _ADDRESS.sub(proxies[name].address, proxied[variable])
        return cls(proxied, proxies)


@dataclass(frozen=True)
class Fault:
    """One fault of a proxy.

    Args:
        toxic: Toxiproxy's name of it.
        attributes: The toxic's own.
        seconds: After which it passes, if the attempt that it began with has not ended by then.
    """

    toxic: str
    attributes: dict[str, int] = field(default_factory=dict)
    seconds: float = 60


@dataclass
class Faults(Interceptor):
    """Sets a fault when an attempt of an activity begins, and takes it away when that has ended.

    Args:
        proxies: Which proxy suffers in which type of activity.
        faults: The faults: of a slice's first attempt the one with its number, of a whole batch's attempts one each.
    """

    proxies: dict[str, Proxy]
    faults: tuple[Fault, ...]

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Suffering(next, self)


class _Suffering(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, faults: Faults) -> None:
        super().__init__(next)
        self._faults = faults

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        proxy, fault = self._faults.proxies.get(activity.info().activity_type), self._fault(input)
        if proxy is None or fault is None:
            return await super().execute_activity(input)
        await asyncio.to_thread(proxy.add, fault.toxic, fault.attributes)
        passing = asyncio.ensure_future(_pass(proxy, fault.seconds))
        try:
            return await super().execute_activity(input)
        finally:
            passing.cancel()
            await asyncio.to_thread(proxy.heal)

    def _fault(self, input: ExecuteActivityInput) -> Fault | None:
        step, attempt = input.args[0], activity.info().attempt
        if not isinstance(step, Step):
            return None
        if step.number is None:
            number = attempt - 1
        elif attempt == 1:
            number = step.number
        else:
            return None
        return self._faults.faults[number] if number < len(self._faults.faults) else None


async def _pass(proxy: Proxy, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await asyncio.to_thread(proxy.heal)


@dataclass
class Cuts(Interceptor):
    """Cuts a server off when the first activity of a type begins, until somebody heals its proxy.

    Args:
        proxies: Which proxy is to be cut in which type of activity; those that were are taken out.
    """

    proxies: dict[str, Proxy]

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _CutOff(next, self.proxies)


class _CutOff(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, proxies: dict[str, Proxy]) -> None:
        super().__init__(next)
        self._proxies = proxies

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        if proxy := self._proxies.pop(activity.info().activity_type, None):
            await asyncio.to_thread(proxy.cut)
        return await super().execute_activity(input)
