"""What an author wrote about parameters stands beside them."""

from __future__ import annotations

from worker.sdk.docstring import split_doc

DOC = """Convert a file.

Args:
    ctx: the run.
    input: a path, or a URL
        (file, https).
    scale (float): a factor: 1000 turns metres into millimetres.

Returns:
    statistics.
"""


def test_a_docstring_is_split_into_what_it_is_about_and_what_each_parameter_means() -> None:
    """Lines that go on belong to their parameter; other sections stay."""
    about, meanings = split_doc(DOC)
    assert about == "Convert a file.\n\nReturns:\n    statistics."
    assert meanings == {
        "ctx": "the run.",
        "input": "a path, or a URL (file, https).",
        "scale": "a factor: 1000 turns metres into millimetres.",
    }


def test_a_docstring_without_arguments_stays_as_it_is() -> None:
    """Nothing is invented."""
    assert split_doc("Do it.\n") == ("Do it.", {})
    assert split_doc("") == ("", {})
    assert split_doc("Do it.\n\nArgs:\n    how it pleases\n") == ("Do it.", {})
