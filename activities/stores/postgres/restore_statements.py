"""The SQL of a rollback. Every statement is about all of a slice's rows in one table; none about one row.

    erasure_taken        rows that an erasure of the slice wrote
    erasure_saved        the pre-images: content, and content as it is once masked; each column as text
    erasure_return       one row a row of the slice: how it was, how it is, and what becomes of it
    erasure_return_<n>   the rows of table <n> as they shall be, in the table's own types

A row's `state` is at first ``insert`` or ``unmask``: to be written; then ``restored``, ``intact`` or ``conflicted``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from activities.masking import CONSTANT
from activities.stores.postgres.catalogue import ForeignKey, Table, UniqueIndex, quote

RETURNING = """
    CREATE TEMPORARY TABLE erasure_saved
        (target int, id text[], at bigint, deletes boolean, undone boolean, content text[], masked text[])
        ON COMMIT DROP;
    CREATE TEMPORARY TABLE erasure_taken (target int, id text[]) ON COMMIT DROP;
    CREATE TEMPORARY TABLE erasure_return (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, target int, id text[], at bigint, deletes boolean,
        content text[], masked text[], taken boolean, found text[], found_table oid, found_row tid, ours boolean,
        put boolean[], wanted text[], partly boolean, altered boolean NOT NULL DEFAULT false, state text)
        ON COMMIT DROP;
    SET CONSTRAINTS ALL DEFERRED;  -- those that may be: tables that refer to each other
"""

COMMITTED = """
    SELECT x FROM unnest($1::text[]) AS x
    WHERE CASE WHEN x::xid8 < pg_snapshot_xmax(pg_current_snapshot())
               THEN pg_xact_status(x::xid8) IS DISTINCT FROM 'aborted' ELSE true END
"""
"""Of some transactions those that may have committed: who is too old, or of a server before this one, counts too."""

LATEST = """
    INSERT INTO pg_temp.erasure_return (target, id, at, deletes, content, masked, taken)
    SELECT DISTINCT ON (target, id) target, id, at, deletes, content, masked,
           (target, id) IN (SELECT target, id FROM pg_temp.erasure_taken)
    FROM pg_temp.erasure_saved
    WHERE NOT undone OR (target, id) IN (SELECT target, id FROM pg_temp.erasure_taken)
    ORDER BY target, id, at DESC
"""
"""The latest pre-image of a row is what was overwritten last: what others wrote before that is in it.

A row that only an erasure saw that was undone may have been there in that transaction alone.
"""

UNMASK_LATEST = """
    WITH older AS (
        SELECT DISTINCT ON (r.number, u.position) r.number, u.position, u.old
        FROM pg_temp.erasure_return AS r
        JOIN pg_temp.erasure_saved AS e ON e.target = r.target AND e.id = r.id AND e.at < r.at
        CROSS JOIN LATERAL unnest(e.content, e.masked, r.content)
            WITH ORDINALITY AS u (old, masked, latest, position)
        WHERE u.old IS DISTINCT FROM u.masked
          AND (u.masked = u.latest OR u.masked IS NULL AND u.latest IS NULL AND EXISTS (
              SELECT FROM unnest(e.content, e.masked, r.content) AS w (old, masked, latest)
              WHERE w.old IS DISTINCT FROM w.masked AND w.masked = w.latest))
        ORDER BY r.number, u.position, e.at DESC
    ), whole AS (
        SELECT r.number,
               array_agg(CASE WHEN o.number IS NULL THEN u.value ELSE o.old END ORDER BY u.position) AS content
        FROM pg_temp.erasure_return AS r
        CROSS JOIN LATERAL unnest(r.content) WITH ORDINALITY AS u (value, position)
        LEFT JOIN older AS o ON o.number = r.number AND o.position = u.position
        WHERE r.number IN (SELECT number FROM older)
        GROUP BY r.number
    )
    UPDATE pg_temp.erasure_return AS r SET content = w.content FROM whole AS w WHERE w.number = r.number
"""
"""Where the latest pre-image holds our own mask, since the row was erased twice, an older one has the value.

Null tells nobody's hand: it counts as ours where another mask of the same writing stands beside it.
"""

ANALYZE = "ANALYZE pg_temp.erasure_return"
"""After every change of `state`: a planner that takes thousands of rows for one would loop over them."""

_TOLD = f"c.masked NOT IN ('{CONSTANT}', '{{}}')"
"""What nobody but us writes: a token, or what holds one."""

CLASSIFY = f"""
    WITH judged AS (
        SELECT r.number, c.*, r.taken AND c.due AND c.now IS NOT DISTINCT FROM c.masked AND (
                   r.ours OR {_TOLD} OR bool_or(c.due AND c.now = c.masked AND {_TOLD}) OVER (PARTITION BY r.number)
               ) AS mine
        FROM pg_temp.erasure_return AS r
        CROSS JOIN LATERAL (
            SELECT *, old IS DISTINCT FROM masked AS due
            FROM unnest(r.content, r.masked, r.found) WITH ORDINALITY AS u (old, masked, now, position)) AS c
        WHERE r.target = $1 AND r.found IS NOT NULL AND NOT r.deletes
    ), looked AS (
        SELECT number, array_agg(mine IS TRUE ORDER BY position) AS put,
               bool_or(due AND mine IS NOT TRUE AND now IS DISTINCT FROM old) AS partly,
               array_agg(CASE WHEN mine THEN old ELSE now END ORDER BY position) AS wanted
        FROM judged GROUP BY number
    )
    UPDATE pg_temp.erasure_return AS r
    SET put = l.put, partly = l.partly, wanted = l.wanted,
        state = CASE WHEN true = ANY (l.put) THEN 'unmask' WHEN l.partly THEN 'conflicted' ELSE 'intact' END
    FROM looked AS l WHERE l.number = r.number
"""
"""A masked row, column by column: one that holds our mask is put back, one that others changed is theirs.

Nobody else writes a token. A constant or a null may be anybody's: it is ours in a row that nobody wrote since, or that
still holds a token of the same writing.
"""

CLASSIFY_DELETED = """
    UPDATE pg_temp.erasure_return
    SET wanted = content,
        state = CASE WHEN found = content THEN 'intact' WHEN found IS NULL AND deletes AND taken THEN 'insert'
                     ELSE 'conflicted' END
    WHERE target = $1 AND state IS NULL
"""
"""A row that is gone was deleted by others, and stays so, unless an erasure took it."""

SETTLE_INSERTED = """
    UPDATE pg_temp.erasure_return SET state = 'conflicted' WHERE target = $1 AND state = 'insert'
"""
"""What ON CONFLICT passed over, or a trigger kept out."""

COUNT = """
    SELECT target, count(*) AS found, count(*) FILTER (WHERE state = 'restored' AND partly IS NOT TRUE) AS restored,
           count(*) FILTER (WHERE state = 'intact') AS intact,
           count(*) FILTER (WHERE state = 'conflicted' OR state = 'restored' AND partly) AS conflicted,
           count(*) FILTER (WHERE altered) AS altered
    FROM pg_temp.erasure_return GROUP BY target
"""


@dataclass(frozen=True)
class Return:
    """A table with pre-images.

    Args:
        number: Tells it from the others.
        table: From the catalogue.
        columns: Those that the pre-images hold, in their order.
        masked: Those of them that the erasure masks in some row.
        deletes: Whether it deletes some row.
    """

    number: int
    table: Table
    columns: tuple[str, ...]
    masked: frozenset[str]
    deletes: bool

    @property
    def rows(self) -> str:
        """The temporary table of the rows as they shall be, quoted."""
        return f"pg_temp.erasure_return_{self.number}"

    def _content(self, alias: str) -> str:
        return f"ARRAY[{', '.join(f'{alias}.{quote(name)}::text' for name in self.columns)}]::text[]"

    def _is(self, array: str) -> str:
        """Joins row ``t`` by its key with a text array of the content."""
        return " AND ".join(
            f"t.{quote(name)} = ({array}[{self.columns.index(name) + 1}])::{self.table.columns[name].type}"
            for name in self.table.key
        )

    def find(self, array: str) -> str:
        """Looks at the rows as they are now, and locks them: by their key as it was masked, or as it was.

        Takes the batch's own transactions, as rows name who wrote them.
        """
        keys = ", ".join(f"t.{quote(name)}" for name in self.table.key)
        return f"""
            WITH locked AS (
                SELECT r.number, t.tableoid AS found_table, t.ctid AS found_row, {self._content("t")} AS found,
                       t.xmin::text = ANY ($1::text[]) AS ours
                FROM pg_temp.erasure_return AS r JOIN {self.table.sql} AS t ON {self._is(f"r.{array}")}
                WHERE r.target = {self.number} AND r.found IS NULL
                ORDER BY {keys} FOR UPDATE OF t)
            UPDATE pg_temp.erasure_return AS r
            SET found = l.found, found_table = l.found_table, found_row = l.found_row, ours = l.ours
            FROM locked AS l WHERE l.number = r.number
        """

    def lock_table(self) -> str:
        """Without a key nothing else keeps two rollbacks from putting the same row back twice."""
        return f"LOCK TABLE {self.table.sql} IN SHARE ROW EXCLUSIVE MODE"

    def find_alike(self, state: str) -> str:
        """Without a key, rows of the same content are counted: so many of the pre-images are there.

        Args:
            state: What becomes of those pre-images; the others keep theirs.
        """
        return f"""
            WITH present AS (
                SELECT {self._content("t")} AS content, count(*) AS rows FROM {self.table.sql} AS t
                WHERE {self._content("t")} IN
                      (SELECT content FROM pg_temp.erasure_return WHERE target = {self.number})
                GROUP BY 1
            ), counted AS (
                SELECT number, content, row_number() OVER (
                           PARTITION BY content ORDER BY state IS NOT DISTINCT FROM 'insert', taken DESC, id) AS nth
                FROM pg_temp.erasure_return
                WHERE target = {self.number} AND state IS DISTINCT FROM 'conflicted'
            )
            UPDATE pg_temp.erasure_return AS r SET state = '{state}'
            FROM counted AS c JOIN present AS p ON p.content = c.content
            WHERE r.number = c.number AND c.nth <= p.rows AND r.state IS DISTINCT FROM 'intact'
        """

    def stage(self) -> tuple[str, str]:
        """Makes the rows as they shall be; generated columns are computed as in the table itself."""
        names = ", ".join(map(quote, self.columns))
        values = ", ".join(
            f"(wanted[{position}])::{self.table.columns[name].type}"
            for position, name in enumerate(self.columns, start=1)
        )
        return (
            f"CREATE TEMPORARY TABLE erasure_return_{self.number} "
            f"(LIKE {self.table.sql} INCLUDING DEFAULTS INCLUDING GENERATED, erasure_number bigint PRIMARY KEY) "
            "ON COMMIT DROP",
            f"""
            INSERT INTO {self.rows} ({names}, erasure_number)
            SELECT {values}, number FROM pg_temp.erasure_return
            WHERE target = {self.number} AND state IN ('insert', 'unmask')
            """,
        )

    def refuse_taken(self, index: UniqueIndex) -> str:
        """Leaves rows out whose place in a unique index another row has taken since."""
        parts = ", ".join(f"{expression} AS e{number}" for number, expression in enumerate(index.expressions))
        same = "IS NOT DISTINCT FROM" if index.nulls_equal else "="
        equal = " AND ".join(f"t.e{number} {same} n.e{number}" for number in range(len(index.expressions)))
        where = f"WHERE {index.predicate}" if index.predicate else ""
        return f"""
            UPDATE pg_temp.erasure_return AS r SET state = 'conflicted'
            FROM (SELECT erasure_number, {parts} FROM {self.rows} {where}) AS n,
                 (SELECT tableoid AS other_table, ctid AS other_row, {parts} FROM {self.table.sql} {where}) AS t
            WHERE r.number = n.erasure_number AND r.state IN ('insert', 'unmask') AND {equal}
              AND (r.found_row IS NULL OR (t.other_table, t.other_row) <> (r.found_table, r.found_row))
        """

    def refuse_orphans(self, key: ForeignKey, parent: Return | None) -> str:
        """Leaves rows out that refer to a row which others have removed since.

        Args:
            key: A foreign key of this table.
            parent: The table that it refers to, where rows of it are put back too.
        """

        def on(alias: str) -> str:
            return " AND ".join(
                f"{alias}.{quote(theirs)} = n.{quote(mine)}"
                for mine, theirs in zip(key.columns, key.parent_columns, strict=True)
            )

        coming = ""
        if parent is not None:
            coming = f"""AND NOT EXISTS (
                SELECT FROM {parent.rows} AS c JOIN pg_temp.erasure_return AS p ON p.number = c.erasure_number
                WHERE p.state = 'insert' AND {on("c")})"""
        filled = " AND ".join(f"n.{quote(name)} IS NOT NULL" for name in key.columns)
        return f"""
            UPDATE pg_temp.erasure_return AS r SET state = 'conflicted'
            FROM {self.rows} AS n
            WHERE r.number = n.erasure_number AND r.state IN ('insert', 'unmask') AND {filled}
              AND NOT EXISTS (SELECT FROM {key.parent_sql} AS c WHERE {on("c")}) {coming}
        """

    def insert(self) -> str:
        """Inserts the deleted rows; a row that others made meanwhile is passed over."""
        names = ", ".join(map(quote, self.columns))
        key = ", ".join(f"{quote(name)}::text" for name in self.table.key)
        put = f"""
            INSERT INTO {self.table.sql} ({names}) OVERRIDING SYSTEM VALUE
            SELECT {", ".join(f"n.{quote(name)}" for name in self.columns)}
            FROM {self.rows} AS n JOIN pg_temp.erasure_return AS r ON r.number = n.erasure_number
            WHERE r.state = 'insert' ORDER BY r.number
            ON CONFLICT DO NOTHING
        """
        if not self.table.key:
            return put
        return f"""
            WITH put AS ({put} RETURNING ARRAY[{key}]::text[] AS id)
            UPDATE pg_temp.erasure_return AS r SET state = 'restored'
            FROM put WHERE r.target = {self.number} AND r.state = 'insert' AND r.id = put.id
        """

    def unmask(self) -> str:
        """Puts the old values back into the masked columns; the others are not ours."""
        changes = ", ".join(
            f"{quote(name)} = CASE WHEN r.put[{position}] THEN n.{quote(name)} ELSE t.{quote(name)} END"
            for position, name in enumerate(self.columns, start=1)
            if name in self.masked
        )
        return f"""
            UPDATE {self.table.sql} AS t SET {changes}
            FROM {self.rows} AS n JOIN pg_temp.erasure_return AS r ON r.number = n.erasure_number
            WHERE r.target = {self.number} AND r.state = 'unmask' AND {self._is("r.found")}
        """

    def settle_unmasked(self) -> str:
        """Says of each unmasked row whether it was put back, and whether something else changed along with it."""
        return f"""
            WITH now AS (
                SELECT r.number, {self._content("t")} AS content
                FROM pg_temp.erasure_return AS r JOIN {self.table.sql} AS t ON {self._is("r.wanted")}
                WHERE r.target = {self.number} AND r.state = 'unmask'
            ), judged AS (
                SELECT r.number, n.content IS DISTINCT FROM r.wanted AS altered, n.content IS NOT NULL AND NOT EXISTS (
                    SELECT FROM unnest(n.content, r.wanted, r.put) AS u (now, wanted, put)
                    WHERE u.put AND u.now IS DISTINCT FROM u.wanted) AS done
                FROM pg_temp.erasure_return AS r LEFT JOIN now AS n ON n.number = r.number
                WHERE r.target = {self.number} AND r.state = 'unmask'
            )
            UPDATE pg_temp.erasure_return AS r
            SET altered = j.altered, state = CASE WHEN j.done THEN 'restored' ELSE 'conflicted' END
            FROM judged AS j WHERE j.number = r.number
        """

    def find_altered(self) -> str:
        """Marks the inserted rows that are not as they shall be: a trigger changed them."""
        return f"""
            UPDATE pg_temp.erasure_return AS r SET altered = {self._content("t")} <> r.wanted
            FROM {self.table.sql} AS t
            WHERE r.target = {self.number} AND r.deletes AND r.state = 'restored' AND {self._is("r.wanted")}
        """

    def correct(self) -> str | None:
        """Writes the inserted rows once more that a trigger changed; what the server numbers cannot be."""
        changes = ", ".join(
            f"{quote(name)} = n.{quote(name)}"
            for name in self.columns
            if name not in self.table.key and not self.table.columns[name].numbered
        )
        if not changes:
            return None
        return f"""
            UPDATE {self.table.sql} AS t SET {changes}
            FROM {self.rows} AS n JOIN pg_temp.erasure_return AS r ON r.number = n.erasure_number
            WHERE r.target = {self.number} AND r.deletes AND r.altered AND {self._is("r.wanted")}
        """


def parents_first(tables: Sequence[Table], foreign_keys: Collection[ForeignKey]) -> list[Table]:
    """Tables in the order in which rows can be put back into them; a circle is broken somewhere."""
    by_oid = {table.oid: table for table in tables}
    ordered: dict[int, Table] = {}
    entered: set[int] = set()

    def visit(oid: int) -> None:
        if oid in by_oid and oid not in entered:
            entered.add(oid)
            for key in foreign_keys:
                if key.child == oid:
                    visit(key.parent)
            ordered[oid] = by_oid[oid]

    for table in tables:
        visit(table.oid)
    return list(ordered.values())
