"""The platform's API as it is asked: one contributor a request, several at once, never faster than agreed."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from activities.contract import Heartbeat
from activities.errors import CriticalError, ErasureError, TransientError, unknown
from activities.platform_api.answers import PLACE, Answer, Meaning, Work, read
from activities.platform_api.data_map import Call, PlatformApiMap, fill
from activities.platform_api.job import Job
from activities.reachability import unreachable
from activities.settings import PlatformApiSettings

LARGEST_ANSWER = 1_048_576
"""Bytes of an answer that are read."""

LONGEST_WAIT = 30.0
"""Seconds that the platform may ask to wait before a request is sent again."""

SILENT = 20
"""Requests in a row without any answer after which it is the platform that is stuck, and no contributor's case."""

_BUSY = frozenset({429, 502, 503, 504})
"""HTTP statuses by which an answer may come later; after 429 nothing was done, after the others that is not known."""

_REMEDY = "Check ERASURE_API__BASE_URL, the network, and that the platform is up."


class _Pace:
    """Spreads requests evenly over time."""

    def __init__(self, rate: float) -> None:
        self._interval = 1 / rate
        self._next = 0.0

    async def turn(self) -> None:
        """Waits until the next request may be sent."""
        now = time.monotonic()
        mine = max(now, self._next)
        self._next = mine + self._interval
        await asyncio.sleep(mine - now)

    def hold(self, seconds: float) -> None:
        """Sends nothing for a while."""
        self._next = max(self._next, time.monotonic() + seconds)


class PlatformApi:
    """Fetches contributors' work and hands it in.

    Args:
        session: The connections; see `connect`.
        settings: Where the API is.
        rules: How it is asked, and what its answers mean.
        job: The job.
    """

    def __init__(
        self, session: aiohttp.ClientSession, settings: PlatformApiSettings, rules: PlatformApiMap, job: Job
    ) -> None:
        if settings.base_url is None:
            what = "its address is not known"
            raise CriticalError(PLACE, what, "Set ERASURE_API__BASE_URL where the worker runs, and restart it.")
        self._session = session
        self._base_url = settings.base_url
        self._headers = {"Accept": "application/json"}
        if settings.token is not None:
            self._headers["Authorization"] = f"Bearer {settings.token.get_secret_value()}"
        self._rules = rules
        self._job = job
        self._pace = _Pace(rules.rate)
        self._silent = 0

    async def probe(self) -> None:
        """Proves that the API is up.

        Raises:
            ErasureError: It is not; says why.
        """
        try:
            code, _, _, _ = await self._send("GET", self._rules.health, {}, {}, None)
        except TimeoutError as error:
            raise unreachable(PLACE, error, "ERASURE_API__BASE_URL") from None
        if code in (401, 403):
            what = f"{self._rules.health} answers {code}: the caller is refused"
            raise CriticalError(PLACE, what, "Check ERASURE_API__TOKEN and its rights.")
        if code != 200:
            raise TransientError(PLACE, f"{self._rules.health} answers {code}", f"{_REMEDY} See platform_api.health.")

    async def fetch(self, contributor_id: str) -> Answer:
        """Asks for a contributor's work. What is given is really given out.

        Args:
            contributor_id: Who.

        Raises:
            ErasureError: Nobody can be asked: unreachable, stuck, or job and credentials are wrong.
        """
        values = {"contributor_id": contributor_id}
        return await self._ask(self._rules.fetch, self._rules.fetch.repeatable, Meaning.WORK, values)

    async def commit(self, work: Work) -> Answer:
        """Hands a piece of work in.

        Args:
            work: The work.

        Raises:
            ErasureError: Nobody can be asked: unreachable, stuck, or job and credentials are wrong.
        """
        values = {
            "contributor_id": work.contributor_id,
            "work_id": work.work_id,
            "idempotency_key": work.idempotency_key,
        }
        return await self._ask(self._rules.commit, self._rules.commit.repeatable, Meaning.TAKEN, values)

    async def fetch_all(self, contributor_ids: Sequence[str], heartbeat: Heartbeat) -> list[Answer]:
        """Asks for the work of several contributors, so many at once as agreed.

        Args:
            contributor_ids: Who; a page, since all answers are held in memory.
            heartbeat: Told each answer.

        Returns:
            The answers, in the same order.

        Raises:
            ErasureError: As `fetch`; the first that was raised.
        """
        return await self._together(self.fetch, contributor_ids, "fetched", heartbeat)

    async def commit_all(self, works: Sequence[Work], heartbeat: Heartbeat) -> list[Answer]:
        """Hands several pieces of work in, so many at once as agreed; else as `fetch_all`."""
        return await self._together(self.commit, works, "committed", heartbeat)

    async def _together(
        self, ask: Callable[[Any], Awaitable[Answer]], cases: Sequence[Any], what: str, heartbeat: Heartbeat
    ) -> list[Answer]:
        answers: dict[int, Answer] = {}
        failures: list[ErasureError] = []
        waiting = iter(enumerate(cases))

        async def work() -> None:
            for number, case in waiting:
                if failures:
                    return
                try:
                    answers[number] = await ask(case)
                except ErasureError as error:
                    failures.append(error)
                    return
                heartbeat(what, len(answers))

        await asyncio.gather(*(work() for _ in range(self._rules.concurrency)))
        if failures:
            raise failures[0]
        return [answers[number] for number in range(len(cases))]

    async def _ask(self, call: Call, repeatable: bool, wanted: Meaning, values: dict[str, str]) -> Answer:
        """Sends a request, and again where that is safe and may help."""
        values |= {"job_id": self._job.job_id, "secret": self._job.secret}
        path = fill(call.path, {name: quote(value, safe="") for name, value in values.items()})
        query, headers, body = (fill(part, values) for part in (call.query, call.headers, call.body))
        tries = 0
        while True:
            tries += 1
            last = tries >= self._rules.attempts
            began = time.monotonic()
            try:
                status, text, wait, took = await self._send(call.method, path, query, headers, body or None)
            except TransientError:  # nothing was sent
                if last:
                    raise
                await asyncio.sleep(_pause(tries))
                continue
            except TimeoutError:
                self._nothing_came()
                if repeatable and not last:
                    await asyncio.sleep(_pause(tries))
                    continue
                return Answer(Meaning.UNCLEAR, "no answer", _since(began), tries=tries)
            self._silent = 0
            answer = read(self._rules.answers, status, text, wanted, values["contributor_id"])
            if answer.meaning is Meaning.UNCLEAR and status in _BUSY and not last and (repeatable or status == 429):
                self._pace.hold(max(wait, _pause(tries)))
                continue
            return Answer(answer.meaning, answer.code, took, answer.work_id, tries)

    async def _send(
        self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: dict[str, Any] | None
    ) -> tuple[int, bytes, float, float]:
        """One request: HTTP status, body (empty where it is too large), seconds to wait if asked to, milliseconds.

        Raises:
            TransientError: No connection could be made: nothing was sent.
            CriticalError: None can ever be made as things are: TLS.
            TimeoutError: What was sent may have arrived; no answer came, or none that ended.
        """
        url = URL(self._base_url + path, encoded=True).update_query(query)
        await self._pace.turn()
        began = time.monotonic()
        try:
            async with self._session.request(
                method,
                url,
                headers={**self._headers, **headers},
                json=body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._rules.timeout),
            ) as response:
                text = b""
                async for chunk in response.content.iter_chunked(65_536):
                    text += chunk
                    if len(text) > LARGEST_ANSWER:
                        text = b""
                        break
                return response.status, text, _retry_after(response), _since(began)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise unreachable(PLACE, error, "ERASURE_API__BASE_URL") from None
        except (TimeoutError, aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
            raise TimeoutError from None
        except aiohttp.ClientError as error:
            raise unknown(PLACE, error) from None

    def _nothing_came(self) -> None:
        self._silent += 1
        if self._silent >= SILENT:
            what = f"did not answer {SILENT} requests in a row within {self._rules.timeout} s each"
            raise TransientError(PLACE, what, f"{_REMEDY} See platform_api.timeout.")


@asynccontextmanager
async def connect() -> AsyncIterator[aiohttp.ClientSession]:
    """Opens the connections to any platform's API; makes no request, keeps no cookies."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


def _pause(tries: int) -> float:
    """Seconds before the next try: 0.25, 0.5, 1, ..."""
    return min(0.125 * 2.0**tries, LONGEST_WAIT)


def _since(began: float) -> float:
    return (time.monotonic() - began) * 1_000


def _retry_after(response: aiohttp.ClientResponse) -> float:
    """Seconds that an answer asks to wait; 0 where it does not, or gives a date."""
    given = response.headers.get("Retry-After", "")
    return min(float(given), LONGEST_WAIT) if re.fullmatch(r"\d{1,6}", given) else 0.0
