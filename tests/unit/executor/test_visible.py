"""Text from strangers, made safe to show."""

import pytest

from worker.executor.visible import visible


@pytest.mark.parametrize(
    "text", ["", "plain", "two\nlines\tand a tab", "Größe – 3 µm, 模型, \N{FAMILY}", "a\N{NO-BREAK SPACE}b"]
)
def test_text_stays_as_it_is(text: str) -> None:
    """Line ends, tabs and every script are shown as they came."""
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07\x1b[2J", "\\x1b]0;title\\x07\\x1b[2J"),
        ("nul \x00 and \x9b31m", "nul \\x00 and \\x9b31m"),
        ("exe\u202etxt.", "exe\\u202etxt."),
        ("half \ud800", "half \\ud800"),
        ("over\rwritten", "over\\x0dwritten"),
    ],
)
def test_commands_are_written_out(text: str, shown: str) -> None:
    """What a terminal would obey, or what JSON cannot carry, is shown instead."""
    assert visible(text) == shown
