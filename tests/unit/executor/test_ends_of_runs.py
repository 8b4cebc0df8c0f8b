"""How runs end, with real children: each end of a handler gives the outcome that it is."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.executor.bench import bench, within_limit
from worker.api.wire import ErrorKind, ResultCode
from worker.executor.outcome import RunError
from worker.executor.spawn import Spawned


def error_of(tmp_path: Path, type_: str, **parameters: Any) -> RunError:
    """Run a task that fails; return why."""
    found: list[RunError] = []

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            outcome = await it.run(type_, **parameters)
            assert outcome.code is ResultCode.FAILED
            assert outcome.error is not None
            found.append(outcome.error)
            assert it.is_tidy

    within_limit(scenario())
    return found[0]


def test_what_a_handler_returns_is_the_value(tmp_path: Path) -> None:
    """A dict stands as it is, another value as `value`, None as nothing; sync and async alike."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            assert (await it.run("echo", a=1, b=["x"])).value == {"a": 1, "b": ["x"]}
            assert (await it.run("add", a="40", b=2)).value == {"value": 42}
            assert (await it.run("noop")).value == {}
            outcome = await it.run("async-add", a=1, b=2)
            assert (outcome.code, outcome.value, outcome.error) == (ResultCode.SUCCESS, {"sum": 3}, None)

    within_limit(scenario())


def test_the_placement_request_is_not_passed_to_the_handler(tmp_path: Path) -> None:
    """`requires` is the agent's matter."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            assert (await it.run("echo", a=1, requires={"gpus": 1})).value == {"a": 1}

    within_limit(scenario())


def test_fail_is_final_and_shows_no_traceback(tmp_path: Path) -> None:
    """`raise Fail` is the author's word to people."""
    error = error_of(tmp_path, "fail")
    assert error.types[:2] == ("worker.sdk.errors.Fail", "builtins.Exception")
    message = "the scene has no camera"
    assert error == RunError(kind=ErrorKind.HANDLER_ERROR, message=message, types=error.types)


def test_retry_is_retryable_after_its_time(tmp_path: Path) -> None:
    """`raise Retry` asks for another attempt, not before the given time."""
    error = error_of(tmp_path, "retry")
    assert (error.kind, error.retryable, error.retry_after_s) == (ErrorKind.HANDLER_ERROR, True, 30)


def test_an_exception_shows_the_authors_frames_only(tmp_path: Path) -> None:
    """The traceback begins in the author's file and has no locals."""
    error = error_of(tmp_path, "explode")
    assert (error.kind, error.message) == (ErrorKind.HANDLER_ERROR, "ValueError: no such layer")
    assert error.traceback is not None
    assert "sample_handlers.py" in error.traceback
    assert "child_run.py" not in error.traceback
    assert "not for the traceback" not in error.traceback


def test_every_bad_parameter_is_named(tmp_path: Path) -> None:
    """One error names what is missing, unexpected and of a wrong type."""
    error = error_of(tmp_path, "add", b="many", colour="red")
    assert error.kind is ErrorKind.INVALID_PARAMETERS
    for name in ("a: missing", "b: expected `int`", "colour: unexpected"):
        assert name in error.message


def test_a_result_that_is_no_json_names_its_key(tmp_path: Path) -> None:
    """The author learns where in the result the object stands."""
    error = error_of(tmp_path, "bad-result")
    assert error.kind is ErrorKind.HANDLER_ERROR
    assert "result.frames[1]" in error.message


def test_a_result_over_its_bound_is_refused(tmp_path: Path) -> None:
    """The bound is the handler's option; the message says what to do instead."""
    error = error_of(tmp_path, "large-result")
    assert "more than 100" in error.message
    assert "ctx.artifact" in error.message


def test_sys_exit_is_no_success(tmp_path: Path) -> None:
    """A handler that calls sys.exit(0) did not return."""
    assert error_of(tmp_path, "quit-politely").message == "the handler called sys.exit(0)"


@pytest.mark.parametrize(
    ("type_", "parameters", "exit_code", "signal"),
    [
        ("leave", {"code": 0}, 0, None),
        ("leave", {"code": 3}, 3, None),
        ("segfault", {}, None, "SIGSEGV"),
        ("kill-self", {}, None, "SIGKILL"),
    ],
)
def test_an_end_without_a_receipt_is_a_crash(
    tmp_path: Path, type_: str, parameters: dict[str, int], exit_code: int | None, signal: str | None
) -> None:
    """Exit 0, another code, a segmentation fault and a kill from outside are no success."""
    error = error_of(tmp_path, type_, **parameters)
    assert (error.kind, error.exit_code, error.signal) == (ErrorKind.CRASHED, exit_code, signal)
    assert error.retryable


def test_nonsense_on_the_channel_ends_the_child(tmp_path: Path) -> None:
    """A child whose frames cannot be read is killed, not trusted."""
    error = error_of(tmp_path, "break-channel")
    assert error.kind is ErrorKind.CRASHED
    assert "channel" in error.message


def test_a_type_without_a_handler_is_an_outcome(tmp_path: Path) -> None:
    """The executor never raises for a task."""
    assert error_of(tmp_path, "unknown").kind is ErrorKind.INTERNAL


def test_a_handler_that_cannot_be_imported_shows_why(tmp_path: Path) -> None:
    """The error carries the author's traceback."""
    broken = tmp_path / "broken.py"
    broken.write_text("import not_installed_anywhere\n")

    async def scenario() -> None:
        async with bench(tmp_path, handlers=broken) as it:
            error = (await it.run("anything")).error
            assert error is not None
            assert error.kind is ErrorKind.HANDLER_ERROR
            assert "not_installed_anywhere" in error.message
            assert error.traceback is not None
            assert "broken.py" in error.traceback

    within_limit(scenario())


def test_parameters_larger_than_a_frame_are_an_outcome(tmp_path: Path) -> None:
    """What does not fit the channel is refused with the reason."""
    error = error_of(tmp_path, "echo", text="x" * (17 * 1024 * 1024))
    assert error.kind is ErrorKind.INVALID_PARAMETERS


def test_large_parameters_arrive_whole(tmp_path: Path) -> None:
    """More than a socket's buffer is written on as the child reads."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            outcome = await it.run("echo", text="x" * 100_000)
            assert len(outcome.value["text"]) == 100_000

    within_limit(scenario())


def test_a_spawner_that_fails_is_an_outcome(tmp_path: Path) -> None:
    """A machine without room for processes gives the run back, retryable."""

    class Refusing:
        async def spawn(self, gpus: tuple[str, ...]) -> Spawned:
            raise BlockingIOError(11, "Resource temporarily unavailable")

        async def has_strangers(self) -> bool:
            return False

        def oom_kills(self) -> int | None:
            return None

        async def aclose(self) -> None:
            pass

    async def scenario() -> None:
        async with bench(tmp_path, spawner=Refusing()) as it:
            error = (await it.run("noop")).error
            assert error is not None
            assert (error.kind, error.retryable) == (ErrorKind.INTERNAL, True)
            assert "Resource temporarily unavailable" in error.message

    within_limit(scenario())


@pytest.mark.parametrize("how", ["None", "no stream", "faulty", "exits", "gone"])
def test_a_finished_result_is_kept_whatever_the_handler_left_in_the_place_of_stdout(
    tmp_path: Path, how: str
) -> None:
    """The next run finds its stdout again, in the same process or in another one."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            first = await it.run("spoil-stdout", how=how)
            assert (first.code, first.error) == (ResultCode.SUCCESS, None)
            second = await it.run("spoil-stdout", how="None")
            assert second.code is ResultCode.SUCCESS
            assert how != "None" or first.value == second.value
            assert it.is_tidy

    within_limit(scenario())
