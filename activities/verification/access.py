"""Whether the platform still knows the people who were erased: by its own API, and by the identity table."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from aiohttp import ClientSession

from activities.contract import Contributor, Finding, Heartbeat
from activities.datamap import DataMap, IdentityTable
from activities.errors import ErasureError, translated
from activities.platform_api import Job, JobUrlError, Meaning, PlatformApi
from activities.settings import PlatformApiSettings
from activities.stores.postgres import translate
from activities.verification.messages import Access
from activities.verification.people import People

if TYPE_CHECKING:
    from asyncpg import Pool, Record

API = "platform API"

PAGE = 1_000
"""People of whom the identity table is asked at once."""

STILL_LISTED = "SELECT count(*) FROM {table} AS t WHERE t.{id}::text = ANY ($1::text[])"


async def ask(
    people: People,
    data_map: DataMap,
    session: ClientSession,
    settings: PlatformApiSettings,
    pool: Pool[Record],
    heartbeat: Heartbeat,
) -> Access:
    """Asks the platform about a sample of the people, and the identity table about all of them.

    Args:
        people: Who must be gone.
        data_map: How the API is asked, about how many, and where the identity table is.
        session: Connections to the API.
        settings: Where the API is, and with which job it is asked.
        pool: PostgreSQL.
        heartbeat: Told what was asked.

    Raises:
        ErasureError: The identity table cannot be read.
    """
    listed = await _listed(people, data_map.identity, pool, heartbeat)
    sample = await _sample(people.pages(), data_map.verification.api_sample)
    asked, missing = await _ask_api(sample, data_map, session, settings, heartbeat)
    return Access(
        len(asked),
        sum(meaning is Meaning.SYSTEM_ERROR for meaning in asked),
        sum(meaning in (Meaning.WORK, Meaning.KNOWN) for meaning in asked),
        listed,
        missing,
    )


async def _listed(people: People, table: IdentityTable, pool: Pool[Record], heartbeat: Heartbeat) -> int:
    """How many rows the identity table still has of them."""
    found = done = 0
    with translated("postgres", translate):
        query = STILL_LISTED.format(table=".".join(map(_quoted, table.table.split("."))), id=_quoted(table.id))
        async for page in people.pages():
            for start in range(0, len(page), PAGE):
                ids = [person.contributor_id for person in page[start : start + PAGE]]
                found += await pool.fetchval(query, ids)
                done += len(ids)
                heartbeat("identity table", done)
    return found


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


async def _ask_api(
    ids: Sequence[str],
    data_map: DataMap,
    session: ClientSession,
    settings: PlatformApiSettings,
    heartbeat: Heartbeat,
) -> tuple[list[Meaning], list[Finding]]:
    """What the platform's answers mean, and what they do not prove."""
    if settings.base_url is None or settings.job_url is None:
        what = "was not asked whether it still knows them"
        remedy = "Set ERASURE_API__BASE_URL and ERASURE_API__JOB_URL where the worker runs, and verify again."
        return [], [Finding(API, what, remedy)]
    try:
        job = Job.parse(settings.job_url.get_secret_value(), data_map.platform_api)
    except JobUrlError as error:
        return [], [Finding(API, f"could not be asked: {error}", "Correct ERASURE_API__JOB_URL.")]
    api = PlatformApi(session, settings, data_map.platform_api, job)
    try:
        await api.probe()
        missing = await _control(api, settings)
        answers = await api.fetch_all(ids, heartbeat)
    except ErasureError as error:
        return [], [Finding(API, f"could not be asked: {error}", "Mend that, and verify again.")]
    meanings = [answer.meaning for answer in answers]
    if unclear := sum(meaning is Meaning.UNCLEAR for meaning in meanings):
        what = f"answered {unclear:,} of {len(meanings):,} times in a way that proves nothing"
        missing.append(Finding(API, what, "See platform_api.answers in the data map."))
    return meanings, missing


async def _control(api: PlatformApi, settings: PlatformApiSettings) -> list[Finding]:
    """An API that answers SYSTEM_ERROR about everybody says nothing: it must know somebody who stays."""
    if settings.control is None:
        what = "was not asked about anybody who stays, so its SYSTEM_ERROR may be its answer to everybody"
        return [Finding(API, what, "Set ERASURE_API__CONTROL to the id of a contributor of that job who stays.")]
    answer = await api.fetch(settings.control.get_secret_value())
    if answer.meaning in (Meaning.WORK, Meaning.KNOWN):
        return []
    what = f"answers {answer.code} about the control, who stays: what it answers about others proves nothing"
    return [Finding(API, what, "Mend the platform, or correct ERASURE_API__CONTROL.")]


async def _sample(pages: AsyncIterator[Sequence[Contributor]], size: int) -> list[str]:
    """Ids of some of the people, each as likely as any other (reservoir sampling); all of them where size is 0."""
    chosen: list[str] = []
    seen = 0
    async for page in pages:
        for person in page:
            seen += 1
            if not size or len(chosen) < size:
                chosen.append(person.contributor_id)
            elif (place := random.randrange(seen)) < size:
                chosen[place] = person.contributor_id
    return chosen
