"""The safety checks of a CSV, and what its erasure would do: checks -> identities -> impact -> estimate -> shred."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.checking.messages import Check, CheckStatus, Forecast, Measured, People, Preview
    from activities.contract import Extent, Finding, Impact
    from activities.errors import TransientError
    from activities.messages import Batch, Checked, Resolution, Resolved, Step, WhenShared
    from activities.verification.contract import Estimate
    from activities.verification.messages import Target
    from workflows import checks, details, retry
    from workflows.failures import finding
    from workflows.messages import Looking, Retry

T = TypeVar("T")

OTHERS = "other batches"
SHARED = "shared identities"
ROOM = "room for the back-up"
ESTIMATE = "estimate"


@dataclass(frozen=True)
class CheckRequest:
    """Asks for the checks of a submission that lies in the vault, and is shredded in the end.

    Args:
        batch: The submission.
        contributors: Distinct people of the CSV.
        stores: The phases, in order.
        dry_run: Whether to preview the impact as well.
        shared: What the policy makes of identities that somebody has who stays.
        concurrency: Slices of one store at once.
        retry: How long one step is tried.
        heartbeat_timeout: After it a silent worker counts as dead.
        verify: How an erasure would end with looking for what is left; None: not at all.
    """

    batch: Batch
    contributors: int
    stores: list[str]
    dry_run: bool
    shared: WhenShared
    concurrency: int
    retry: Retry
    heartbeat_timeout: timedelta
    verify: Looking | None = None


@workflow.defn(name="CheckErasure")
class CheckErasure:
    """Runs the checks with which an erasure begins, and says what it would do; writes to no store.

    A check that cannot run is a failed check, and keeps no other one from running.
    """

    @workflow.init
    def __init__(self, request: CheckRequest) -> None:
        self._request = request
        self._status = CheckStatus(
            request.batch.batch_id, request.contributors, request.stores, request.dry_run, started_at=workflow.now()
        )

    @workflow.run
    async def run(self, request: CheckRequest) -> CheckStatus:
        """Runs the checks.

        Args:
            request: Whom to check, by claim check.

        Returns:
            What the checks came to, and the impact where it was asked for.
        """
        try:
            await self._check(request)
        finally:
            await self._start("shred_batch", request.batch, type(None), "The submission")
        self._status.ended_at = workflow.now()
        return self._status

    @workflow.query
    def status(self) -> CheckStatus:
        """What is known now."""
        return self._status

    async def _check(self, request: CheckRequest) -> None:
        found = await checks.run(request.batch, request.stores, self._start)
        self._status.people = found.people
        if checks.VAULT in found.failures:
            self._take(_failed(checks.VAULT, found.failures[checks.VAULT]))
            return
        self._take(Check(checks.VAULT, "is written, read and cleared, and keys are wrapped and unwrapped"))
        if found.people is None:
            self._take(_failed(checks.CONTRIBUTORS, found.failures[checks.CONTRIBUTORS]))
        else:
            self._take(_of_people(found.people))
        await self._attempt(OTHERS, self._others())
        resolved = await self._attempt(SHARED, self._resolve(request))
        for store in request.stores:
            if store in found.stores:
                self._take(_of_store(store, found.stores[store]))
            else:
                self._take(_failed(store, found.failures[store]))
        self._status.irreversible = [store for store, checked in found.stores.items() if not checked.reversible]
        if request.dry_run and resolved is not None:
            await self._preview(found, resolved)

    async def _others(self) -> None:
        others = await self._start("compare_batches", self._request.batch, dict[str, int], "Batches under way")
        warnings = [
            Finding(batch, f"is under way with {count:,} of these people", "Wait for its end, or leave them out.")
            for batch, count in others.items()
        ]
        self._take(Check(OTHERS, "none is under way with the same people", warnings=warnings))

    async def _resolve(self, request: CheckRequest) -> Resolved:
        """The manifest of the preview; what is shared is told, and decided by nobody."""
        task = Resolution(request.batch.batch_id, request.batch.data_map_digest, shared="mask")
        resolved = await self._start("resolve_identities", task, Resolved, "Identities")
        warnings = []
        if resolved.shared:
            what = f"{resolved.shared:,} identities of these people are those of somebody who stays as well"
            warnings.append(Finding("identities", what, _SHARED[request.shared]))
        self._take(Check(SHARED, "there are none", warnings=warnings))
        return resolved

    async def _preview(self, found: checks.Results, resolved: Resolved) -> None:
        """Previews stores in which nothing forbids to erase, one after the other, as they are erased; then reckons."""
        before = (workflow.now() - self._status.started_at).total_seconds() if self._status.started_at else 0.0
        sound = {store: checked.unit for store, checked in found.stores.items() if not checked.health.problems}
        for store, unit in sound.items():
            await self._look(store, unit, resolved)
        if len(self._status.previews) == len(self._request.stores):
            await self._attempt(ESTIMATE, self._forecast(before, resolved.slices))

    async def _look(self, store: str, unit: str, resolved: Resolved) -> None:
        try:
            self._status.previews.append(await self._count(store, unit, resolved.slices))
        except ActivityError as error:
            at, check = next(each for each in enumerate(self._status.checks) if each[1].name == store)
            self._status.checks[at] = _failed(store, error, check)

    async def _count(self, store: str, unit: str, slices: int) -> Preview:
        """Counts in one store, slice by slice."""
        began = workflow.now()
        waiting = iter([None] if unit == "batch" else range(slices))
        places: Counter[str] = Counter()
        extents: dict[str, Extent] = {}

        async def work() -> None:
            for number in waiting:
                step = Step(self._request.batch, slices, number)
                impact = await self._start(f"count_{store}", step, Impact, details.slice_name(number, slices), store)
                places.update(impact.places)
                for place, extent in impact.extents.items():
                    extents[place] = extents.get(place, Extent()) + extent

        await _whole(work() for _ in range(self._request.concurrency))
        return Preview(store, dict(places), extents, (workflow.now() - began).total_seconds())

    async def _forecast(self, before: float, slices: int) -> None:
        batch, looking = self._request.batch, self._request.verify
        verifying = None if looking is None else await self._verifying(looking, slices)
        measured = Measured(batch.batch_id, batch.data_map_digest, self._status.previews, before, verifying)
        forecast = await self._start("forecast_erasure", measured, Forecast, "How long it will take")
        self._status.forecast = forecast
        self._take(_of_room(forecast))

    async def _verifying(self, looking: Looking, slices: int) -> float:
        """Seconds that the verification will take: its scans run all at once, and so are they measured.

        The longest one is faster than that, about twice, once it has the machine to itself.
        """
        target = Target(self._request.batch, slices, 0, looking.depth, workflow.info().workflow_id)
        stores = {
            name: name if name in self._request.stores else None for name in (*self._request.stores, *looking.beside)
        }
        costs = await _whole(
            self._start(f"estimate_scan_{name}", target, Estimate, f"Cost of verifying {name}", store)
            for name, store in stores.items()
        )
        *_, second, longest = sorted([0.0, *(cost.seconds for cost in costs)])
        return second + (longest - second) / 2

    async def _attempt(self, name: str, work: Awaitable[T]) -> T | None:
        """Does what may fail without keeping other checks from running."""
        try:
            return await work
        except ActivityError as error:
            self._take(_failed(name, error))
            return None

    def _take(self, check: Check) -> None:
        self._status.checks.append(check)
        workflow.set_current_details(details.of_check(self._status))

    def _start(
        self, name: str, argument: Any, result: type[T], summary: str, store: str | None = None
    ) -> workflow.ActivityHandle[T]:
        request = self._request
        return retry.start(name, argument, result, summary, request.retry, request.heartbeat_timeout, store)


async def _whole(works: Iterable[Awaitable[T]]) -> list[T]:
    """What all of them come to; where one fails, that is said once all have ended."""
    ended = await asyncio.gather(*works, return_exceptions=True)
    for answer in ended:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in ended if not isinstance(answer, BaseException)]


_SHARED = {
    "park": "The batch will park, and its report name who stays: mend the identity table first.",
    "mask": "By the policy they are erased, and so are the records that the others are found by.",
    "keep": "By the policy they are left out: what they name stays as it is.",
}


def _of_people(people: People) -> Check:
    states = ", ".join(f"{count:,} {status}" for status, count in people.by_status.items())
    facts = f"{people.known:,} of {people.everybody:,} in the identity table" + (f" ({states})" if states else "")
    warnings = []
    if people.unknown:
        what = f"{people.unknown:,} are not in the identity table"
        remedy = "They are searched for by what the CSV itself says of them: look whether it is the right file."
        warnings.append(Finding("contributors", what, remedy))
    if people.held:
        what = f"{people.held:,} are under a legal hold"
        warnings.append(Finding("holds", what, "They will be left out; see `python -m starter hold list`."))
    return Check(checks.CONTRIBUTORS, facts, people.problems, warnings)


def _of_store(store: str, checked: Checked) -> Check:
    health = checked.health
    facts = f"{health.version}, {len(health.places):,} places of the data map"
    return Check(store, facts, health.problems, health.warnings, health.notes)


def _of_room(forecast: Forecast) -> Check:
    need = f"about {forecast.back_up / 2**20:,.1f} MiB are needed"
    if forecast.room is None:
        remedy = "Look at the bucket's quota, and tell it by ERASURE_VAULT__QUOTA where there is one."
        return Check(ROOM, need, notes=[Finding("vault", "how much its bucket may hold is not known", remedy)])
    facts = f"{need}, and {forecast.room / 2**20:,.1f} MiB are free"
    if forecast.back_up <= forecast.room:
        return Check(ROOM, facts)
    remedy = "Shred batches that nobody will roll back, or raise the quota and ERASURE_VAULT__QUOTA."
    return Check(ROOM, problems=[Finding("vault", facts, remedy)])


def _failed(name: str, error: ActivityError, known: Check | None = None) -> Check:
    """A check that could not run, or not to its end: then something is known of it."""
    if is_cancelled_exception(error):
        raise error
    cause = error.cause
    transient = isinstance(cause, ApplicationError) and cause.type == TransientError.__name__
    return replace(known or Check(name), failure=finding(error), unreachable=transient)
