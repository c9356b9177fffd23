"""The SQL of a fetch: filters, order and limit, for all contributors at once.

Values are parameters; what stands in the text of a statement is quoted names and our own constants. In it

    t   the identity table
    s   the table that says who is inactive; ``t`` too, where it is the same
    m   the table whose rows are projects
    erasure_excluded   whom to leave out; a temporary table
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from activities.fetching.columns import Layout
from activities.fetching.messages import Criteria
from activities.identity_table import texts
from activities.masking import Strategy
from activities.stores.postgres.catalogue import Column, quote
from activities.stores.postgres.conditions import unmasked

STAGING = "CREATE TEMPORARY TABLE erasure_excluded (contributor_id text) ON COMMIT DROP"

EVERYBODY = "SELECT count(*) FROM {identity}"

OF_STATUS = """
    SELECT count(*) AS of_status, count(*) FILTER (WHERE {is_never}) AS no_activity,
           count(*) FILTER (WHERE {began} > {as_of}) AS in_future
    FROM {source} WHERE {has_status}
"""

JUDGED = """
    WITH aged AS (
        SELECT t.{identity_id} AS id, {since} AS moment, {in_projects} AS in_projects, NOT ({is_unmasked}) AS is_erased,
               {emails} AS emails, {worker_ids} AS worker_ids
        FROM {source} WHERE {has_status} AND ({is_inactive})
    ){counted}, judged AS (
        SELECT a.id, a.moment, a.is_erased, a.emails, a.worker_ids, {fits} AS fits,
               e.id IS NOT NULL AS is_excluded, {is_held} AS is_held
        FROM aged AS a {joins}
        LEFT JOIN (SELECT DISTINCT contributor_id::{type} AS id FROM pg_temp.erasure_excluded
                   WHERE pg_input_is_valid(contributor_id, {type_name})) AS e ON e.id = a.id
    )
"""
"""Who is inactive, and what speaks against each. A join each, so that they are hashed, however many they are."""

COUNTED = """, counted AS (
        SELECT a.id, count(DISTINCT m.{count}) AS projects FROM aged AS a JOIN {table} AS m ON m.{by} = a.id
        GROUP BY a.id
    )"""

COUNTS = """
    SELECT count(*) AS inactive, count(*) FILTER (WHERE fits) AS in_projects,
           count(*) FILTER (WHERE fits AND NOT is_erased) AS not_erased,
           count(*) FILTER (WHERE fits AND NOT is_erased AND NOT is_excluded) AS not_excluded,
           count(*) FILTER (WHERE fits AND NOT is_erased AND NOT is_excluded AND NOT is_held) AS not_held
    FROM judged
"""

FOUND = """
    SELECT id::text AS contributor_id, emails, worker_ids,
           floor(extract(epoch FROM {as_of} - moment) / 86400)::int AS days
    FROM judged WHERE fits AND NOT is_erased AND NOT is_excluded AND NOT is_held
    ORDER BY moment{nulls}, id LIMIT {limit} OFFSET {offset}
"""
"""The longest inactive first; by id where they are equal."""


@dataclass
class Statement:
    """A statement with its parameters.

    Args:
        text: The SQL; `value` gives what stands for a parameter in it.
        values: The parameters.
    """

    text: str = ""
    values: list[Any] = field(default_factory=list)

    def value(self, value: Any, kind: str) -> str:
        """Adds a parameter of a type."""
        self.values.append(value)
        return f"${len(self.values)}::{kind}"


@dataclass(frozen=True)
class Query:
    """The statements of one fetch.

    Args:
        layout: Tables and columns.
        criteria: Whom to fetch.
        as_of: From when on the days are counted back.
    """

    layout: Layout
    criteria: Criteria
    as_of: datetime

    def everybody(self) -> Statement:
        """How many contributors there are."""
        return Statement(EVERYBODY.format(identity=self.layout.identity.sql))

    def of_status(self) -> Statement:
        """How many have the status, and of how many of them nothing can be said."""
        made = Statement()
        made.text = OF_STATUS.format(
            source=self._source,
            has_status=self._has_status(made),
            is_never=self._is_never,
            began=self._moment(self.layout.last_activity, made, day_ends=False),
            as_of=made.value(self.as_of, "timestamptz"),
        )
        return made

    def counts(self) -> Statement:
        """How many are left behind each filter from the days on."""
        made = Statement()
        made.text = self._judged(made) + COUNTS
        return made

    def found(self, limit: int, offset: int = 0) -> Statement:
        """Those who are left behind all filters, in order.

        Args:
            limit: So many at most,
            offset: without so many first ones.
        """
        made = Statement()
        made.text = self._judged(made) + FOUND.format(
            as_of=made.value(self.as_of, "timestamptz"),
            nulls=" NULLS FIRST" if self.criteria.null_activity == "include" else "",
            limit=made.value(limit, "bigint"),
            offset=made.value(offset, "bigint"),
        )
        return made

    def _judged(self, made: Statement) -> str:
        layout = self.layout
        in_projects, counted, joins, fits = self._projects(made)
        if layout.holds:
            joins += " LEFT JOIN erasure.holds AS h ON h.contributor_id = a.id::text"
        identities = (layout.identity_id, *layout.emails, *layout.worker_ids)
        emails, worker_ids = (texts([each.name for each in some]) for some in (layout.emails, layout.worker_ids))
        return JUDGED.format(
            identity_id=quote(layout.identity_id.name),
            since=self._since(made),
            in_projects=in_projects,
            is_unmasked=" AND ".join(f"({unmasked(column, Strategy.TOKEN)}) IS NOT FALSE" for column in identities),
            emails=emails,
            worker_ids=worker_ids,
            source=self._source,
            has_status=self._has_status(made),
            is_inactive=self._is_inactive(made),
            counted=counted,
            fits=fits,
            is_held="h.contributor_id IS NOT NULL" if layout.holds else "false",
            joins=joins,
            type=layout.identity_id.type,
            type_name=made.value(layout.identity_id.type, "text"),
        )

    @property
    def _alias(self) -> str:
        return "t" if self.layout.activity == self.layout.identity else "s"

    @property
    def _source(self) -> str:
        layout = self.layout
        if self._alias == "t":
            return f"{layout.identity.sql} AS t"
        on = f"t.{quote(layout.identity_id.name)} = s.{quote(layout.id.name)}"
        return f"{layout.activity.sql} AS s JOIN {layout.identity.sql} AS t ON {on}"

    def _of(self, column: Column) -> str:
        return f"{self._alias}.{quote(column.name)}"

    def _has_status(self, made: Statement) -> str:
        """As the column's own type compares, so that an index on it serves."""
        return f"{self._of(self.layout.status)} = {made.value(self.criteria.status, 'text')}::{self.layout.status.type}"

    @property
    def _is_never(self) -> str:
        last = self._of(self.layout.last_activity)
        return f"({last} IS NULL OR {last} = '-infinity')"

    def _moment(self, column: Column, made: Statement, *, day_ends: bool = True) -> str:
        """When it was at the latest: by the end of a day, and in an hour that a clock shows twice, the second time."""
        stored = self._of(column)
        if column.type == "timestamp with time zone":
            return stored
        local = f"({stored}{' + 1' if day_ends else ''})::timestamp" if column.type == "date" else stored
        return f"({local} AT TIME ZONE {made.value(self.layout.fetch.timezone, 'text')})"

    def _since(self, made: Statement) -> str:
        """Since when somebody is inactive: their last activity; without one, when they joined, if that is known."""
        layout = self.layout
        moment = self._moment(layout.last_activity, made)
        if self.criteria.null_activity != "include":
            return moment
        joined = self._moment(layout.created, made) if layout.created is not None else "NULL"
        return f"CASE WHEN {self._is_never} THEN {joined} ELSE {moment} END"

    def _is_inactive(self, made: Statement) -> str:
        """Whether the days are over. What is stored is compared first, a day too generously: an index on it serves."""
        layout, cutoff = self.layout, self.as_of - timedelta(days=self.criteria.days_inactive)
        last = layout.last_activity
        over = f"{self._of(last)} > '-infinity' AND {self._is_before(last, cutoff, made)}"
        if self.criteria.null_activity != "include":
            return over
        never = self._is_never
        if layout.created is not None:
            never += f" AND {self._is_before(layout.created, cutoff, made)}"
        return f"{over} OR {never}"

    def _is_before(self, column: Column, cutoff: datetime, made: Statement) -> str:
        stored, at = self._of(column), made.value(cutoff, "timestamptz")
        if column.type == "timestamp with time zone":
            return f"{stored} < {at}"
        roughly = f"(({at} AT TIME ZONE {made.value(self.layout.fetch.timezone, 'text')}) + interval '1 day')"
        if column.type == "date":
            return f"{stored} <= {roughly}::date AND {self._moment(column, made)} <= {at}"
        return f"{stored} < {roughly} AND {self._moment(column, made)} < {at}"

    def _projects(self, made: Statement) -> tuple[str, str, str, str]:
        """What is read of a row, the count in another table, how that is joined, and whether the number fits."""
        if not self.criteria.bounds_projects:
            return "NULL", "", "", "true"
        projects = self.layout.fetch.projects
        assert projects is not None, "the layout was checked"
        if projects.column is not None:
            return f"{self._alias}.{quote(projects.column)}", "", "", self._bounds("a.in_projects", made)
        assert self.layout.projects is not None, "the layout was checked"
        counted = COUNTED.format(
            table=self.layout.projects.sql, by=quote(projects.by or ""), count=quote(projects.count or "")
        )
        joins = "LEFT JOIN counted AS c ON c.id = a.id"
        return "NULL", counted, joins, self._bounds("coalesce(c.projects, 0)", made)

    def _bounds(self, number: str, made: Statement) -> str:
        """Whether a number fits; one that is not known does not."""
        bounds = [f"{number} >= {made.value(self.criteria.min_projects, 'bigint')}"]
        if self.criteria.max_projects is not None:
            bounds.append(f"{number} <= {made.value(self.criteria.max_projects, 'bigint')}")
        return f"coalesce({' AND '.join(bounds)}, false)"
