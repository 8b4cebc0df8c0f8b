"""The kit for tests of handlers: in this process, in a real child, and their conformance.

::

    from worker.testing import check_handler

    def test_render_is_a_good_handler():
        check_handler(render, {"size": 8}, long_parameters={"size": 512}).assert_ok()

With pytest the fixtures of `millhand_pytest` are there by themselves. See docs/testing-handlers.md.
"""

from __future__ import annotations

from worker.sdk.calling import Called, call_handler
from worker.sdk.testing import FakeClock, Told, ToldContext, make_context
from worker.testing.child import ChildRun, ChildRunner
from worker.testing.conformance import check_handler
from worker.testing.report import Check, HandlerReport, Verdict

__all__ = [
    "Called",
    "Check",
    "ChildRun",
    "ChildRunner",
    "FakeClock",
    "HandlerReport",
    "Told",
    "ToldContext",
    "Verdict",
    "call_handler",
    "check_handler",
    "make_context",
]
