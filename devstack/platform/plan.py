"""How large a platform is, and what its parts are called."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

SEED = 20261101
"""Everything is drawn from generators that start here: the same seed makes the same platform."""

TODAY = datetime(2026, 11, 1, tzinfo=UTC)
"""The platform's last day: all its dates lie before it, whenever it is made."""

PROJECTS = ("alpha", "beta", "gamma", "delta")


@dataclass(frozen=True)
class Names:
    """What the platform's parts are called; the defaults are those of ``erasure.toml``.

    Args:
        schema: PostgreSQL's schema.
        index_prefix: What each Elasticsearch index starts with.
        database: ClickHouse's database.
        bucket: The S3 bucket.
        key_prefix: What each Redis key starts with.
    """

    schema: str = "public"
    index_prefix: str = "project-"
    database: str = "platform"
    bucket: str = "platform-files"
    key_prefix: str = ""

    @classmethod
    def under(cls, name: str) -> Names:
        """Names for a platform of its own beside others on the same servers.

        Args:
            name: Lower-case letters, digits and hyphens.
        """
        return cls(
            schema=f"platform-{name}",
            index_prefix=f"{name}-project-",
            database=f"platform-{name}",
            bucket=f"platform-files-{name}",
            key_prefix=f"{name}:",
        )

    @property
    def indices(self) -> tuple[str, ...]:
        """The Elasticsearch indices."""
        return tuple(f"{self.index_prefix}{project}" for project in PROJECTS)


@dataclass(frozen=True)
class Size:
    """How many records of each kind.

    Args:
        contributors: People, the deliberately awkward ones included.
        inactive: How many of them have status INACTIVE.
        batch: People in the sample of those to be erased.
        jobs: Rows of ``jobs``.
        job_mappings: Rows of ``job_mappings``.
        devices: Rows of ``contributor_devices``.
        payments: Rows of ``payments``.
        tickets: Rows of ``support_tickets``.
        audit_rows: Rows of ``audit_log``.
        documents: Elasticsearch documents, over all indices.
        metric_rows: Rows of ``unit_metrics``; its materialized view makes half as many of them.
        quality_rows: Rows of ``unit_metrics_quality``.
        file_owners: People with files of their own, one to four each.
        avatars: People with a picture.
        shared_files: S3 objects that belong to nobody.
        cached: People with keys in Redis.
    """

    contributors: int
    inactive: int
    batch: int
    jobs: int
    job_mappings: int
    devices: int
    payments: int
    tickets: int
    audit_rows: int
    documents: int
    metric_rows: int
    quality_rows: int
    file_owners: int
    avatars: int
    shared_files: int
    cached: int


DEMO = Size(
    contributors=2_000,
    inactive=400,
    batch=100,
    jobs=300,
    job_mappings=8_000,
    devices=2_500,
    payments=5_000,
    tickets=1_000,
    audit_rows=10_000,
    documents=40_000,
    metric_rows=100_000,
    quality_rows=50_000,
    file_owners=750,
    avatars=400,
    shared_files=150,
    cached=1_400,
)

SMALL = Size(
    contributors=40,
    inactive=20,
    batch=14,
    jobs=20,
    job_mappings=500,
    devices=60,
    payments=500,
    tickets=100,
    audit_rows=500,
    documents=200,
    metric_rows=500,
    quality_rows=500,
    file_owners=30,
    avatars=30,
    shared_files=10,
    cached=40,
)
