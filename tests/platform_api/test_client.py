"""The client against the demo's platform: what its answers mean, and what is sent again and what is not."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import ClientSession
from pydantic import SecretStr

from activities.errors import CriticalError, TransientError
from activities.platform_api import Answer, Job, Meaning, PlatformApi, PlatformApiMap, Work, connect
from activities.settings import PlatformApiSettings
from devstack.platform.clients import connect as connect_platform
from devstack.platform.postgres import FIRST_JOB
from tests.platform_api.desk import Desk


def unheard(_place: str, _done: int) -> None:
    """A heartbeat that nobody listens to."""


class Caller:
    """Makes clients of one platform."""

    def __init__(self, platform: Desk, session: ClientSession) -> None:
        self._platform = platform
        self._session = session
        env = platform.server.env
        self.settings = PlatformApiSettings(
            base_url=env["ERASURE_API__BASE_URL"], token=SecretStr(env["ERASURE_API__TOKEN"])
        )
        self.job = Job(str(FIRST_JOB), platform.secret)

    def api(self, settings: PlatformApiSettings | None = None, job: Job | None = None, **rules: Any) -> PlatformApi:
        """A client, with some rules of its own."""
        made = PlatformApiMap.model_validate({"rate": 1_000, **rules})
        return PlatformApi(self._session, settings or self.settings, made, job or self.job)


@pytest.fixture
async def caller(platform: Desk) -> AsyncIterator[Caller]:
    async with connect() as session:
        yield Caller(platform, session)


def meaning(answer: Answer) -> tuple[Meaning, str]:
    return answer.meaning, answer.code


async def test_who_is_in_the_job_is_given_work_and_it_is_taken_once(platform: Desk, caller: Caller) -> None:
    person, api = platform.workers[0], caller.api()
    before = await platform.commits(person)

    given, again = [await api.fetch(person.contributor_id) for _ in range(2)]
    work = Work(person.contributor_id, given.work_id, secrets.token_hex(8))
    first, second = [await api.commit(work) for _ in range(2)]
    other = await api.commit(replace(work, idempotency_key=secrets.token_hex(8)))

    assert meaning(given) == (Meaning.WORK, "OK")
    assert again.work_id == given.work_id, "what is open is given again"
    assert [meaning(first), meaning(second)] == [(Meaning.TAKEN, "OK")] * 2
    assert meaning(other) == (Meaning.KNOWN, "NOT_OPEN"), "another key is another commit"
    assert await platform.commits(person) == before + 1
    assert (await api.fetch(person.contributor_id)).work_id != given.work_id


async def test_who_is_unknown_is_a_system_error_and_who_is_in_no_job_is_not(platform: Desk, caller: Caller) -> None:
    ids = ["c-99999", platform.outsider.contributor_id, platform.workers[1].contributor_id]
    answers = await caller.api().fetch_all(ids, unheard)
    assert [meaning(answer) for answer in answers] == [
        (Meaning.SYSTEM_ERROR, "SYSTEM_ERROR"),
        (Meaning.KNOWN, "NOT_IN_JOB"),
        (Meaning.WORK, "OK"),
    ]
    gone = await caller.api().commit(Work("c-99999", answers[2].work_id, secrets.token_hex(8)))
    assert meaning(gone) == (Meaning.SYSTEM_ERROR, "SYSTEM_ERROR")


async def test_whom_only_redis_still_knows_is_no_system_error(platform: Desk, caller: Caller) -> None:
    person, api = platform.workers[-1], caller.api()
    assert (await api.fetch(person.contributor_id)).meaning is Meaning.WORK
    for table, column in (("job_mappings", "contributor_id"), ("contributor_devices", "contributor_id")):
        await platform.sql(f"DELETE FROM {{}}.{table} WHERE {column} = $1", person.contributor_id)
    await platform.sql("DELETE FROM {}.contributors WHERE id = $1", person.contributor_id)

    cached = await api.fetch(person.contributor_id)
    async with connect_platform(platform.stack.env) as clients:
        await clients.redis.delete(f"{platform.platform.names.key_prefix}auth:{person.contributor_id}")

    assert meaning(cached) == (Meaning.KNOWN, "NOT_IN_JOB"), "a cache that was not cleared keeps somebody signed in"
    assert meaning(await api.fetch(person.contributor_id)) == (Meaning.SYSTEM_ERROR, "SYSTEM_ERROR")


async def test_wrong_credentials_job_or_secret_end_it_and_none_of_them_is_quoted(
    platform: Desk, caller: Caller
) -> None:
    for api, code in (
        (caller.api(settings=caller.settings.model_copy(update={"token": SecretStr("wrong-token")})), "UNAUTHORIZED"),
        (caller.api(job=Job(str(FIRST_JOB), "wrong-secret")), "BAD_SECRET"),
        (caller.api(job=Job("999999", platform.secret)), "JOB_NOT_FOUND"),
    ):
        with pytest.raises(CriticalError, match=f"answers {code}") as raised:
            await api.fetch(platform.workers[0].contributor_id)
        assert "ERASURE_API__TOKEN" in raised.value.remedy
        assert not {"wrong-token", "wrong-secret", platform.secret} & set(str(raised.value).split())
    with pytest.raises(CriticalError, match="ERASURE_API__BASE_URL"):
        caller.api(settings=PlatformApiSettings(base_url=None))


async def test_a_platform_that_is_not_there_is_told_from_one_that_is_silent(platform: Desk, caller: Caller) -> None:
    await caller.api().probe()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = PlatformApiSettings(base_url=f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(TransientError, match="cannot be reached"):
            await caller.api(settings=nobody, attempts=1).fetch(platform.workers[0].contributor_id)
    with pytest.raises(TransientError, match="cannot be reached: its host name"):
        await caller.api(settings=PlatformApiSettings(base_url="http://there-is-none.invalid")).probe()


async def test_a_commit_whose_answer_is_lost_is_sent_again_only_with_its_idempotency_key(
    platform: Desk, caller: Caller
) -> None:
    person = platform.workers[2]
    api = caller.api(timeout=1)
    blind = caller.api(timeout=1, commit={"headers": {"X-Job-Secret": "{secret}"}})
    before = await platform.commits(person)
    work = Work(person.contributor_id, (await api.fetch(person.contributor_id)).work_id, secrets.token_hex(8))
    platform.server.suspend()
    try:
        keyed, unkeyed = asyncio.ensure_future(api.commit(work)), asyncio.ensure_future(blind.commit(work))
        lost = await unkeyed
    finally:
        platform.server.resume()
    answer = await keyed

    assert (lost.meaning, lost.code, lost.tries) == (Meaning.UNCLEAR, "no answer", 1)
    assert (answer.meaning, answer.tries) == (Meaning.TAKEN, 2)
    assert await platform.commits(person) == before + 1, "both tries arrived, and are one commit"


async def test_requests_are_sent_no_faster_than_agreed(caller: Caller) -> None:
    ids = ["c-99999"] * 11
    beats: list[tuple[str, int]] = []
    began = time.monotonic()
    await caller.api(rate=20).fetch_all(ids, lambda place, done: beats.append((place, done)))
    assert time.monotonic() - began >= 10 / 20
    assert beats == [("fetched", number) for number in range(1, 12)]
