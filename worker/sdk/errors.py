"""How a handler says that it cannot go on.

::

    Exception
      Fail              failed for good: the message says why, no traceback is shown
        InvalidParameters   the task's parameters do not fit the handler's signature
        OutOfMemory         the kernel ended, for want of memory, what the handler had started elsewhere
      Unavailable       raised while a module is imported: its handlers need what this machine lacks
      Retry             failed for now: another attempt may succeed
    BaseException
      Cancelled         the run is asked to stop; passes `except Exception`
"""

from __future__ import annotations

__all__ = ["Cancelled", "Fail", "InvalidParameters", "OutOfMemory", "Retry", "Unavailable"]


class Fail(Exception):  # noqa: N818 - a verb, as authors read it: raise Fail
    """End the run as failed for good: ``raise Fail("scene.blend has no camera; add one")``.

    The message is shown to people, without a traceback: say what is wrong, with what, and what to do.
    """


class InvalidParameters(Fail):
    """The parameters do not fit; `problems` names each field and what is wrong with it."""

    def __init__(self, problems: list[str]) -> None:
        """Take one sentence a field."""
        super().__init__("; ".join(problems))
        self.problems = problems


class OutOfMemory(Fail):
    """End the run as out of memory: only on evidence, as a count of the kernel; an exit code is none."""


class Unavailable(ImportError):  # noqa: N818 - what the handlers are
    """This machine lacks what the handlers of a module need: raise it while the module is imported.

    ``raise Unavailable("renders with Blender, which is not on the PATH; apt-get install blender")``. Agents
    of this machine leave such tasks to others; `millhand handlers` shows the message, and nothing is broken.
    """


class Retry(Exception):  # noqa: N818 - a verb
    """End the run as failed for now; it may be tried again, not before `after_s` seconds.

    Args:
        message: why, for people.
        after_s: how many seconds to wait before the next attempt, from 0.

    Raises:
        ValueError: `after_s` is negative or no number.
    """

    def __init__(self, message: str = "", after_s: float | None = None) -> None:
        """Take a message for people, and the seconds to wait before the next attempt."""
        super().__init__(message)
        if after_s is not None and not 0 <= after_s < float("inf"):
            raise ValueError(f"after_s must be a number of seconds from 0, not {after_s!r}")
        self.after_s = after_s


class Cancelled(BaseException):
    """The run was asked to stop. Clean up, and let it pass.

    Raised by `Context.check` and while `Context.input` downloads. It is no `Exception`, so that
    ``except Exception`` around a step does not hold it up.
    """
