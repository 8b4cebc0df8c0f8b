"""Values of any kind where others are documented: nothing but a value or an `ApiError` leaves the client."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.calls import CALLS
from tests.contract.misbehaving import MisbehavingServer, answer, hang, json_answer, misbehaving, send
from worker.api.client import JobsApi
from worker.api.connect import open_api
from worker.api.errors import ApiError
from worker.api.models import Job, Run, Task
from worker.api.polls import Poll
from worker.config import ApiConfig

AT = "2026-01-02T03:04:05.678Z"
JOB = {
    "id": "j", "type": "noop", "title": "job", "orgId": "o", "schedulerState": "active", "status": "running",
    "priority": 3, "createdAt": AT, "updatedAt": AT, "taskCount": 5, "taskStatusPending": 1,
    "taskStatusRunning": 2, "taskStatusStopped": 2, "taskResultSuccesses": 1, "taskResultFailures": 1,
    "taskProgress": 0.5, "parameters": {"a": 1},
}  # fmt: skip
TASK = {
    "id": "t", "jobId": "j", "type": "noop", "title": "task", "orgId": "o", "priority": 3,
    "runStatus": "pending", "runResult": "Failed", "runProgress": 0.5, "createdAt": AT,
    "parameters": {"a": 1},
}  # fmt: skip
RUN = {
    "id": "r", "taskId": "t", "jobId": "j", "podId": "pod/a", "createdAt": AT, "startedAt": AT,
    "stoppedAt": AT, "resultCode": "Failed", "error": "timeout: late", "progress": 0.5, "results": {"a": 1},
}  # fmt: skip
KINDS: dict[str, tuple[dict[str, Any], str, str]] = {
    "job": (JOB, "get_job", "list_jobs"),
    "task": (TASK, "get_task", "list_tasks"),
    "run": (RUN, "get_run", "list_runs"),
}
ABSENT = object()
STRANGE: list[Any] = [
    ABSENT,
    None,
    [],
    {},
    [[{}]],
    {"a": {"b": [None]}},
    True,
    "",
    "\ud800",
    " ",
    -1,
    1e308,
    10**40,
]
WORDS = sorted({*JOB, *TASK, *RUN, "tasks", "runs", "jobs", "error", "code", "message"})
TEXTS = st.text(st.characters(exclude_categories=()), max_size=12)  # lone surrogates too
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.just(AT),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | TEXTS, inner, max_size=6)
    ),
    max_leaves=25,
)


class Dialogue:
    """A client and its server, on a loop that tests run step by step."""

    def __init__(self, runner: asyncio.Runner, server: MisbehavingServer, api: JobsApi) -> None:
        """Take the parts."""
        self.runner, self.server, self.api = runner, server, api

    def answered(self, content: bytes, name: str) -> Any:
        """Return what a call makes of an answer, its `ApiError` too; any other exception is raised."""

        async def main() -> Any:
            self.server.act = send(content)
            async with asyncio.timeout(30.0):
                try:
                    return await CALLS[name](self.api)
                except ApiError as error:
                    return error

        return self.runner.run(main())


@pytest.fixture(scope="module")
def dialogue() -> Iterator[Dialogue]:
    """Give a client and a server that answers what it is told."""
    with asyncio.Runner() as runner:
        serving = misbehaving(hang)
        server = runner.run(serving.__aenter__())
        opening = open_api(ApiConfig(url=server.url, token="t"))
        api = runner.run(opening.__aenter__())
        yield Dialogue(runner, server, api)
        runner.run(opening.__aexit__(None, None, None))
        runner.run(serving.__aexit__(None, None, None))


@given(ANYTHING)
@settings(max_examples=40, deadline=None)
def test_whatever_json_answers_a_call_gives_a_value_or_an_api_error(dialogue: Dialogue, value: Any) -> None:
    """For every call; and what it gives can be used, an id of it for the next request."""
    content = json_answer(value)
    for name in CALLS:
        check(dialogue, dialogue.answered(content, name))


@given(ANYTHING.filter(lambda value: isinstance(value, dict)), st.sampled_from([*KINDS]))
@settings(max_examples=40, deadline=None)
def test_whatever_an_object_holds_beside_its_id_it_is_read(
    dialogue: Dialogue, fields: dict[str, Any], kind: str
) -> None:
    """Alone, in a list of one, and in a list that has a name."""
    _, get, list_ = KINDS[kind]
    raw = {**fields, "id": "x"}
    for value in (raw, [raw]):
        check(dialogue, dialogue.answered(json_answer(value), get))
    check(dialogue, dialogue.answered(json_answer({f"{kind}s": [raw, fields, 7, None]}), list_))


@given(st.binary(max_size=60), st.sampled_from([200, 201, 299, 400, 401, 404, 409, 429, 500, 503, 599]))
@settings(max_examples=40, deadline=None)
def test_whatever_bytes_answer_a_call_gives_an_api_error(
    dialogue: Dialogue, body: bytes, status: int
) -> None:
    """Not JSON, or JSON by chance."""
    for name in ("get_run", "update_run", "poll"):
        check(dialogue, dialogue.answered(answer(body, status), name))


def check(dialogue: Dialogue, found: Any) -> None:
    """Look at everything that a value offers, and ask by its id."""
    if isinstance(found, ApiError):
        assert str(found)
        return
    for one in found.tasks if isinstance(found, Poll) else found if isinstance(found, list) else [found]:
        if isinstance(one, Run):
            assert (one.status, one.is_live, one.is_placeholder, one.error_kind) is not None
        if isinstance(one, Job | Task | Run):
            assert one.id
            again = dialogue.runner.run(asked_by_id(dialogue, one.id))
            assert isinstance(again, ApiError) or again.id == "y"


async def asked_by_id(dialogue: Dialogue, id_: str) -> Any:
    """Read and claim by an id that some answer gave."""
    dialogue.server.act = send(json_answer({"id": "y"}))
    await dialogue.api.create_run({"id": id_, "taskId": id_, "jobId": id_})
    await dialogue.api.list_runs(task_id=id_, job_id=id_)
    return await dialogue.api.get_run(id_)


@pytest.mark.parametrize(
    ("kind", "field"), [(kind, field) for kind, (raw, *_) in KINDS.items() for field in raw if field != "id"]
)
def test_a_field_that_is_null_absent_or_of_another_type_spoils_no_other(
    dialogue: Dialogue, kind: str, field: str
) -> None:
    """Each field of job, task and run: what cannot be read is unknown, and all the rest is there."""
    raw, get, _ = KINDS[kind]
    whole = dialogue.answered(json_answer(raw), get)
    for strange in STRANGE:
        broken = {name: value for name, value in {**raw, field: strange}.items() if value is not ABSENT}
        found = dialogue.answered(json_answer(broken), get)
        if strange == "\ud800":
            assert isinstance(found, ApiError)  # no JSON: it stands for no character
            continue
        for name in read_fields(whole) - {
            attribute(field),
            "raw",
            "status",
            "is_live",
            "is_placeholder",
            "error_kind",
        }:
            assert getattr(found, name) == getattr(whole, name), (strange, name)
        if strange in (None, ABSENT, "", [], {}) or isinstance(strange, list | dict):
            assert getattr(found, attribute(field)) in (None, {}, strange)


def read_fields(one: Any) -> set[str]:
    """Return the names of what a value of ours tells, read at once or where it is asked for."""
    kind = type(one)
    asked = {name for name, value in vars(kind).items() if isinstance(value, property)}
    return {*kind.__struct_fields__, *asked}


def attribute(field: str) -> str:
    """Return a field's name in our models."""
    return re.sub(r"([A-Z])", lambda sign: "_" + sign[1].lower(), field)


@pytest.mark.parametrize(
    "field", ["schedulerState", "status", "runStatus", "runResult", "resultCode", "type"]
)
def test_a_word_that_nobody_knows_is_kept_as_it_is(dialogue: Dialogue, field: str) -> None:
    """Servers of tomorrow have more states; who reads them decides what they mean."""
    for raw, get, list_ in KINDS.values():
        if field in raw:
            told = {**raw, field: "suspended-by-quota"}
            found = dialogue.answered(json_answer(told), get)
            assert getattr(found, attribute(field)) == "suspended-by-quota"
            assert dialogue.answered(json_answer([told]), list_)[0] == found


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_may_be_strings_and_objects_may_be_wrapped(dialogue: Dialogue, kind: str) -> None:
    """Both at once, alone and in lists; two objects where one was asked for are none."""
    raw, get, list_ = KINDS[kind]
    texts = {name: str(value) if isinstance(value, int | float) else value for name, value in raw.items()}
    whole = dialogue.answered(json_answer(raw), get)
    for found in (
        dialogue.answered(json_answer([texts]), get),
        *dialogue.answered(json_answer([texts]), list_),
        *dialogue.answered(json_answer({f"{kind}s": [texts]}), list_),
    ):
        for name in set(type(whole).__struct_fields__) - {"raw"}:
            assert getattr(found, name) == getattr(whole, name), name
    assert isinstance(dialogue.answered(json_answer([raw, raw]), get), ApiError)
    assert isinstance(dialogue.answered(json_answer([[raw]]), get), ApiError)
