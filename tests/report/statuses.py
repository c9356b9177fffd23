"""Batches of every outcome, as a report is made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from activities.canary.messages import CanaryResult
from activities.contract import Finding, Recovery, Tally
from activities.identities import IdentityKind
from activities.messages import Depth, Verification
from activities.report import Contents, Held
from activities.sharing import Stayer
from activities.status import (
    BatchStatus,
    CommandKind,
    CommandRecord,
    Entered,
    Issued,
    Outcome,
    PhaseState,
    PhaseStatus,
    Stage,
)

START = datetime(2026, 3, 2, 9, 14, 5, tzinfo=UTC)
HOSTILE = "</style><script>alert(1)</script>{{ 7 * 7 }}<img src=https://example.invalid/x>"
"""What somebody might get into a report who can name an index or give a reason."""

PLACES = {
    "elasticsearch": {"project-2024-annotations": 18_204, "project-2025-annotations": 9_377, "project-qa": 412},
    "clickhouse": {"platform.unit_metrics": 48_310, "platform.unit_metrics_daily": 1_204},
    "postgres": {"public.contributors": 1_204, "public.job_mappings": 6_871, "public.payments": 2_410},
    "s3": {"s3://platform-files/contributors/{contributor_id}/": 3_366},
    "redis": {"auth:{contributor_id}": 311, "session:{contributor_id}:*": 790, "jobcache:*:{contributor_id}": 145},
}
VERSIONS = {"elasticsearch": "9.5.3", "clickhouse": "26.1", "postgres": "16.4", "s3": "", "redis": "8.0"}
STAGES = {
    Stage.CHECK: 0,
    Stage.RESOLVE: 2,
    Stage.APPROVAL: 9,
    Stage.BACK_UP: 75,
    Stage.ERASE: 168,
    Stage.RECOUNT: 345,
    Stage.VERIFY: 352,
}
SECONDS = {"elasticsearch": (168, 236), "clickhouse": (236, 291), "postgres": (291, 309), "s3": (309, 338)}


def at(seconds: float) -> datetime:
    """A moment of the batch."""
    return START + timedelta(seconds=seconds)


def erased() -> BatchStatus:
    """A batch that went through, approved by two, and that nobody has verified."""
    return BatchStatus(
        batch_id="erase-7c1f0a93d2b84e65",
        operator="dana@privacy",
        data_map_digest="9f2c" * 16,
        contributors=1_204,
        duplicates=3,
        phases=[_phase(store) for store in PLACES],
        unknown=7,
        stage=Stage.REPORT,
        stages=[*(Entered(stage, at(seconds)) for stage, seconds in STAGES.items()), Entered(Stage.REPORT, at(372))],
        outcome=Outcome.ERASED,
        approvals_needed=2,
        approvals=["kim@privacy", "lee@legal"],
        commands=[
            CommandRecord(CommandKind.APPROVE, "kim@privacy", "ticket 4411, counts compared", at(31)),
            CommandRecord(CommandKind.APPROVE, "lee@legal", "no hold applies", at(75)),
            CommandRecord(CommandKind.RETRY, "kim@privacy", "pressed twice", at(180), "s3", "no such phase is parked"),
        ],
        slices=3,
        manifest_digest="41d7" * 16,
        started_at=START,
        ended_at=at(372),
    )


def _phase(store: str) -> PhaseStatus:
    places = PLACES[store]
    began, ended = SECONDS.get(store, (338, 345))
    return PhaseStatus(
        store,
        critical=store != "redis",
        state=PhaseState.DONE,
        done=1_204,
        total=1_204,
        before=dict(places),
        after=dict.fromkeys(places, 0),
        erased={place: Tally(count, count) for place, count in places.items()},
        backup_bytes=1 << 28,
        version=VERSIONS[store],
        started_at=at(began),
        ended_at=at(ended),
    )


def verification(depth: Depth = "catalogue", seconds: float = 365) -> Verification:
    """One that found nothing, and left nothing out."""
    proven = [f"{store} {place}" for store, places in PLACES.items() for place in places]
    masked = {
        f"{store} {place}": count for store in ("elasticsearch", "clickhouse") for place, count in PLACES[store].items()
    }
    others = [f"postgres public.table_{number}" for number in range(40)]
    return Verification(depth, at(seconds), [*proven, *others], masked=masked)


def proven() -> BatchStatus:
    """Erased, and proven by a verification."""
    return replace(erased(), verification=verification())


def partly_proven() -> BatchStatus:
    """Erased with warnings; the verification could not read everything; some are under a legal hold."""
    status = replace(erased(), outcome=Outcome.WARNED, held=2)
    status.verification = replace(
        verification(),
        not_proven=[
            Finding(
                "clickhouse platform.events_raw.payload", "was read in part only: its time was over", "Run it deep."
            ),
            Finding("elasticsearch project-archive", "is closed", "Open it, and verify again."),
        ],
    )
    what = "14 objects are under S3's own object lock and stay until 2027-01-01"
    status.phases[3].warnings.append(Finding("s3://platform-files/audit/", what, "Purge them when the lock has ended."))
    status.phases[1].notes.append(
        Finding("platform.unit_metrics_mv", "follows from platform.unit_metrics, and was not mutated", "")
    )
    status.certificates.append(Issued(0, "b07a" * 16, "k-3f9d20", at(371)))
    return status


def residuals() -> BatchStatus:
    """Erased by its own count; the verification found people all the same, in places named by somebody hostile."""
    found = {
        "postgres archive.contributors_2023.email": 17,
        "redis stream:events": 4,
        f"elasticsearch project-x: {HOSTILE}": 1,
        "identity table": 2,
    }
    status = replace(erased(), outcome=Outcome.WARNED)
    status.commands.append(CommandRecord(CommandKind.PAUSE, HOSTILE, f"| a | {HOSTILE}", at(200)))
    remedy = "Name the place in the data map where it is not there, and submit the file again; or `retry`."
    for number, place in ((2, "archive.contributors_2023.email"), (0, f"project-x: {HOSTILE}")):
        what = f"{number} records still hold an identity of the batch, a verification found"
        status.phases[number].warnings.append(Finding(place, what, remedy))
        status.phases[number].state = PhaseState.WARNED
    beside = Finding("identity table", "2 records still hold an identity of the batch", "Mend that by hand.")
    status.verification = replace(verification(), residuals=found, cautions=[beside])
    return status


def rolled_back() -> BatchStatus:
    """Put back on demand, but for what the data map says cannot be."""
    status = replace(erased(), outcome=Outcome.ROLLED_BACK, ended_at=at(900))
    status.stages += [Entered(Stage.RETAIN, at(373)), Entered(Stage.ROLL_BACK, at(640)), Entered(Stage.REPORT, at(900))]
    reason = "wrong file: the list of another country"
    status.commands.append(CommandRecord(CommandKind.ROLLBACK, "dana@privacy", reason, at(640)))
    for phase in status.phases:
        phase.state, phase.after = PhaseState.ROLLED_BACK, dict(phase.before)
        phase.restored = {place: Recovery(count, count) for place, count in phase.before.items()}
    redis = status.phases[-1]
    redis.state, redis.reversible, redis.restored = PhaseState.LEFT_ERASED, False, {}
    redis.after = dict.fromkeys(redis.before, 0)
    what = "was not put back, it cannot be undone: the data map says rollback = false"
    redis.warnings.append(Finding("redis", what, "Put it back from a back-up of your own, where there is one."))
    return status


def refused() -> BatchStatus:
    """Stopped by the check."""
    blank = [PhaseStatus(store, critical=store != "redis", total=1_204) for store in PLACES]
    status = replace(erased(), phases=blank, commands=[], approvals=[], outcome=Outcome.REFUSED, ended_at=None)
    status.stages = [Entered(Stage.CHECK, START), Entered(Stage.REPORT, at(3))]
    remedy = "Name it in the data map, or say that it holds nobody's data."
    status.problems = [
        Finding("public.people_import", "is not in the data map, and its column `mail` looks like an address", remedy),
        Finding("project-2026-reviews", "is a new index with the field `reviewer.email`", remedy),
    ]
    return status


def running() -> BatchStatus:
    """In the middle of its phases."""
    status = replace(erased(), outcome=Outcome.RUNNING, stage=Stage.ERASE, ended_at=None)
    status.stages = [entered for entered in status.stages if entered.at < at(300)]
    for phase in status.phases:
        phase.after = None
    s3, redis = status.phases[3:]
    s3.state, s3.ended_at, s3.done, s3.erased = PhaseState.RUNNING, None, 400, {}
    redis.state, redis.started_at, redis.ended_at, redis.erased = PhaseState.BACKED_UP, None, None, {}
    return status


def parked() -> BatchStatus:
    """Waits for an operator, beside a phase that failed."""
    status = running()
    status.phases[3].state = PhaseState.PARKED
    status.phases[3].error = "s3://platform-files: access to it is denied. Grant s3:DeleteObject to the worker"
    return status


def long_lists() -> BatchStatus:
    """As large as it gets: many places with long names, many warnings, commands and certificates."""
    status = partly_proven()
    status.shared, status.when_shared = 60, "mask"
    names = [f"project-{'very-' * 12}long-name-{number:04}-annotations" for number in range(150)]
    missed = [Finding(f"elasticsearch {name}", "takes no new documents", "Nothing to mend.") for name in names[100:]]
    status.canary = CanaryResult(f"{status.batch_id}-canary-1f2e3d4c", dict.fromkeys(names[:100], 1), missed)
    first = status.phases[0]
    first.before = dict.fromkeys(names, 12345678)
    first.after = dict.fromkeys(names, 0)
    first.erased = {name: Tally(12_345_678, 12_345_678) for name in names}
    first.warnings += [
        Finding(name, "was written to by something else, again and again, while it was masked", "`retry` the phase.")
        for name in names[:60]
    ]
    for number in range(40):
        status.commands.append(
            CommandRecord(CommandKind.RETRY, "kim@privacy", f"attempt {number}", at(170 + 4 * number), "elasticsearch")
        )
        status.certificates.append(Issued(number + 1, "77aa" * 16, "k-3f9d20", at(171 + 4 * number)))
    assert status.verification is not None
    status.verification.proven.extend(f"elasticsearch {name}" for name in names)
    status.verification.not_proven.extend(
        Finding(f"elasticsearch {name}", "was read in part only", "Verify again.") for name in names[:90]
    )
    return status


BATCHES: dict[str, Callable[[], BatchStatus]] = {
    "erased": erased,
    "proven": proven,
    "partly-proven": partly_proven,
    "residuals": residuals,
    "rolled-back": rolled_back,
    "refused": refused,
    "running": running,
    "parked": parked,
    "long-lists": long_lists,
}


def contents(name: str) -> Contents:
    """What the report of a batch tells.

    Args:
        name: One of `BATCHES`.
    """
    status = BATCHES[name]()
    held = [
        Held("c-10442", ["elasticsearch", "clickhouse", "postgres", "s3", "redis"]),
        Held("c-20911", ["s3"], ["redis"]),
    ]
    stayers = [Stayer(f"c-{30_000 + number}", [IdentityKind.EMAIL]) for number in range(status.shared)]
    return Contents(status, at(400), held if status.held else [], stayers)
