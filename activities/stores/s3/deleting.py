"""Deleting keys or versions, a thousand a request, with every key's own error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from activities.errors import CriticalError, ErasureError, TransientError

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import ObjectIdentifierTypeDef

PASSING = frozenset({"InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout", "OperationAborted"})
"""Codes of a single key's failure that pass by themselves."""


async def delete(
    client: S3Client, bucket: str, objects: Sequence[ObjectIdentifierTypeDef], refused: dict[str, int]
) -> int:
    """Deletes keys, or versions where they are named.

    Args:
        client: The client.
        bucket: The bucket.
        objects: At most a thousand keys.
        refused: Gathers the errors' codes with their counts.

    Returns:
        How many were deleted.
    """
    if not objects:
        return 0
    answer = await client.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
    errors = answer.get("Errors", [])
    for error in errors:
        code = error.get("Code", "?")
        refused[code] = refused.get(code, 0) + 1
    return len(objects) - len(errors)


def refusal(refused: dict[str, int]) -> ErasureError:
    """What becomes of keys that S3 did not delete."""
    what = f"some objects were not deleted ({codes(refused)})"
    if set(refused) <= PASSING:
        return TransientError("s3", what, "Wait; it is tried again.")
    return CriticalError("s3", what, "Look for object locks, legal holds and missing rights; then try again.")


def codes(refused: dict[str, int]) -> str:
    """Errors' codes with their counts, for messages."""
    return ", ".join(f"{count} x {code}" for code, count in sorted(refused.items()))
