"""Raises an exception whose text raises."""

from worker import Context, handler

END = {"kind": "handler_error", "says": ["Unspeakable"], "traceback": ["raises_what_cannot_be_shown.py"]}


class Unspeakable(Exception):  # noqa: N818 - what it is
    """Has no text."""

    def __str__(self) -> str:
        """Refuse."""
        raise RuntimeError("no text for you")

    __repr__ = __str__


@handler()
def raises_what_cannot_be_shown(ctx: Context) -> None:
    """Raise."""
    raise Unspeakable
