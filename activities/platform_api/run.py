"""An API test in the vault: its job, its people in pages, and what the platform answered to each page.

A page's fetches are put down before the first commit, each with the idempotency key that its commit will have: a test
that is cut anywhere goes on without work being fetched or handed in twice.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import structlog

from activities.contract import Heartbeat
from activities.errors import CriticalError
from activities.platform_api.answers import PLACE, Answer, Meaning, Work
from activities.platform_api.client import PlatformApi
from activities.platform_api.data_map import PlatformApiMap
from activities.platform_api.job import Job
from activities.platform_api.messages import Expectation, Page, PageCounts, Run, Verdict
from activities.vault import BatchVault

JOB = "job"

log = structlog.get_logger("worker.api_test")


@dataclass(frozen=True)
class Person:
    """Somebody to ask about.

    Args:
        line: The CSV's line: how logs and reports name them.
        contributor_id: Their id.
    """

    line: int
    contributor_id: str


@dataclass(frozen=True)
class Result:
    """What the platform answered about one person.

    Args:
        line: The CSV's line.
        fetch: The fetch's answer.
        commit: The commit's; None where no work was given.
        verdict: What they say of the expectation.
    """

    line: int
    fetch: Answer
    commit: Answer | None
    verdict: Verdict


@dataclass(frozen=True)
class Assignment:
    """What a test is about, apart from its people.

    Args:
        job: The job.
        rules: How the platform is asked.
        control: Somebody who stays: where even they are unknown to it, the platform's answers prove nothing.
    """

    job: Job
    rules: PlatformApiMap
    control: str | None = None


async def write(vault: BatchVault, assignment: Assignment, people: Iterable[Person]) -> int:
    """Puts a test into the vault, once: a second call with the same test changes nothing.

    Args:
        vault: The test's part of it.
        assignment: What it is about.
        people: Whom to ask about; may be many, is streamed.

    Returns:
        How many pages there are.
    """
    pages, waiting = 0, iter(people)
    while page := list(islice(waiting, assignment.rules.page_size)):
        if await vault.receipt(_people(pages)) is None:
            async with vault.recording(_people(pages)) as recording:
                for person in page:
                    await recording.add("people", {"l": person.line, "i": person.contributor_id})
        pages += 1
    if await vault.receipt(JOB) is None:
        async with vault.recording(JOB) as recording:
            await recording.add("job", {**asdict(assignment), "rules": assignment.rules.model_dump(mode="json")})
    return pages


async def read(vault: BatchVault) -> Assignment:
    """What a test is about."""
    (record,) = [record async for _, record in vault.records(JOB)]
    return Assignment(Job(**record["job"]), PlatformApiMap.model_validate(record["rules"]), record["control"])


async def check(api: PlatformApi, assignment: Assignment) -> None:
    """Proves that the platform's API is up, and that it knows the control.

    Args:
        api: The platform.
        assignment: What the test is about.

    Raises:
        ErasureError: It is not, or does not.
    """
    await api.probe()
    if assignment.control is None:
        return
    answer = await api.fetch(assignment.control)
    if answer.meaning not in (Meaning.WORK, Meaning.KNOWN):
        what = f"answers {answer.code} about the control, who stays: what it answers about others proves nothing"
        raise CriticalError(PLACE, what, "Mend the platform, or name another one with --control.")


async def ask(
    vault: BatchVault, api: PlatformApi, rules: PlatformApiMap, page: Page, heartbeat: Heartbeat
) -> PageCounts:
    """Fetches the work of a page's people, and hands it in where there was some; once, however often it is called.

    Args:
        vault: The test's part of it.
        api: The platform.
        rules: How it is asked.
        page: The page.
        heartbeat: Told each answer.

    Raises:
        ErasureError: Nobody can be asked, or the vault cannot be used.
    """
    name = _answered(page.run, page.number)
    if await vault.receipt(name) is None:
        people = [Person(r["l"], r["i"]) async for _, r in vault.records(_people(page.number))]
        fetched, anew = await _fetch(vault, api, rules, page, people, heartbeat)
        given = [(number, work) for number, (answer, work) in enumerate(fetched) if answer.meaning is Meaning.WORK]
        if anew or rules.commit.repeatable:
            committed = await api.commit_all([work for _, work in given], heartbeat)
        else:
            committed = [Answer(Meaning.UNCLEAR, "not sent again")] * len(given)
        commits = dict(zip([number for number, _ in given], committed, strict=True))
        async with vault.recording(name) as recording:
            for number, (person, (answer, _)) in enumerate(zip(people, fetched, strict=True)):
                commit = commits.get(number)
                verdict = judge(answer, commit, page.run.expect)
                _log(page.run, person, answer, commit)
                record = {"l": person.line, "f": _record(answer), "c": commit and _record(commit), "v": verdict}
                await recording.add("answers", record)
    results = [result async for result in _results(vault, page.run, page.number)]
    return PageCounts(
        len(results),
        dict(Counter(result.fetch.code for result in results)),
        dict(Counter(result.commit.code for result in results if result.commit)),
        dict(Counter(result.verdict for result in results)),
    )


async def results(vault: BatchVault, run: Run, pages: int) -> AsyncIterator[Result]:
    """Yields what was answered about everybody, in the CSV's order."""
    for number in range(pages):
        async for result in _results(vault, run, number):
            yield result


def judge(fetch: Answer, commit: Answer | None, expect: Expectation | None) -> Verdict:
    """What answers say of an expectation; without one, whether they say anything.

    Args:
        fetch: The fetch's answer.
        commit: The commit's.
        expect: The expectation.
    """
    erased = fetch.meaning is Meaning.SYSTEM_ERROR
    taken = commit is not None and commit.meaning is Meaning.TAKEN
    if expect == "erased":
        unclear = fetch.meaning is Meaning.UNCLEAR
    else:
        unclear = Meaning.UNCLEAR in (fetch.meaning, commit and commit.meaning)
    if unclear:
        return Verdict.UNCLEAR
    met = {None: True, "active": taken, "erased": erased}[expect]
    return Verdict.AS_EXPECTED if met else Verdict.CONTRARY


async def _fetch(
    vault: BatchVault,
    api: PlatformApi,
    rules: PlatformApiMap,
    page: Page,
    people: list[Person],
    heartbeat: Heartbeat,
) -> tuple[list[tuple[Answer, Work]], bool]:
    """A page's fetches, out of the vault where they were put down before; and whether they were made just now."""
    name, begun = f"fetched/{page.run.attempt}/{page.number:06}", f"begun/{page.run.attempt}/{page.number:06}"
    anew = await vault.receipt(name) is None
    if anew:
        if rules.fetch.repeatable or await vault.receipt(begun) is None:
            if not rules.fetch.repeatable:
                async with vault.recording(begun):
                    pass  # that it exists says all
            answers = await api.fetch_all([person.contributor_id for person in people], heartbeat)
        else:
            answers = [Answer(Meaning.UNCLEAR, "not asked again")] * len(people)
        async with vault.recording(name) as recording:
            for answer in answers:
                await recording.add("fetched", _record(answer) | {"k": secrets.token_hex(16)})
    kept = [record async for _, record in vault.records(name)]  # the first writer's, where two raced
    answers = [_answer(record) for record in kept]
    works = [
        Work(person.contributor_id, answer.work_id, record["k"])
        for person, answer, record in zip(people, answers, kept, strict=True)
    ]
    return list(zip(answers, works, strict=True)), anew


async def _results(vault: BatchVault, run: Run, number: int) -> AsyncIterator[Result]:
    async for _, record in vault.records(_answered(run, number)):
        commit = _answer(record["c"]) if record["c"] else None
        yield Result(record["l"], _answer(record["f"]), commit, Verdict(record["v"]))


def _log(run: Run, person: Person, fetch: Answer, commit: Answer | None) -> None:
    """Says how it went, by the CSV's line: an id never stands in a log."""
    logger = log.bind(run=run.run_id, line=person.line)
    if fetch.meaning is not Meaning.WORK:
        logger.info(
            "fetch gave no work", code=fetch.code, meaning=fetch.meaning, milliseconds=round(fetch.milliseconds)
        )
    elif commit is None or commit.meaning is not Meaning.TAKEN:
        assert commit is not None, "work that was given is handed in"
        logger.info("commit failed", code=commit.code, meaning=commit.meaning, milliseconds=round(commit.milliseconds))
    else:
        milliseconds = round(fetch.milliseconds + commit.milliseconds)
        logger.info("work given and taken", code=commit.code, milliseconds=milliseconds)


def _record(answer: Answer) -> dict[str, Any]:
    return asdict(answer)


def _answer(record: dict[str, Any]) -> Answer:
    return Answer(
        Meaning(record["meaning"]), record["code"], record["milliseconds"], record["work_id"], record["tries"]
    )


def _people(number: int) -> str:
    return f"people/{number:06}"


def _answered(run: Run, number: int) -> str:
    return f"answered/{run.attempt}/{number:06}"
