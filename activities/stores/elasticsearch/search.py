"""The query that finds every document that may have to change. It may find more; it must never find less.

How a field is searched depends on its mapping; `DocumentMask` then decides on each document's ``_source``:

    keyword          terms; for addresses the index is first asked for the spellings that it holds, unless a
                     normalizer has changed more of them than their case
    integer          terms
    text             terms on the analyzer's tokens, see `Tokens`
    anything else    every document that has the field, or every document at all

What a mapping ignored (too long, malformed, beyond the limit of fields) is named in ``_ignored`` and found there.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from elasticsearch import AsyncElasticsearch

from activities.contract import Heartbeat
from activities.identities import IdentityKind, IdentitySet
from activities.masking import Strategy
from activities.rules import FieldRule
from activities.stores.elasticsearch.catalogue import Index, MappedField

Query = dict[str, Any]

EVERYTHING: Query = {"match_all": {}}

SPELLINGS_PAGE = 20_000
"""Distinct values that one aggregation answers with; a cluster allows 65,536 buckets."""

ANALYZED_AT_ONCE = 500
"""Identities in one request for tokens; a cluster allows 10,000 tokens."""

INTEGERS = {
    "byte": range(-(2**7), 2**7),
    "short": range(-(2**15), 2**15),
    "integer": range(-(2**31), 2**31),
    "long": range(-(2**63), 2**63),
    "unsigned_long": range(2**64),
}


class How(Enum):
    """How documents are found by one field."""

    TERMS = "terms"
    TOKENS = "tokens"
    EXISTS = "every document that has the field"
    EVERYTHING = "every document of the index"


@dataclass(frozen=True)
class Approach:
    """How documents are found by one field of the data map.

    Args:
        how: The way.
        path: The field in the data map.
        field: The field that is searched: the data map's own, or its keyword flavour.
        rule: The data map's rule.
        mapped: The mapping of the data map's field.
    """

    how: How
    path: str
    field: str
    rule: FieldRule
    mapped: MappedField | None = None


def approaches(index: Index) -> list[Approach]:
    """How documents of an index are found; a field that no document of it can hold is left out."""
    found = (_approach(index, path, rule) for path, rule in index.rules.items() if rule.holds)
    return [approach for approach in found if approach is not None]


def _approach(index: Index, path: str, rule: FieldRule) -> Approach | None:
    mapped = index.fields.get(path)
    if mapped is None:
        return Approach(How.EVERYTHING, path, path, rule) if index.fields.may_hide(path) else None
    how, flavour = _how(index, mapped, rule)
    return Approach(how, path, flavour, rule, mapped)


def _how(index: Index, mapped: MappedField, rule: FieldRule) -> tuple[How, str]:
    path, spec = mapped.path, mapped.spec
    if path in index.fields.computed:
        return How.EVERYTHING, path
    indexed, doc_values = spec.get("index", True) is not False, spec.get("doc_values", True) is not False
    if mapped.type in ("keyword", "wildcard"):
        tells = doc_values and index.is_plain(spec.get("normalizer"))
        if rule.mask is Strategy.TEXT or (IdentityKind.EMAIL in rule.holds and not tells):
            return (How.EXISTS if indexed or doc_values else How.EVERYTHING), path
        return (How.TERMS if indexed or doc_values else How.EVERYTHING), path
    if mapped.type in INTEGERS and rule.mask is not Strategy.TEXT and (indexed or doc_values):
        return How.TERMS, path
    if mapped.type not in ("text", "match_only_text"):
        return How.EVERYTHING, path
    if rule.mask is not Strategy.TEXT:
        for name, flavour in spec.get("fields", {}).items():
            searched = {flavour.get("index"), flavour.get("doc_values")} <= {None, True}
            if flavour["type"] == "keyword" and searched and index.is_plain(flavour.get("normalizer")):
                return How.TERMS, f"{path}.{name}"
    if not indexed:
        return How.EVERYTHING, path
    standard = spec.get("analyzer", "standard") == "standard" and index.standard_analyzer
    return (How.TOKENS if standard else How.EXISTS), path


APOSTROPHES = "'‘’＇"
JOINERS = (
    ":·\u0387\u055f\u05f4\u2027\ufe13\ufe55\uff1a\u2024\ufe52\uff0e"  # between letters
    '"'  # between Hebrew letters
    "\u037e\u0589\u060c\u060d\u066c\u07f8\u2044\ufe10\ufe14\ufe50\ufe54\uff0c\uff1b"  # between digits
    "\u203f\u2040\u2054\ufe33\ufe34\ufe4d\ufe4e\ufe4f\uff3f"  # between both
    "\u00ad\u200c\u200d\u200e\u200f\u2060\ufeff"  # anywhere, invisible
)
"""What the standard analyzer leaves inside a token (UAX #29), although `IdentityFinder` sees an identity end there.

Comma and semicolon, between digits, are the third kind."""

_APOSTROPHE = f".*[{APOSTROPHES}].*"
_COMMA = ".*[,;].*"
_UNCOMMON = "|".join(
    [
        ".*[" + JOINERS.replace('"', '\\"') + "].*",
        f".*[{APOSTROPHES}].*[0-9.].*",
        f".*[0-9.].*[{APOSTROPHES}].*",
    ]
)


@dataclass
class Tokens:
    """The standard analyzer's tokens of identities, as a text holds them.

    An identity in a text is a row of tokens, but the first and the last may have grown together with what is before
    and after: ``mail:bob@x.io's`` is ``mail:bob`` and ``x.io's``. So a text that holds an identity has its first and
    its last token, or tokens grown together. Most of these are rare, and every text with one is looked at. Two kinds
    are common (``don't``, ``1,000``): they count where the identity's other end is in the text, or is of such a kind
    too. Whether the tokens belong together is left to `DocumentMask`.

    Args:
        first: First tokens.
        last: Last tokens.
        wordless: Whether an identity has no token at all.
        lettered: Whether one could be hidden by ``don't`` alone: its ends are letters only.
        numbered: Whether one could be hidden by ``1,000`` alone: its ends are digits.
    """

    first: set[str] = field(default_factory=set)
    last: set[str] = field(default_factory=set)
    wordless: bool = False
    lettered: bool = False
    numbered: bool = False

    def add(self, row: Sequence[str]) -> None:
        """Adds the tokens of one identity."""
        if not row:
            self.wordless = True
            return
        first, last = row[0], row[-1]
        self.first.add(first)
        self.last.add(last)
        self.lettered |= not any(letter in "0123456789." for letter in first + last)
        ends = first[0].isdigit(), last[-1].isdigit()
        self.numbered |= any(ends) if len(row) == 1 else all(ends)

    def query(self, name: str, max_terms: int) -> Query:
        """Finds the documents whose field may hold one of the identities inside its text."""
        first = _terms(name, sorted(self.first), max_terms)
        last = _terms(name, sorted(self.last), max_terms)
        apostrophe, comma = _regexp(name, _APOSTROPHE), _regexp(name, _COMMA)
        clauses = [
            _all([first, last]),
            _all([_any([first, last]), _any([apostrophe, comma])]),
            _all([apostrophe, comma]),
            _regexp(name, _UNCOMMON),
        ]
        if self.lettered:
            clauses.append(apostrophe)
        if self.numbered:
            clauses.append(comma)
        return _any(clauses)


class Search:
    """Builds the queries of one slice.

    Args:
        client: The client.
        identities: Whom to find.
        heartbeat: Told of each request.
    """

    def __init__(self, client: AsyncElasticsearch, identities: IdentitySet, heartbeat: Heartbeat) -> None:
        self._client = client
        self._identities = identities
        self._heartbeat = heartbeat
        self._tokens: dict[Collection[IdentityKind], Tokens] = {}

    async def query(self, index: Index) -> Query | None:
        """The query for one index, or None where it can hold no identity of the slice."""
        clauses: list[Query] = []
        ignored: set[str] = {path for path, rule in index.rules.items() if rule.holds}
        for approach in approaches(index):
            kinds = approach.rule.holds
            if not self._identities.spellings(kinds):
                continue
            ignored.add(approach.field)
            if approach.how is How.TERMS:
                values = set(self._identities.spellings(kinds))
                if IdentityKind.EMAIL in kinds:
                    values |= await self._stored_spellings(index, approach)
                clauses += [clause(approach, sorted(values), index.max_terms)]
            elif approach.how is How.TOKENS:
                clauses += [clause(approach, await self._analyzed(kinds), index.max_terms)]
            else:
                clauses += [clause(approach, (), index.max_terms)]
        if not any(self._identities.spellings(rule.holds) for rule in index.rules.values()):
            return None
        return _any([*clauses, {"terms": {"_ignored": sorted(ignored)}}])

    async def _stored_spellings(self, index: Index, approach: Approach) -> set[str]:
        """The spellings of the slice's identities that a field holds: ``Bob@X.io`` where ``bob@x.io`` is known.

        One walk over the field's distinct values, which costs the same for one identity and for all.
        """
        spellings: set[str] = set()
        async with aclosing(distinct(self._client, index.name, approach)) as pages:
            async for held in pages:
                spellings.update(value for value in held if self._identities.holds(value, approach.rule.holds))
                self._heartbeat(index.name, 0)
        return spellings

    async def _analyzed(self, kinds: Collection[IdentityKind]) -> Tokens:
        if kinds not in self._tokens:
            tokens = self._tokens[kinds] = Tokens()
            end = secrets.token_hex(12)  # stands between two identities, and is a token by itself
            for some in _chunks(self._identities.spellings(kinds), ANALYZED_AT_ONCE):
                answer = await self._client.indices.analyze(
                    analyzer="standard", text=[part for value in some for part in (value, end)]
                )
                row: list[str] = []
                for token in answer["tokens"]:
                    if token["token"] == end:
                        tokens.add(row)
                        row = []
                    else:
                        row.append(token["token"])
        return self._tokens[kinds]


async def distinct(client: AsyncElasticsearch, index: str, approach: Approach) -> AsyncGenerator[list[str]]:
    """Yields the distinct values of a field that are kept beside the documents, in pages.

    Args:
        client: The client.
        index: The index.
        approach: The field.
    """
    composite: dict[str, Any] = {
        "size": SPELLINGS_PAGE,
        "sources": [{"value": {"terms": {"field": approach.field}}}],
    }
    nested = approach.mapped.nested if approach.mapped else None
    values: Query = {"values": {"composite": composite}}
    aggregations = {"inside": {"nested": {"path": nested}, "aggs": values}} if nested else values
    while True:
        answer = await client.search(index=index, size=0, allow_partial_search_results=False, aggs=aggregations)
        found = answer["aggregations"]["inside"]["values"] if nested else answer["aggregations"]["values"]
        yield [str(bucket["key"]["value"]) for bucket in found["buckets"]]
        if "after_key" not in found:
            return
        composite["after"] = found["after_key"]


def carriers(identities: IdentitySet, max_terms: int) -> Query:
    """Finds the documents that are named or routed by an identity; any document may have a plain number, these are not.

    Args:
        identities: Whom to find.
        max_terms: How many values one ``terms`` query may have.
    """
    values = [value for value in identities.spellings(tuple(IdentityKind)) if not value.isdecimal()]
    return _any([{"ids": {"values": values}}, _terms("_routing", values, max_terms)])


def trial(index: Index) -> Query:
    """A query of the very shape that an erasure uses; it finds next to nothing, but the index has to accept it."""
    tokens = Tokens({"0"}, {"0"})
    return _any(
        [
            *(
                clause(approach, tokens if approach.how is How.TOKENS else ["0"], index.max_terms)
                for approach in approaches(index)
            ),
            {"terms": {"_ignored": ["0"]}},
        ]
    )


def clause(approach: Approach, values: Sequence[str] | Tokens, max_terms: int) -> Query:
    """The query for one field."""
    name = approach.field
    if approach.how is How.EVERYTHING:
        return EVERYTHING
    if isinstance(values, Tokens) and not values.wordless:
        query = values.query(name, max_terms)
    elif isinstance(values, Tokens) or approach.how is How.EXISTS:
        query = {"exists": {"field": name}}
    else:
        mapped = approach.mapped
        numbers = INTEGERS.get(mapped.type) if mapped else None
        query = _terms(name, values if numbers is None else _numbers(values, numbers), max_terms)
    nested = approach.mapped.nested if approach.mapped else None
    return {"nested": {"path": nested, "query": query}} if nested else query


def _numbers(values: Iterable[str], numbers: range) -> list[str]:
    """The values that an integer field could hold; it refuses a query with any other."""
    return [value for value in values if value.lstrip("-").isdecimal() and value.isascii() and int(value) in numbers]


def _terms(name: str, values: Sequence[str], max_terms: int) -> Query:
    return _any([{"terms": {name: some}} for some in _chunks(values, max_terms)])


def _regexp(name: str, pattern: str) -> Query:
    return {"regexp": {name: {"value": pattern, "flags": "NONE"}}}


def _any(queries: Sequence[Query]) -> Query:
    if EVERYTHING in queries:
        return EVERYTHING
    if not queries:
        return {"match_none": {}}
    return queries[0] if len(queries) == 1 else {"bool": {"should": queries, "minimum_should_match": 1}}


def _all(queries: Sequence[Query]) -> Query:
    return {"bool": {"filter": queries}}


def _chunks(values: Sequence[str], size: int) -> Iterable[list[str]]:
    return (list(values[start : start + size]) for start in range(0, len(values), size))
