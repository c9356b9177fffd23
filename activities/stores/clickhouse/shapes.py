"""What a column's type is made of, as far as masks have to know."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Leaf:
    """A value that is masked whole.

    Args:
        type: As ClickHouse declares it, for casts.
        text: Whether it is text.
        width: Bytes of a FixedString; 0 for any other type.
        bits: Width of a whole number; 0 for any other type.
        signed: Whether that number has a sign.
        nullable: Whether it may be NULL.
    """

    type: str
    text: bool = False
    width: int = 0
    bits: int = 0
    signed: bool = False
    nullable: bool = False


@dataclass(frozen=True)
class ArrayOf:
    """An array, or Nested that is not flattened."""

    of: Shape


@dataclass(frozen=True)
class MapOf:
    """A map."""

    key: Shape
    value: Shape

    @property
    def masked(self) -> dict[str, Shape]:
        """What is masked of a map as a whole: keys and values that are text; or else those that are numbers."""
        halves = {"key": self.key, "value": self.value}
        texts = {name: of for name, of in halves.items() if any(leaf.text for leaf in leaves(of, ()))}
        return texts or {name: of for name, of in halves.items() if any(leaf.bits for leaf in leaves(of, ()))}


@dataclass(frozen=True)
class TupleOf:
    """A tuple.

    Args:
        names: Of its elements; their numbers where they have no names.
        of: Its elements.
    """

    names: tuple[str, ...]
    of: tuple[Shape, ...]


Shape: TypeAlias = Leaf | ArrayOf | MapOf | TupleOf

_CALL = re.compile(r"(\w+)\((.*)\)", re.DOTALL)
_NAMED = re.compile(r"(\w+|`(?:[^`\\]|\\.)+`)\s+(.+)", re.DOTALL)
_NUMBER = re.compile(r"(U?)Int(16|32|64)")
_PIECE = re.compile(r"'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`|[(),]|[^(),'`]+", re.DOTALL)


def leaves(shape: Shape, path: tuple[str, ...]) -> list[Leaf]:
    """What a path leads to; nothing where there is no such path."""
    match shape:
        case Leaf():
            return [] if path else [shape]
        case ArrayOf(of=of):
            return leaves(of, path)
        case MapOf(value=of):
            return (
                leaves(of, path[1:]) if path else [leaf for half in shape.masked.values() for leaf in leaves(half, ())]
            )
        case TupleOf(names=names, of=elements):
            return leaves(elements[names.index(path[0])], path[1:]) if path and path[0] in names else []


def parse(declared: str) -> Shape:
    """The shape of a type, as ``system.columns`` has it."""
    declared = declared.strip()
    if not (call := _CALL.fullmatch(declared)):
        return _leaf(declared, declared)
    name, inner = call[1], call[2]
    arguments = _split(inner)
    match name:
        case "Array":
            return ArrayOf(parse(inner))
        case "Map":
            return MapOf(parse(arguments[0]), parse(arguments[1]))
        case "Tuple":
            return _tuple(arguments)
        case "Nested":
            return ArrayOf(_tuple(arguments))
        case "SimpleAggregateFunction":
            return parse(arguments[-1])
        case _:
            return _leaf(declared, declared)


def _leaf(declared: str, inner: str) -> Leaf:
    nullable = False
    while wrapped := re.fullmatch(r"(LowCardinality|Nullable)\((.*)\)", inner):
        nullable = nullable or wrapped[1] == "Nullable"
        inner = wrapped[2]
    if inner == "String":
        return Leaf(declared, text=True, nullable=nullable)
    if fixed := re.fullmatch(r"FixedString\((\d+)\)", inner):
        return Leaf(declared, text=True, width=int(fixed[1]), nullable=nullable)
    if number := _NUMBER.fullmatch(inner):
        return Leaf(declared, bits=int(number[2]), signed=not number[1], nullable=nullable)
    return Leaf(declared, nullable=nullable)


def _tuple(arguments: list[str]) -> TupleOf:
    named = [_NAMED.fullmatch(argument) for argument in arguments]
    return TupleOf(
        tuple(found[1].strip("`") if found else str(number) for number, found in enumerate(named, 1)),
        tuple(parse(found[2] if found else argument) for found, argument in zip(named, arguments, strict=True)),
    )


def _split(inner: str) -> list[str]:
    """The arguments of a type, cut at commas that stand in no parentheses and no quotes."""
    arguments, depth = [""], 0
    for piece in _PIECE.findall(inner):
        depth += {"(": 1, ")": -1}.get(piece, 0)
        if piece == "," and depth == 0:
            arguments.append("")
        else:
            arguments[-1] += piece
    return [argument.strip() for argument in arguments]
