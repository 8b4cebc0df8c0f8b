"""Kinds of values on the command line."""

from __future__ import annotations

from typing import Any

import click
import pytest

from worker.cli.values import BYTES, DURATION, MEMORY_LIMIT, PAIR, PARAMETER, TIME_LIMIT, WORDS


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("90", 90), ("1.5", 1.5), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("1d", 86400), (2, 2), ("0", 0)],
)
def test_a_duration_is_seconds_or_has_units(written: Any, seconds: float) -> None:
    """What people write is read as seconds."""
    assert DURATION.convert(written, None, None) == seconds


@pytest.mark.parametrize("written", ["", "-1", "5 minutes", "m5", True, "nan", -3, float("inf")])
def test_what_is_no_duration_is_refused(written: Any) -> None:
    """Negative, empty and unknown units are errors, not zero."""
    with pytest.raises(click.BadParameter, match="duration"):
        DURATION.convert(written, None, None)


@pytest.mark.parametrize(
    ("written", "n_bytes"),
    [
        ("0", 0),
        ("1048576", 1048576),
        ("512M", 512 * 1024**2),
        ("4GiB", 4 * 1024**3),
        ("4GB", 4 * 10**9),
        ("1.5k", 1536),
    ],
)
def test_a_size_has_binary_or_decimal_units(written: str, n_bytes: int) -> None:
    """`GB` is decimal; `G` and `GiB` are binary."""
    assert BYTES.convert(written, None, None) == n_bytes


@pytest.mark.parametrize("written", ["", "x", "-1", "4 parsecs"])
def test_what_is_no_size_is_refused(written: str) -> None:
    """A size that cannot be read is an error."""
    with pytest.raises(click.BadParameter, match="size"):
        BYTES.convert(written, None, None)


def test_a_limit_is_not_nothing() -> None:
    """No run could keep a limit of 0; who wants none leaves it out."""
    assert (TIME_LIMIT.convert("5m", None, None), MEMORY_LIMIT.convert("1K", None, None)) == (300, 1024)
    for kind, written in ((TIME_LIMIT, "0"), (TIME_LIMIT, "0s"), (MEMORY_LIMIT, "0"), (MEMORY_LIMIT, "0.1")):
        with pytest.raises(click.BadParameter, match="no limit"):
            kind.convert(written, None, None)


def test_lists_and_pairs() -> None:
    """Commas separate words; the first equals sign separates key and value."""
    assert WORDS.convert("a, b,,c", None, None) == ("a", "b", "c")
    assert WORDS.convert(["a b"], None, None) == ("a b",)
    assert PAIR.convert(" zone = a=b ", None, None) == ("zone", "a=b")
    for wrong in ("novalue", "=x"):
        with pytest.raises(click.BadParameter, match="key=value"):
            PAIR.convert(wrong, None, None)
    with pytest.raises(click.BadParameter, match="list"):
        WORDS.convert(7, None, None)


def test_spaces_around_a_parameter_belong_to_it() -> None:
    """Those around a label are how somebody wrote a list."""
    assert PARAMETER.convert(" text = two words ", None, None) == ("text", " two words ")
    assert PAIR.convert(" room = lab ", None, None) == ("room", "lab")
