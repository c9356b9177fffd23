"""The canonical form of a JSON value: the same value is the same bytes, so that it can be hashed and signed.

RFC 8785 (JSON Canonicalization Scheme), restricted to what a certificate holds: no numbers but whole ones that every
JSON library reads exactly. Without fractions, none of the RFC's rules about printing them is needed.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, NoReturn

LARGEST = 2**53 - 1
"""Beyond it a JSON library may round (RFC 7493, section 2.2)."""


class NotCanonicalError(ValueError):
    """Bytes are no JSON document of this form; the message says where."""


def encode(value: Any) -> bytes:
    """The canonical bytes of a value, in UTF-8, without a line's end.

    Args:
        value: Objects, arrays, strings, whole numbers, booleans, null.

    Raises:
        ValueError: Something else is in it, or a text that is not Unicode.
    """
    return json.dumps(_ordered(value), ensure_ascii=False, separators=(",", ":")).encode()


def decode(data: bytes) -> Any:
    """The value of canonical bytes.

    Args:
        data: What `encode` made, and nothing else.

    Raises:
        NotCanonicalError: They are not JSON, or not in the canonical form.
    """
    try:
        value = json.loads(data.decode(), parse_float=_refuse, parse_constant=_refuse)
        expected = encode(value)
    except UnicodeDecodeError as error:
        raise NotCanonicalError(f"is not UTF-8 at byte {error.start:,}") from None
    except json.JSONDecodeError as error:
        raise NotCanonicalError(f"is not JSON at character {error.pos:,}: {error.msg}") from None
    except RecursionError:
        raise NotCanonicalError("is nested too deeply") from None
    except ValueError as error:
        raise NotCanonicalError(f"holds what no certificate holds: {error}") from None
    if expected != data:
        first = next((at for at, pair in enumerate(zip(data, expected, strict=False)) if pair[0] != pair[1]), None)
        where = min(len(data), len(expected)) if first is None else first
        raise NotCanonicalError(f"is not in canonical form from byte {where:,}: it was reformatted or altered")
    return value


def digest(value: Any) -> str:
    """SHA-256, hex, over the canonical bytes of a value."""
    return hashlib.sha256(encode(value)).hexdigest()


def _ordered(value: Any) -> Any:
    """The value with the members of its objects in the RFC's order: by UTF-16 code units."""
    match value:
        case dict():
            return {key: _ordered(value[key]) for key in sorted(value, key=lambda key: key.encode("utf-16-be"))}
        case list():
            return [_ordered(entry) for entry in value]
        case bool() | str() | None:
            return value
        case int() if -LARGEST <= value <= LARGEST:
            return value
    raise ValueError(f"a {type(value).__name__} that is out of range")


def _refuse(_: str) -> NoReturn:
    raise ValueError("a number that is not whole")
