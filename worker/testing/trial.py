"""The runs of one handler that is examined, and how their outputs are compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from worker.testing.child import ChildRun, ChildRunner

__all__ = ["Trial", "shown"]

SHOWN_CHARS: Final = 120


class Trial:
    """The runs of one handler, and how its outputs are compared."""

    def __init__(
        self,
        runner: ChildRunner,
        parameters: Mapping[str, Any],
        long_parameters: Mapping[str, Any] | None,
        ignore: frozenset[str],
        grace_s: float,
    ) -> None:
        """Begin without a run."""
        self.runs: list[ChildRun] = []
        self.grace_s = grace_s
        self._runner = runner
        self._parameters = parameters
        self._long = long_parameters
        self._ignore = ignore

    def quick(self) -> ChildRun:
        """Run it with its quick parameters."""
        return self._runner.run(self._parameters)

    def forget(self, run: ChildRun) -> None:
        """Remove the files of a run that nobody looks at again."""
        self._runner.remove_artifacts(run)

    def whole(self) -> ChildRun:
        """Return the undisturbed run that long ones are compared with."""
        return self.runs[0] if self._long is None else self.long()

    def long(self, **how: Any) -> ChildRun:
        """Run it with the parameters that last; see `ChildRunner.run`."""
        given = self._parameters if self._long is None else self._long
        return self.keep(self._runner.run(given, grace_s=self.grace_s, **how))

    def keep(self, run: ChildRun) -> ChildRun:
        """Keep a run for the search for secrets."""
        self.runs.append(run)
        return run

    def differences(self, one: ChildRun, other: ChildRun) -> list[str]:
        """Return in what two runs differ, a line each."""
        keys = sorted((one.value.keys() | other.value.keys()) - self._ignore)
        names = sorted((one.sha256.keys() | other.sha256.keys()) - self._ignore)
        values = [key for key in keys if one.value.get(key) != other.value.get(key)]
        return [
            *(
                f"result.{key}: {shown(one.value.get(key))}, then {shown(other.value.get(key))}"
                for key in values
            ),
            *(f"artifact {name} differs" for name in names if one.sha256.get(name) != other.sha256.get(name)),
        ]


def shown(value: Any) -> str:
    """Return a value for a message: short."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"
