"""Reading requests: tolerant where the reference is, and naming what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from server.http import kinds, query
from server.http.failure import ApiError
from server.routes.operations import OPERATIONS
from server.routes.runs import NEW_RUN, REPORT
from server.routes.tasks import NEW_TASK
from server.store import queries
from server.store.queries import Page, Sort
from server.store.sql import reads


@pytest.mark.parametrize(
    ("kind", "given", "kept"),
    [
        (kinds.NUMBER, "1.5", 1.5),
        (kinds.NUMBER, 2.0, 2),
        (kinds.NUMBER, "17179869184", 17179869184),
        (kinds.PROGRESS, "0.25", 250_000),
        (kinds.PROGRESS, 7, 1_000_000),
        (kinds.PROGRESS, -1, 0),
        (kinds.PROGRESS, 0, 0),
        (kinds.PROGRESS, 1, 1_000_000),
        (kinds.PROGRESS, 2**62, 1_000_000),
        (kinds.BOOLEAN, "True", True),
        (kinds.PRIORITY, "-3", -3),
        (kinds.INSTANT, "2020-03-18T21:29:15.8999Z", 1584566955899),
        (kinds.INSTANT, "2020-03-18T22:29:15.899+01:00", 1584566955899),
        (kinds.INSTANT, "1969-12-31T23:59:59.999Z", -1),
        (kinds.OBJECT_OR_TEXT, '{"a": 1}', '{"a": 1}'),
        (kinds.OBJECT_OR_TEXT, "plain", '{"text":"plain"}'),
        (kinds.OBJECT_OR_TEXT, "[1]", '{"text":"[1]"}'),
    ],
)
def test_values_are_read_as_the_reference_types_them(kind: kinds.Kind, given: Any, kept: Any) -> None:
    """Numbers, booleans and objects may come as strings; times are truncated to milliseconds."""
    assert kind.read(json.dumps(given).encode()) == kept


def test_a_time_is_remembered_for_the_next_report_unless_it_takes_much_room() -> None:
    """Clients choose how many digits they send."""
    long = f"2020-03-18T21:29:15.899{'9' * 100_000}Z"
    kinds._known_instant.cache_clear()
    assert kinds.INSTANT.take(long) == kinds.INSTANT.take("2020-03-18T21:29:15.899Z") == 1584566955899
    assert kinds._known_instant.cache_info().currsize == 1


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (kinds.NUMBER, "many"),
        (kinds.NUMBER, True),
        (kinds.NUMBER, "nan"),
        (kinds.NUMBER, -1),
        (kinds.NUMBER, 1e300),
        (kinds.PROGRESS, "half"),
        (kinds.PROGRESS, None),
        (kinds.PROGRESS, True),
        (kinds.PROGRESS, 10**400),
        (kinds.BOOLEAN, "maybe"),
        (kinds.PRIORITY, 1.5),
        (kinds.PRIORITY, 2**31),
        (kinds.INSTANT, 1584566955),
        (kinds.INSTANT, None),
        (kinds.INSTANT, "yesterday"),
        (kinds.TEXT, 5),
        (kinds.ID, ""),
        (kinds.ID, "a/b"),
        (kinds.ID, "a\nb"),
        (kinds.ID, "x" * 256),
        (kinds.JOB_ID, "tasks"),
        (kinds.OBJECT, [1]),
        (kinds.OBJECT, "{}"),
        (kinds.OBJECT_OR_TEXT, 5),
    ],
)
def test_values_of_a_wrong_kind_are_refused(kind: kinds.Kind, given: Any) -> None:
    """A refusal says what is wanted."""
    with pytest.raises(ValueError, match="must"):
        kind.read(json.dumps(given).encode())


def test_objects_are_kept_to_the_byte() -> None:
    """Numbers beyond what a float holds come back as they were."""
    body = b'{"jobId": "j", "parameters": {"n": 123456789012345678901, "x": 1.10}, "image": "a"}'
    fields = NEW_TASK.read(body)
    assert fields.values["parameters"] == '{"n": 123456789012345678901, "x": 1.10}'
    assert fields.extra == {"image": '"a"'}


def test_null_is_the_same_as_not_there_and_derived_fields_are_not_kept() -> None:
    """A client may send back what it got."""
    fields = NEW_TASK.read(b'{"jobId": "j", "title": null, "runStatus": "stopped", "createdAt": "x"}')
    assert (fields.values, fields.extra) == ({"job_id": "j"}, {})


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b"[]", b"5", b'{"taskId": ', b'{"error": "\xff"}', b'{"results":' + b"[" * 9999],
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    """Whatever the bytes are, the answer is 422 with the documented code."""
    with pytest.raises(ApiError) as refused:
        REPORT.read(body)
    assert (refused.value.status, refused.value.code) == (422, "update_run_error")


def test_a_missing_required_field_is_named() -> None:
    """A run needs a task."""
    with pytest.raises(ApiError, match="taskId: is required"):
        NEW_RUN.read(b"{}")


def read_page(query_string: bytes) -> Page:
    """Read the paging of a list of jobs."""
    given = query.parse(query_string)
    return query.page_of(query.read_all(query.paging(queries.JOB_SORTS), given, "code"))


def test_paging_is_read_with_its_defaults() -> None:
    """A plus sign arrives as a space, escaped or not at all."""
    assert read_page(b"") == Page(number=1, size=30, sort=None)
    assert read_page(b"page=3&perPage=100&sort=-title") == Page(number=3, size=100, sort=Sort("title", True))
    for text in (b"+createdAt", b"%2BcreatedAt", b"createdAt", b"%20createdAt"):
        assert read_page(b"sort=" + text).sort == Sort("createdAt")


@pytest.mark.parametrize(
    ("query_string", "named"),
    [
        (b"page=0", "page"),
        (b"page=-1", "page"),
        (b"page=1.5", "page"),
        (b"page=" + b"9" * 99, "page"),
        (b"perPage=101", "perPage"),
        (b"perPage=many", "perPage"),
        (b"sort=secret", "sort"),
        (b"sort=--title", "sort"),
        (b"sort=title;drop", "sort"),
    ],
)
def test_a_bad_parameter_is_named(query_string: bytes, named: str) -> None:
    """The message begins with the parameter."""
    with pytest.raises(ApiError, match=f"^{named}: ") as refused:
        read_page(query_string)
    assert refused.value.status == 422


def test_filters_are_repeated_or_separated_by_commas() -> None:
    """Both ways mean the same."""
    types = query.several("type", "")
    assert types.read(["a,b", "c", "a", ""]) == ("a", "b", "c")


def test_the_database_sorts_by_exactly_what_is_documented() -> None:
    """Every documented sort has a column, and no other is reachable."""
    for documented, columns in (
        (queries.JOB_SORTS, reads.JOB_ORDER),
        (queries.TASK_SORTS, reads.TASK_ORDER),
        (queries.RUN_SORTS, reads.RUN_ORDER),
        (queries.REPORT_SORTS, reads.REPORT_ORDER),
    ):
        assert set(documented) == set(columns)


def test_every_field_of_a_body_has_a_place_in_its_command() -> None:
    """A declared field that no command takes would fail only when somebody sends it."""
    from server.store import commands

    places = {
        "create_job": commands.CreateJob,
        "update_job": commands.UpdateJob,
        "create_task": commands.CreateTask,
        "update_task": commands.UpdateTask,
        "create_run": commands.CreateRun,
        "update_run": commands.UpdateRun,
        "announce_agent": commands.AnnounceAgent,
        "offer_run": commands.CreateRun,
    }
    for operation in OPERATIONS:
        if operation.body is None or operation.name == "write_batch":  # whose writes have those of runs
            continue
        known = {*places[operation.name].__struct_fields__, *commands.RunFields.__struct_fields__}
        assert {field.attribute for field in operation.body.fields} - {None} <= known
