"""The data map's table ``[fetch]``: where it stands who is inactive, and since when."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from activities.rules import StrictModel
from activities.stores.postgres.data_map import TableName

Column = Annotated[str, Field(min_length=1)]


class Projects(StrictModel):
    """How many projects somebody worked in: a column of the table, or distinct values in another table.

    Args:
        column: The column.
        table: The other table.
        by: Its column with the contributor's id.
        count: Its column whose distinct values count.
    """

    column: Column | None = None
    table: TableName | None = None
    by: Column | None = None
    count: Column | None = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        elsewhere = [self.table, self.by, self.count]
        if (self.column is None) == (None in elsewhere) or (self.column is not None and any(elsewhere)):
            raise ValueError(
                "name a column of the table, or count in another one: "
                '{ table = "public.job_mappings", by = "contributor_id", count = "job_id" }'
            )
        return self


def _short_form(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


class FetchMap(StrictModel):
    """Where it stands who is inactive.

    Args:
        table: Schema and table, a row a contributor; that of ``[identity]`` unless said.
        id: Its column with the contributor's id; that of ``[identity]`` unless said.
        status: The column that ``--status`` is compared with.
        last_activity: When they were last active: a timestamp with or without time zone, or a date.
        created: When they joined; says since when somebody is inactive who never was active.
        projects: How many projects they worked in; needed by ``--min-projects`` and ``--max-projects`` only.
        timezone: Whose clock shows times that are stored without one, by its IANA name.
    """

    table: TableName | None = None
    id: Column | None = None
    status: Column
    last_activity: Column
    created: Column | None = None
    projects: Annotated[Projects, BeforeValidator(_short_form)] | None = None
    timezone: Column = "UTC"
