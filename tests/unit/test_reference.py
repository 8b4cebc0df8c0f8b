"""The pages that are made from the code are as the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.reference.__main__ import out_of_step, pages
from scripts.reference.api import Undocumented, class_part
from scripts.reference.docstrings import markdown
from scripts.reference.signatures import signature


def test_the_committed_reference_is_in_step() -> None:
    """`make reference` writes it; a change of a docstring, signature or option needs it."""
    assert out_of_step(pages()) == []


def test_the_reference_has_what_people_look_for() -> None:
    """Else the test above would compare nothing with nothing."""
    made = pages()
    assert "### `Context.checkpoint`" in made["reference/sdk.md"]
    assert "### `run_handler_in_child`" in made["reference/testing.md"]
    assert "#### millhand journal show" in made["reference/command-line.md"]
    assert "--kill-after DURATION" in made["reference/command-line.md"]


def test_no_terminal_and_no_home_changes_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the same on every machine."""
    before = pages()
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("HOME", "/elsewhere")
    monkeypatch.setenv("MILLHAND_CONCURRENCY", "7")
    assert pages() == before


def test_a_page_that_is_missing_changed_or_left_over_is_told(tmp_path: Path) -> None:
    """`make check` names it."""
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference" / "same.md").write_text("same")
    (tmp_path / "reference" / "changed.md").write_text("old")
    (tmp_path / "reference" / "left.md").write_text("nobody makes this")
    made = {"reference/same.md": "same", "reference/changed.md": "new", "reference/missing.md": "new"}
    wanted = ["reference/changed.md", "reference/left.md", "reference/missing.md"]
    assert out_of_step(made, tmp_path) == wanted


def test_a_docstring_becomes_markdown() -> None:
    """Names of arguments are code, lines that go on stay with them, literal blocks are kept."""
    doc = """Do ``this``.

    ::

        call(1)

    Args:
        first, second: numbers,
            both of them.

    And then that.

    Returns:
        A sum.
    """
    assert markdown(doc) == (
        "Do `this`.\n\n```text\ncall(1)\n```\n\n**Arguments**\n\n"
        "- `first`, `second`: numbers, both of them.\n\nAnd then that.\n\n**Returns** A sum."
    )


def test_a_signature_is_written_as_in_the_source() -> None:
    """With the star before what is given by name alone, and defaults."""

    def called(one: int, *, two: str = "x", **rest: object) -> list[str]:
        raise NotImplementedError

    assert signature("called", called) == "called(one: int, *, two: str = 'x', **rest: object) -> list[str]"


def test_something_public_without_a_docstring_is_refused() -> None:
    """A class, and a field that its docstring does not name."""

    class Silent:
        __doc__ = None

    class Half:
        """Says nothing of its field."""

        __dataclass_fields__ = ("size",)

    with pytest.raises(Undocumented, match="Silent has no docstring"):
        list(class_part("Silent", Silent))
    with pytest.raises(Undocumented, match="size"):
        list(class_part("Half", Half))
