"""S3's sets of digests: what is in them, and what they take."""

from __future__ import annotations

import tracemalloc

from hypothesis import example, given
from hypothesis import strategies as st

from activities.stores.s3.digests import SIZE, Digests, digest_of

FIRST, SECOND = b"a" * 15 + b"b", b"aa" + b"b" * 14
ACROSS = FIRST[1:] + SECOND[:1]
"""Not in a set of the two, though their bytes are in a row there."""


@example([(True, FIRST), (True, SECOND), (False, ACROSS)])
@given(st.lists(st.tuples(st.booleans(), st.text("ab", min_size=SIZE, max_size=SIZE).map(str.encode))))
def test_digests_are_a_set_also_where_two_of_them_make_a_third_across_their_border(
    steps: list[tuple[bool, bytes]],
) -> None:
    found, expected = Digests(), set[bytes]()
    for is_new, digest in steps:
        if not is_new:
            found.discard(digest)
            expected.discard(digest)
        elif digest not in expected:
            found.add(digest)
            expected.add(digest)
        assert bool(found) == bool(expected)
        for each in (digest, *(digest for _, digest in steps)):
            assert (each in found) == (each in expected)


def test_fifty_thousand_digests_take_little_more_than_their_own_bytes() -> None:
    tracemalloc.start()
    try:
        found = Digests()
        for number in range(50_000):
            found.add(digest_of("bucket", f"files/{number}"))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 50_000 * 1.5 * SIZE
    assert all(digest_of("bucket", f"files/{number}") in found for number in range(0, 50_000, 1_000))
    assert not any(digest_of("bucket", f"files/x{number}") in found for number in range(1_000))
