"""What a poll is answered with."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from worker.api.models import Run, Task

__all__ = ["Poll", "has_waited"]


class Poll(Struct, frozen=True):
    """The answer to a poll."""

    tasks: list[Task]
    waited: bool  # the server held the request, as it was asked to
    run: Run | None = None  # that has claimed the first of the tasks, for an offer

    @property
    def is_claimed(self) -> bool:
        """Tell whether the first of the tasks is ours."""
        return self.run is not None


def has_waited(headers: Mapping[str, str]) -> bool:
    """Tell whether an answer says that its request was held."""
    return "wait" in headers.get("preference-applied", "").lower()
