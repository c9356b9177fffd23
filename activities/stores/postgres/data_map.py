"""PostgreSQL's table of the data map: which rows are deleted, and which columns of which rows are masked."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from activities.identities import IdentityKind
from activities.masking import Strategy
from activities.rules import StrictModel, as_list

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
        by: The column that says whose row it is; or an array, or a path in JSON, that holds whose it is among others.
        holds: The kind of identity in that column.
    """

    table: TableName
    by: str = Field(min_length=1)
    holds: IdentityKind = IdentityKind.CONTRIBUTOR_ID


class ColumnRule(StrictModel):
    """How a column is masked.

    Args:
        mask: The strategy. A token of a whole number is a number: the type decides, not the data map.
        holds: The kinds of identity to look for in a text; otherwise those by which the rows are found.
    """

    mask: Strategy = Strategy.TOKEN
    holds: Annotated[tuple[IdentityKind, ...], BeforeValidator(as_list)] = ()


def _short_form(value: Any) -> Any:
    return {"mask": value} if isinstance(value, str) else value


class Masking(Deletion):
    """Rows that are kept, with columns that are masked.

    Args:
        columns: The rule of each column, or path in a column of JSON, or just its strategy.
    """

    columns: dict[str, Annotated[ColumnRule, BeforeValidator(_short_form)]] = Field(min_length=1)

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        for column, rule in self.columns.items():
            if rule.mask is Strategy.TEXT and not rule.holds:
                raise ValueError(
                    f'columns.{column}: "text" alone is not for columns; say what to look for,'
                    ' as in { mask = "text", holds = ["email"] }'
                )
            if rule.mask is Strategy.REMOVE and len(path_parts(column)) == 1 and column != self.by:
                raise ValueError(
                    f'columns.{column}: "remove" is not for columns; it is for paths in JSON, and for the elements of'
                    " an array by which rows are found. Say token, constant or null"
                )
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
        rules: dict[tuple[str, str], ColumnRule] = {}
        for entry in self.mask:
            for column, rule in entry.columns.items():
                if rules.setdefault((entry.table, column), rule) != rule:
                    raise ValueError(f"{entry.table}.{column} is masked in two different ways")
        return self
