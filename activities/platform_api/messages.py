"""What travels between the workflow of an API test and its activities: a run's id, numbers, codes.

Importable in the sandbox. Who is asked, and the job's secret, stay in the vault.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from activities.contract import Finding

Expectation = Literal["active", "erased"]
"""What is expected of everybody: that work is given and taken, or that the platform answers SYSTEM_ERROR."""


class Verdict(StrEnum):
    """What one contributor's answers say of the expectation."""

    AS_EXPECTED = "as expected"
    CONTRARY = "contrary"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Run:
    """Names an API test to an activity.

    Args:
        run_id: The test; also the name of its part of the vault.
        attempt: Its workflow's first run: an answer that another one got is none of its own.
        expect: What is expected of everybody.
    """

    run_id: str
    attempt: str
    expect: Expectation | None


@dataclass(frozen=True)
class Page:
    """Names one page of a test's contributors to an activity."""

    run: Run
    number: int


@dataclass(frozen=True)
class PageCounts:
    """What the platform answered to one page.

    Args:
        contributors: People who were asked about.
        fetches: How often a fetch was answered by each code.
        commits: The same of commits; one is sent only where a fetch gave work.
        verdicts: How many people, by verdict.
    """

    contributors: int
    fetches: dict[str, int] = field(default_factory=dict)
    commits: dict[str, int] = field(default_factory=dict)
    verdicts: dict[Verdict, int] = field(default_factory=dict)


@dataclass
class ApiTestStatus:
    """What is known of an API test: kept by its workflow, answered by the query `status`.

    Args:
        run: The test.
        contributors: Distinct people of the CSV.
        pages: Pages of them.
        done: Pages that are through.
        asked: People who were asked about.
        fetches: As `PageCounts`, of all pages.
        commits: The same.
        verdicts: The same.
        stopped: Why it waits for somebody to start it again; None where it does not.
        passing: Whether that may pass by itself.
        report: The report's name in the vault; None while there is none.
        started_at: When it began.
        ended_at: When the last answer had come.
    """

    run: Run
    contributors: int
    pages: int
    done: int = 0
    asked: int = 0
    fetches: dict[str, int] = field(default_factory=dict)
    commits: dict[str, int] = field(default_factory=dict)
    verdicts: dict[Verdict, int] = field(default_factory=dict)
    stopped: Finding | None = None
    passing: bool = False
    report: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None

    def add(self, page: PageCounts) -> None:
        """Adds a page that is through."""
        self.done += 1
        self.asked += page.contributors
        self.fetches = dict(Counter(self.fetches) + Counter(page.fetches))
        self.commits = dict(Counter(self.commits) + Counter(page.commits))
        self.verdicts = dict(Counter(self.verdicts) + Counter(page.verdicts))

    def of(self, verdict: Verdict) -> int:
        """How many people have a verdict."""
        return self.verdicts.get(verdict, 0)
