"""Creating, reading and changing jobs, tasks and runs: every field as the reference has it."""

from __future__ import annotations

from uuid import uuid4

from tests.contract.caller import STARTED, STOPPED, Caller
from tests.contract.reference import REPORT, assert_shape

MACHINE = {
    "requestCPUs": 2,
    "limitCPUs": 4.5,
    "nodeCPUs": 16,
    "requestRAM": 1 << 31,
    "limitRAM": 1 << 32,
    "nodeRAM": 1 << 40,
    "cpuPlatform": "Intel Ice Lake",
    "machineType": "n2-standard-16",
    "gpuType": "NVIDIA H200",
    "instanceID": "1234567890123456789",
    "zone": "europe-west1-b",
    "preemptible": True,
    "podId": "pod-uid/agent-id",
}


def test_a_job_comes_as_a_list_of_one_with_what_was_given(api: Caller) -> None:
    """POST, GET and PUT of a job answer a list of one; what was given is there."""
    id_ = str(uuid4())
    job = api.job(id=id_, title="T", type="render", createdBy="u-1", schedulerState="active")
    assert job == api.get_job(id_)
    given = {name: job[name] for name in ("id", "title", "type", "createdBy", "schedulerState")}
    assert given == {
        "id": id_,
        "title": "T",
        "type": "render",
        "createdBy": "u-1",
        "schedulerState": "active",
    }
    assert (job["parameters"], job["priority"], job["taskCount"], job["taskProgress"]) == ({}, 0, 0, 0)


def test_a_job_without_an_id_gets_one(api: Caller) -> None:
    """Two jobs of the same body are two jobs."""
    assert api.job()["id"] != api.job()["id"]


def test_putting_a_job_replaces_its_parameters(api: Caller) -> None:
    """`updateJobBody` has parameters alone; all else stays."""
    job = api.job()
    (changed,) = api.expect("PUT", f"/api/jobs/{job['id']}", json={"parameters": {"a": {"b": [1, None]}}})
    assert changed["parameters"] == {"a": {"b": [1, None]}}
    assert changed["updatedAt"] >= job["updatedAt"]
    kept = job.keys() - {"parameters", "updatedAt"}
    assert {name: changed[name] for name in kept} == {name: job[name] for name in kept}
    assert api.get_job(job["id"]) == changed


def test_a_task_comes_bare_with_what_was_given(api: Caller) -> None:
    """POST and GET of a task answer the same object; a new task is pending."""
    job, id_ = api.job(), str(uuid4())
    parameters = {"fileId": "x", "deep": {"n": 1.5, "no": None}, "ünï": "☃"}
    task = api.task(job["id"], id=id_, title="T", type="render", createdBy="u-1", parameters=parameters)
    assert task == api.get_task(id_)
    assert (task["id"], task["jobId"], task["orgId"]) == (id_, job["id"], job["orgId"])
    assert (task["title"], task["type"], task["createdBy"]) == ("T", "render", "u-1")
    assert task["parameters"] == parameters
    assert (task["runStatus"], task["runResult"]) == ("pending", None)
    assert task["runProgress"] in (0, None)


def test_putting_a_task_replaces_its_parameters(api: Caller) -> None:
    """All else stays; the job is not touched."""
    task = api.task(parameters={"a": 1})
    body = {"parameters": {"b": 2}, "updatedAt": STARTED}
    changed = api.expect("PUT", f"/api/jobs/tasks/{task['id']}", json=body)
    assert changed["parameters"] == {"b": 2}
    kept = task.keys() - {"parameters", "updatedAt"}
    assert {name: changed[name] for name in kept} == {name: task[name] for name in kept}
    assert api.get_task(task["id"]) == changed


def test_a_run_comes_bare_with_every_fact_that_was_given(api: Caller) -> None:
    """Numbers stay numbers, null where nothing was told, ids of task, job and organisation."""
    task, id_ = api.task(), str(uuid4())
    run = api.claim(task["id"], id=id_, jobId=task["jobId"], progress=0, reportProgress=True, **MACHINE)
    assert run == api.get_run(id_)
    assert {name: run[name] for name in MACHINE} == MACHINE
    assert (run["id"], run["taskId"], run["jobId"], run["orgId"]) == (
        id_,
        task["id"],
        task["jobId"],
        task["orgId"],
    )
    assert (run["startedAt"], run["stoppedAt"], run["progress"]) == (STARTED, None, 0)
    for name in ("results", "resultCode", "resultMessage", "error", "GPUTime", "CPUTime", "machine"):
        assert run[name] is None, name


def test_a_run_that_tells_nothing_has_every_field_as_null(api: Caller) -> None:
    """Unknown is null: never 0, never missing."""
    run = api.placeholder(api.task()["id"])
    unknown = {*MACHINE, "startedAt", "stoppedAt", "results", "resultCode", "error", "machine"}
    unknown |= {"GPUTime", "CPUTime", "RAMUsage", "wallClockTime", "resultMessage"}
    assert {name: run[name] for name in unknown} == dict.fromkeys(unknown)


def test_a_report_changes_what_it_names_and_keeps_the_rest(api: Caller) -> None:
    """PUT of a run merges; usage gets there by PUT, as nothing else could."""
    run = api.claim(api.task()["id"], **MACHINE)
    usage = {"CPUTime": 1.25, "GPUTime": 0.5, "RAMUsage": 123456789, "wallClockTime": 2.5}
    changed = api.report(run["id"], startedAt=STARTED, progress=0.25, **usage)
    assert changed["progress"] == 0.25
    assert {name: changed[name] for name in usage} == usage
    kept = run.keys() - {"progress", "updatedAt", *usage}
    assert {name: changed[name] for name in kept} == {name: run[name] for name in kept}
    assert api.get_run(run["id"]) == changed


def test_a_stopped_run_shows_result_error_and_machine(api: Caller) -> None:
    """The terminal report is read back field by field."""
    run = api.claim(api.task()["id"])
    results = {"value": {"n": 1}, "files": [{"name": "stdout", "url": "file:///x"}], "é": [True, None, 0.1]}
    stopped = api.stop(
        run["id"], "Failed", error="timeout: too long", results=results, machine={"gpus": [{"uuid": "G"}]}
    )
    assert stopped == api.get_run(run["id"])
    assert (stopped["stoppedAt"], stopped["resultCode"], stopped["error"]) == (
        STOPPED,
        "Failed",
        "timeout: too long",
    )
    assert stopped["results"] == results
    assert stopped["machine"] == {"gpus": [{"uuid": "G"}]}


def test_a_report_of_runs_names_task_and_job(api: Caller) -> None:
    """`GET /api/jobs/reports` shows a run with its task's title and type and its job's title."""
    job = api.job(title="the job")
    task = api.task(job["id"], title="the task", type="render")
    run = api.claim(task["id"])
    api.stop(run["id"], progress=1)
    reports = api.list("reports", orgId=job["orgId"], perPage=100, sort="-startedAt")
    mine = [report for report in reports if report["jobTitle"] == "the job"]
    assert len(mine) == 1
    assert_shape(mine[0], REPORT)
    assert mine[0] | {"createdBy": None} == {
        "title": "the task",
        "type": "render",
        "createdBy": None,
        "progress": 1,
        "orgId": job["orgId"],
        "startedAt": STARTED,
        "stoppedAt": STOPPED,
        "jobTitle": "the job",
    }


def test_the_bodies_of_the_reference_are_taken_word_for_word(api: Caller) -> None:
    """Strings where the reference types strings: numbers and truths come back as such from ours."""
    job = api.job(createdBy="string", title="string", type="string", schedulerState="active")
    task = api.task(job["id"], createdBy="string", title="string", parameters={})
    numbers = ("requestCPUs", "limitCPUs", "nodeCPUs", "requestRAM", "limitRAM", "nodeRAM")
    texts = ("cpuPlatform", "machineType", "gpuType", "instanceID", "zone", "podId")
    body = {"id": str(uuid4()), "taskId": task["id"], "jobId": job["id"], "createdBy": "string"}
    body |= dict.fromkeys(numbers, "4") | dict.fromkeys(texts, "string")
    body |= {"startedAt": STARTED, "createdAt": STARTED, "preemptible": "true"}
    run = api.expect("POST", "/api/jobs/runs", json=body | {"reportProgress": True, "progress": 0})
    update = {
        "startedAt": STARTED,
        "stoppedAt": STOPPED,
        "resultCode": "Success",
        "error": "string",
        "progress": "0.5",
        "results": '{"a": 1}',
        "machine": '{"b": 2}',
    }
    stopped = api.expect("PUT", f"/api/jobs/runs/{run['id']}", json=update)
    if api.name == "ours":
        assert [run[name] for name in numbers] == [4] * len(numbers)
        assert run["preemptible"] is True
        assert stopped["progress"] == 0.5
        assert (stopped["results"], stopped["machine"]) == ({"a": 1}, {"b": 2})
    assert float(api.get_run(run["id"])["progress"] if api.name == "ours" else stopped["progress"]) == 0.5
