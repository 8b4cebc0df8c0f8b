"""The checks that `make check` and `make wheel` rest on find what they are for."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement

from scripts import check_lock, check_wheel

WANTED = [Requirement("msgspec>=0.20")]


def test_lock_with_a_hashed_pin_that_fits_is_in_step() -> None:
    """Nothing is found wrong with a pin that the project allows, with its hash on a line of its own."""
    assert check_lock.faults("msgspec==0.22.0 \\\n    --hash=sha256:abc\n", WANTED) == []


@pytest.mark.parametrize(
    ("lock", "fault"),
    [
        ("", "lacks msgspec"),
        ("msgspec==0.19.0 \\\n    --hash=sha256:abc\n", "pins msgspec 0.19.0"),
        ("msgspec==0.22.0\n", "has no hash"),
        ("--index-url https://example.org\nmsgspec==0.22.0 --hash=sha256:abc\n", "names a place"),
        ("msgspec==0.22.0 --hash=sha256:abc\nx @ https://example.org/x.whl\n", "names a place"),
    ],
)
def test_lock_that_is_not_in_step_is_told(lock: str, fault: str) -> None:
    """A missing or unfit pin, a missing hash and the name of a place are each found, once."""
    assert [fault in found for found in check_lock.faults(lock, WANTED)] == [True]


def test_wheel_is_measured_against_the_tree() -> None:
    """A wheel with every file of the packages is complete; a missing model and a test in it are told."""
    whole = check_wheel.expected() | {"millhand-0.1.0.dist-info/METADATA"}
    assert check_wheel.faults(whole) == []
    model = next(name for name in sorted(whole) if name.endswith(".glb"))
    assert check_wheel.faults(whole - {model} | {"tests/__init__.py"}) == [
        f"lacks {model}",
        "carries tests/__init__.py",
    ]
