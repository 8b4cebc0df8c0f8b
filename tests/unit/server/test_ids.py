"""Ids that the server gives."""

from __future__ import annotations

from uuid import UUID

from server.ids import ordered_ids
from tests.unit.server.world import FakeClock


def test_ids_sort_in_the_order_of_their_making() -> None:
    """Within a millisecond, across milliseconds, and when the clock goes back."""
    clock = FakeClock()
    new_id = ordered_ids(clock)
    ids = []
    for step_s in (0, 0, 0.001, -5, 0, 10):
        clock.advance(step_s)
        ids.append(new_id())
    assert ids == sorted(set(ids))


def test_ids_are_uuids_of_version_7() -> None:
    """Any client that expects a UUID can read them."""
    made = UUID(ordered_ids(FakeClock())())
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == 1584566955899
