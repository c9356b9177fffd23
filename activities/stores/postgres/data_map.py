"""PostgreSQL's table of the data map: which rows are deleted, and which columns of which rows are masked."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from activities.identities import IdentityKind
from activities.masking import Strategy
from activities.rules import StrictModel

_PART = r'(?:"((?:[^"]|"")+)"|([^".]+))'
_TABLE = re.compile(rf"{_PART}\.{_PART}")
_PATH = re.compile(rf"{_PART}(?:\.{_PART})*")


def table_name(place: str) -> tuple[str, str]:
    """Schema and name of a table as the data map writes it: literally, in double quotes where a name has a dot.

    Raises:
        ValueError: It is not written like that.
    """
    match = _TABLE.fullmatch(place)
    if match is None:
        raise ValueError('name schema and table, such as "public.contributors"; quote a name that has a dot')
    schema, plain_schema, table, plain_table = match.groups()
    return (plain_schema or schema.replace('""', '"')), (plain_table or table.replace('""', '"'))


def path_parts(name: str) -> tuple[str, ...]:
    """A column, or a path in a column of JSON, as the data map writes it: ``details.user.email``.

    A name that has a dot stands in double quotes. What is not written like that is one name, taken literally.
    """
    if not _PATH.fullmatch(name):
        return (name,)
    return tuple(plain or quoted.replace('""', '"') for quoted, plain in re.findall(_PART, name))


def written(*parts: str) -> str:
    """Names as the data map writes them: with dots between, in double quotes where a name has a dot or a quote."""
    return ".".join(f'"{part.replace(chr(34), chr(34) * 2)}"' if re.search(r'[".]', part) else part for part in parts)


def _one_spelling(place: str) -> str:
    """The same table is the same place, however it is quoted."""
    return written(*table_name(place))


TableName = Annotated[str, AfterValidator(_one_spelling)]


class Deletion(StrictModel):
    """Rows that are deleted.

    Args:
        table: Schema and table.
        by: The column that says whose row it is.
        holds: The kind of identity in that column.
    """

    table: TableName
    by: str = Field(min_length=1)
    holds: IdentityKind = IdentityKind.CONTRIBUTOR_ID


class Masking(Deletion):
    """Rows that are kept, with columns that are masked.

    Args:
        columns: The strategy of each column that is masked.
    """

    columns: dict[str, Strategy] = Field(min_length=1)

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        for column, strategy in self.columns.items():
            if strategy not in (Strategy.TOKEN, Strategy.CONSTANT, Strategy.NULL):
                raise ValueError(f'columns.{column}: "{strategy}" is not for columns; say token, constant or null')
        return self


class PostgresMap(StrictModel):
    """All of PostgreSQL: masks are written first, then rows are deleted in the order given, children first."""

    delete: tuple[Deletion, ...] = ()
    mask: tuple[Masking, ...] = ()

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if not self.delete and not self.mask:
            raise ValueError("names no table, neither in `delete` nor in `mask`")
        for entries in (self.delete, self.mask):
            seen: set[tuple[str, str, IdentityKind]] = set()
            for entry in entries:
                if (which := (entry.table, entry.by, entry.holds)) in seen:
                    raise ValueError(f"{entry.table} is named twice by {entry.by}")
                seen.add(which)
        strategies: dict[tuple[str, str], Strategy] = {}
        for entry in self.mask:
            for column, strategy in entry.columns.items():
                if strategies.setdefault((entry.table, column), strategy) is not strategy:
                    raise ValueError(f"{entry.table}.{column} is masked in two different ways")
        return self
