"""A platform of another kind, described by the data map alone: other methods, fields and answers, and moods."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from activities.errors import TransientError
from activities.platform_api import Job, Meaning, PlatformApi, PlatformApiMap, Work, connect
from activities.settings import PlatformApiSettings

RULES: dict[str, Any] = {
    "fetch": {
        "method": "GET",
        "path": "/people/{contributor_id}/next",
        "query": {"job": "{job_id}", "key": "{secret}"},
        "headers": {},
        "body": {},
    },
    "commit": {
        "method": "PUT",
        "path": "/tasks/{work_id}",
        "headers": {"X-Once": "{idempotency_key}"},
        "body": {"by": ["{contributor_id}"], "job": {"id": "{job_id}"}, "done": True},
    },
    "answers": {
        "code": "error.code",
        "work_id": "task",
        "work": [200],
        "taken": [204],
        "system_error": ["GONE", 410],
        "known": [404],
        "stop": [401],
    },
    "rate": 1_000,
    "timeout": 1,
    "attempts": 2,
    "concurrency": 3,
}

Reply = Callable[[web.Request], web.Response]


@dataclass
class Platform:
    """The other platform: what it answers next to whom, and what it saw.

    Args:
        replies: By contributor, one after the other; the last one stays.
        seen: How often each was asked for.
        at_once: Requests under way, and the most that there ever were.
        last: The last request's parts.
    """

    replies: dict[str, list[Reply | None]]
    seen: Counter[str] = field(default_factory=Counter)
    at_once: list[int] = field(default_factory=lambda: [0, 0])
    last: dict[str, Any] = field(default_factory=dict)

    async def answer(self, request: web.Request) -> web.Response:
        """Answers; None stands for silence."""
        who = request.match_info["who"]
        self.last = {"query": dict(request.query), "once": request.headers.get("X-Once"), "path": request.raw_path}
        self.last["body"] = await request.json() if request.can_read_body else None
        self.at_once[0] += 1
        self.at_once[1] = max(self.at_once)
        await asyncio.sleep(0.01)
        self.at_once[0] -= 1
        replies = self.replies.get(who, [says(200, {"task": 7})])
        reply = replies[min(self.seen[who], len(replies) - 1)]
        self.seen[who] += 1
        if reply is None:
            await asyncio.sleep(1.2)
            return web.Response()
        return reply(request)


def says(status: int, held: Any = None, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(held, str):
        return lambda _: web.Response(status=status, text=held, headers=named)
    return lambda _: web.json_response(held, status=status, headers=named)


@pytest.fixture
def other() -> Platform:
    return Platform(
        {
            "gone": [says(410)],
            "gone by code": [says(500, {"error": {"code": "GONE"}})],
            "known": [says(404, {"error": {}})],
            "busy": [says(429, Retry_After="0"), says(200, {"task": 9})],
            "always busy": [says(503)],
            "no work": [says(200, {"job": 5})],
            "no json": [says(200, "<html>")],
            "elsewhere": [says(302, Location="/people/ann/next")],
            "strange": [says(400, {"error": {"code": "SOMETHING_ELSE"}})],
            "talkative": [says(400, {"error": {"code": "ann@example.com is not welcome"}})],
            "TELLTALE": [says(400, {"error": {"code": "TELLTALE"}})],
            "endless": [lambda _: web.Response(text="x" * 2_000_000)],
            "silent": [None],
        }
    )


Opened = Callable[..., PlatformApi]


@pytest.fixture
async def client(other: Platform) -> AsyncIterator[Opened]:
    """Makes clients of the other platform, with some rules of their own."""
    app = web.Application()
    app.router.add_get("/base/people/{who}/next", other.answer)
    app.router.add_put("/base/tasks/{who}", other.answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    settings = PlatformApiSettings(base_url=f"http://127.0.0.1:{runner.addresses[0][1]}/base/")
    async with connect() as session:
        yield lambda **rules: PlatformApi(
            session, settings, PlatformApiMap.model_validate(RULES | rules), Job("job-5", "s&cret=1")
        )
    await runner.cleanup()


async def test_the_data_map_says_what_is_sent(client: Opened, other: Platform) -> None:
    api = client()
    assert (await api.fetch("Ann/1?x=ü")).work_id == "7", "a number that names work does as well"
    assert other.last["query"] == {"job": "job-5", "key": "s&cret=1"}
    assert other.last["path"].startswith("/base/people/Ann%2F1%3Fx%3D%C3%BC/next?"), "an id is data, whatever it holds"
    assert other.last["body"] is None
    other.replies["7"] = [says(204)]
    assert (await api.commit(Work("ann", "7", "key-1"))).meaning is Meaning.TAKEN
    assert other.last["once"] == "key-1"
    assert other.last["body"] == {"by": ["ann"], "job": {"id": "job-5"}, "done": True}


async def test_the_data_map_says_what_answers_mean_and_nothing_else_proves_anything(
    client: Opened, other: Platform
) -> None:
    expected = {
        "gone": (Meaning.SYSTEM_ERROR, "HTTP 410", 1),
        "gone by code": (Meaning.SYSTEM_ERROR, "GONE", 1),
        "known": (Meaning.KNOWN, "HTTP 404", 1),
        "busy": (Meaning.WORK, "HTTP 200", 2),
        "always busy": (Meaning.UNCLEAR, "HTTP 503", 2),
        "no work": (Meaning.UNCLEAR, "HTTP 200 without work", 1),
        "no json": (Meaning.UNCLEAR, "HTTP 200 without work", 1),
        "elsewhere": (Meaning.UNCLEAR, "HTTP 302", 1),
        "strange": (Meaning.UNCLEAR, "SOMETHING_ELSE", 1),
        "talkative": (Meaning.UNCLEAR, "HTTP 400, a code that is not shown", 1),
        "TELLTALE": (Meaning.UNCLEAR, "HTTP 400, a code that is not shown", 1),
        "endless": (Meaning.UNCLEAR, "HTTP 200 without work", 1),
        "silent": (Meaning.UNCLEAR, "no answer", 2),
    }
    answers = await client().fetch_all(list(expected), lambda _place, _done: None)
    found = {who: (each.meaning, each.code, each.tries) for who, each in zip(expected, answers, strict=True)}
    assert found == expected
    assert {who: other.seen[who] for who in expected} == {who: tries for who, (_, _, tries) in expected.items()}
    assert other.at_once[1] == 3, "as many at once as agreed, and no more"


async def test_a_platform_that_answers_nobody_is_stuck_and_not_everybody_unclear(
    client: Opened, other: Platform
) -> None:
    crowd = [f"silent {number}" for number in range(100)]
    other.replies |= {who: [None] for who in crowd}
    with pytest.raises(TransientError, match="did not answer 20 requests in a row"):
        await client(concurrency=20).fetch_all(crowd, lambda _place, _done: None)
    assert len(other.seen) < 40
