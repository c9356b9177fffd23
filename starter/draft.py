"""A first data map, as TOML: what each store suspects of itself, with the reason beside each entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from activities import toml_text
from activities.contract import Suspect
from activities.identity_table import Guess

HEAD = """\
# A draft of a data map, made from the stores' own catalogues: a question to you, not an answer.
# Read each entry, say what is to happen to it, and take out what holds nobody's data.
# Then: python -m starter map check
"""


@dataclass(frozen=True)
class Drafted:
    """What is known of one store.

    Args:
        suspects: What it suspects; all that it holds, since no data map names anything yet.
        failure: Why it could not be looked at; None where it was.
    """

    suspects: list[Suspect] = field(default_factory=list)
    failure: str | None = None


@dataclass
class _Entry:
    """One line of the draft, and why it is there."""

    value: Any
    why: list[str]


def compose(stores: Mapping[str, Drafted], guesses: Sequence[Guess]) -> str:
    """Writes the draft.

    Args:
        stores: Each store's suspects.
        guesses: Tables that may say who exists, the likeliest first.
    """
    named = [name for name, drafted in stores.items() if drafted.suspects]
    parts = [HEAD, _identity(guesses)]
    parts += [_store(name, drafted) for name, drafted in stores.items()]
    order = f"order = {toml_text.value(named)}          # say in which one: what is asked for identities last"
    critical = f"critical = {toml_text.value(named)}       # the others warn, and the batch goes on"
    parts.append("\n".join(["[policy]", order, critical]))
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _identity(guesses: Sequence[Guess]) -> str:
    """The identity table, or the question which one it is."""
    comments = [f"{guess.table.table}: {guess.why}" for guess in guesses]
    if not guesses or (len(guesses) > 1 and guesses[0].references == guesses[1].references):
        lines = [
            "Which table says who exists? Name it: without it no contributor's addresses and worker ids are known.",
            "[identity]",
            'table = "schema.table"',
            'id = "id"',
            'emails = ["email"]',
            'worker_ids = ["worker_id"]',
            *(f"It may be {each}" for each in comments),
        ]
        return toml_text.comment("\n".join(lines))
    table = guesses[0].table
    lines = [
        toml_text.comment(comments[0]),
        *(toml_text.comment(f"or {each}") for each in comments[1:]),
        "[identity]",
        f"table = {toml_text.value(table.table)}",
        f"id = {toml_text.value(table.id)}",
        f"emails = {toml_text.value(table.emails)}",
        f"worker_ids = {toml_text.value(table.worker_ids)}",
    ]
    return "\n".join(lines)


def _store(name: str, drafted: Drafted) -> str:
    if drafted.failure is not None:
        return toml_text.comment(f"{name} could not be looked at: {drafted.failure}")
    if not drafted.suspects:
        return toml_text.comment(f"{name}: nothing in it looks like an identity.")
    tables: dict[str, dict[str, _Entry]] = {}
    lists: dict[str, list[_Entry]] = {}
    plain: dict[str, _Entry] = {}
    for suspect in drafted.suspects:
        why = f"{suspect.place}: {suspect.why}"
        for key, held in suspect.entry.items():
            if isinstance(held, Mapping):
                for inner, rule in held.items():
                    _put(tables.setdefault(key, {}), inner, rule, why)
            elif isinstance(held, list):
                for item in held:
                    _add(lists.setdefault(key, []), item, why)
            else:
                _put(plain, key, held, why)
    unnamed = [
        f"{each.place}: {each.why}; say yourself how it is to be named" for each in drafted.suspects if not each.entry
    ]
    lines = [toml_text.comment(each) for each in unnamed]
    if plain or lists or not tables:
        lines += [f"[{toml_text.key(name)}]", *_lines(plain)]
    for key, entries in lists.items():
        lines.append(f"{toml_text.key(key)} = [")
        for entry in entries:
            lines += [f"    {line}" for line in toml_text.comment("\n".join(entry.why)).split("\n")]
            lines.append(f"    {toml_text.value(entry.value)},")
        lines.append("]")
    for key, rules in tables.items():
        lines += ["", f"[{toml_text.key(name, key)}]", *_lines(rules)]
    return "\n".join(lines).strip("\n")


def _lines(entries: Mapping[str, _Entry]) -> list[str]:
    return [
        line
        for key, entry in entries.items()
        for line in (toml_text.comment("\n".join(entry.why)), f"{toml_text.key(key)} = {toml_text.value(entry.value)}")
    ]


def _put(entries: dict[str, _Entry], key: str, value: Any, why: str) -> None:
    """A second suspicion of the same key is told beside the first."""
    known = entries.setdefault(key, _Entry(value, []))
    known.why.append(why if known.value == value else f"{why}; or {key} = {toml_text.value(value)}")


def _add(entries: list[_Entry], item: Any, why: str) -> None:
    """Items that differ in an inner table alone are one: columns of one table that hold the same identity."""
    for known in entries:
        if _outer(known.value) == _outer(item):
            if isinstance(item, Mapping):
                inner = {key: {**known.value[key], **held} for key, held in item.items() if isinstance(held, Mapping)}
                known.value = {**known.value, **inner}
            known.why.append(why)
            return
    entries.append(_Entry(item, [why]))


def _outer(item: Any) -> Any:
    if not isinstance(item, Mapping):
        return item
    return {key: None if isinstance(held, Mapping) else held for key, held in item.items()}
