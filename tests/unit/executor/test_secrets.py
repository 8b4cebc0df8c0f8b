"""What must not be shown is not: the agent's secrets, and those that a run tells."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.executor.bench import bench, within_limit
from worker.api.wire import ErrorKind, ResultCode
from worker.executor import link
from worker.executor.executor import StopRequest
from worker.redaction import REDACTED, Redactor

HANDLERS = Path(__file__).with_name("secret_handlers.py")
OWN = "mh-3f9c1d-of-the-agent"
TOLD = "hunter2-of-the-task"


def texts_of(value: Any) -> Iterator[str]:
    """Yield everything that is said anywhere."""
    yield msgspec.json.encode(value, enc_hook=repr).decode()


@pytest.mark.parametrize(
    "way", ["stdout", "stderr", "log", "progress", "return", "raise", "fail", "checkpoint"]
)
def test_no_way_of_telling_shows_a_secret(tmp_path: Path, way: str) -> None:
    """Plain and in base64; what the agent holds, and what the task gave as `Secret`."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=HANDLERS, redactor=lambda: Redactor([OWN])) as it:
            outcome = await it.run("tell-secrets", way=way, key=TOLD, other=OWN)
            said = "".join([*texts_of(outcome), *texts_of(it.events)])
            said += "".join(path.read_text() for path in (tmp_path / "spool").glob("*/*"))
            for secret in (OWN, TOLD):
                assert secret not in said
                assert secret[::-1] not in said  # the handler tells that too, once it has made it a secret
            assert REDACTED in said
            assert "seen anyway" in said

    within_limit(scenario())


def test_secrets_are_known_before_anything_is_printed(tmp_path: Path) -> None:
    """The word of a secret and what is printed go two ways; the word is heard first, each time."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=HANDLERS) as it:
            for number in range(30):
                outcome = await it.run("print-at-once", key=f"secret-number-{number}")
                assert outcome.log_tail == REDACTED

    within_limit(scenario())


def test_a_secret_stays_one_for_the_next_run_of_the_process(tmp_path: Path) -> None:
    """What a handler keeps in a global it can print later."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=HANDLERS) as it:
            await it.run("keep-and-print", key=TOLD)
            assert TOLD not in (await it.run("keep-and-print", key="another-secret")).log_tail
            assert len(it.spawner.pids) == 1

    within_limit(scenario())


def test_a_secret_of_the_wrong_type_is_not_shown_either(tmp_path: Path) -> None:
    """Messages about parameters show what was given, but for secrets."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=HANDLERS) as it:
            outcome = await it.run("print-at-once", key=123456789)
            assert outcome.error is not None
            assert outcome.error.kind is ErrorKind.INVALID_PARAMETERS
            assert outcome.error.message == "key: expected `str`, got `int`"

    within_limit(scenario())


def test_the_message_of_a_stop_is_clean(tmp_path: Path) -> None:
    """Whoever stops a run may quote anything."""

    async def scenario() -> None:
        async with bench(tmp_path, redactor=lambda: Redactor([OWN])) as it:
            stop = StopRequest()
            stop.request(ErrorKind.CANCELLED, f"because of {OWN}", 0.1)
            outcome = await it.run("deaf", stop=stop)
            assert outcome.error is not None
            assert REDACTED in outcome.error.message
            assert OWN not in outcome.error.message

    within_limit(scenario())


def test_too_many_secrets_of_a_process_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked for in every line is bounded; the run goes on."""
    monkeypatch.setattr(link, "MAX_SECRETS", 2)

    async def scenario() -> None:
        async with bench(tmp_path, handlers=HANDLERS) as it:
            outcome = await it.run("tell-secrets", way="stdout", key=TOLD, other=OWN)
            assert outcome.code is ResultCode.SUCCESS
            assert TOLD not in outcome.log_tail

    within_limit(scenario())


def test_a_run_that_dies_tells_its_last_lines(tmp_path: Path) -> None:
    """Mostly they say why."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=HANDLERS) as it:
            outcome = await it.run("die-printing", key=TOLD)
            assert outcome.error is not None
            assert outcome.error.kind is ErrorKind.CRASHED
            head, _, lines = outcome.error.message.partition("\n")
            assert head.endswith("; its last lines:")
            assert lines == f"no licence for {REDACTED}"

    within_limit(scenario())


def test_output_is_kept_as_files_of_the_run(tmp_path: Path) -> None:
    """Beside what the handler hands over, and under the names of the streams; nothing else is left."""

    async def scenario() -> None:
        async with bench(tmp_path) as it:
            outcome = await it.run("tell")
            files = {file.name: (tmp_path / "spool" / file.path).read_text() for file in outcome.files}
            assert files == {"stdout": "printed\nraw without an end", "stderr": "complained\n"}
            assert {file.content_type for file in outcome.files} == {"text/plain; charset=utf-8"}
            assert it.is_tidy

    within_limit(scenario())
