"""The tables of tombstones in PostgreSQL, and the function that importers ask; all in the schema ``erasure``.

erasure.tombstones       who was erased: one row a batch and mark, no identity
erasure.tombstone_keys   which keys made them, by name: a wrong key is refused, not answered with `false`
erasure.is_suppressed    whether an identity was erased; whoever asks has to bring the key
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from activities.identities import BLANKS, IdentityKind

if TYPE_CHECKING:
    from activities.stores.postgres.connection import Connection

TABLES = """
    CREATE SCHEMA IF NOT EXISTS erasure;
    CREATE TABLE IF NOT EXISTS erasure.tombstones (
        hmac bytea NOT NULL,
        batch_id text NOT NULL,
        kind text NOT NULL,
        person bytea NOT NULL,
        erased_at timestamptz NOT NULL,
        reregistered text NOT NULL,
        PRIMARY KEY (hmac, batch_id)
    );
    CREATE INDEX IF NOT EXISTS tombstones_batch_id ON erasure.tombstones (batch_id);
    CREATE TABLE IF NOT EXISTS erasure.tombstone_keys (name bytea PRIMARY KEY);
"""

FUNCTIONS = """
    CREATE OR REPLACE FUNCTION erasure.tombstone(key bytea, message bytea) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
        SELECT substring(
            sha256(substring(key FROM 65) || sha256(substring(key FROM 1 FOR 64) || message)) FROM 1 FOR 16)
    $$;
    CREATE OR REPLACE FUNCTION erasure.is_suppressed(key bytea, kind text, value text) RETURNS boolean
    LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        form text := CASE kind WHEN 'email' THEN lower(btrim(value, {blanks}) COLLATE {collation}) ELSE value END;
        mark bytea := erasure.tombstone(
            key, convert_to(kind, 'UTF8') || '\\x00'::bytea || convert_to(form, 'UTF8'));
    BEGIN
        IF kind IS NULL OR kind NOT IN ({kinds}) THEN
            RAISE EXCEPTION 'the kind of an identity is one of %', $kinds${kinds}$kinds$;
        END IF;
        IF NOT EXISTS (SELECT FROM erasure.tombstone_keys AS k
                       WHERE k.name = erasure.tombstone(key, convert_to('key', 'UTF8'))) THEN
            RAISE EXCEPTION 'this is not the key of the tombstones: get it by `python -m starter keys suppression`';
        END IF;
        RETURN EXISTS (SELECT FROM erasure.tombstones AS t WHERE t.hmac = mark);
    END
    $$;
    REVOKE ALL ON FUNCTION erasure.is_suppressed(bytea, text, text) FROM PUBLIC;
"""
"""The owner's rights reach the tables, so that who may call it needs no right to read them."""

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('contributor-erasure schema', 0))"

IS_MADE = """
    SELECT to_regclass('erasure.tombstones') IS NOT NULL AND to_regclass('erasure.tombstone_keys') IS NOT NULL
       AND to_regprocedure('erasure.is_suppressed(bytea, text, text)') IS NOT NULL
"""

COLLATION = """
    SELECT EXISTS (SELECT FROM pg_collation WHERE collname = 'pg_c_utf8' AND collnamespace = 'pg_catalog'::regnamespace
                   AND collencoding = (SELECT encoding FROM pg_database WHERE datname = current_database()))
"""
"""Whether the server has Unicode's simple lower case whatever the database's locale is: from PostgreSQL 17 on."""

ADD_KEY = "INSERT INTO erasure.tombstone_keys (name) VALUES ($1) ON CONFLICT DO NOTHING"


async def make(connection: Connection, key_name: bytes) -> None:
    """Makes what is missing; needs the right to create only where something is.

    Args:
        connection: In a transaction.
        key_name: Of the key in use.
    """
    if not await connection.fetchval(IS_MADE):
        await connection.execute(LOCK)  # two that make it at once would be in each other's way
        await connection.execute(TABLES)
        collation = '"pg_c_utf8"' if await connection.fetchval(COLLATION) else '"default"'
        kinds = ", ".join(f"'{kind}'" for kind in IdentityKind)
        blanks = "E'" + BLANKS.encode("unicode_escape").decode() + "'"
        functions = FUNCTIONS
        for name, text in (("{collation}", collation), ("{kinds}", kinds), ("{blanks}", blanks)):
            functions = functions.replace(name, text)
        await connection.execute(functions)
    await connection.execute(ADD_KEY, key_name)
