"""The handler with an engine that answers as a test says: what it asks for, and makes of the answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from handlers.containers.settings import NOBODY
from tests.unit.containers.conftest import ABSENT, DIGEST, IMAGE_ID, FakeEngine, context, run
from worker import Cancelled, Fail, OutOfMemory, Retry

UUIDS = ("GPU-11111111-aaaa", "GPU-22222222-bbbb")


def created(engine: FakeEngine) -> list[str]:
    """Return the arguments of the one container that was made."""
    (argv,) = engine.calls("create")
    return argv


def test_an_allowed_image_runs_and_is_removed(
    engine: FakeEngine, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What it prints is printed by the run, its progress told; the result says exactly which image it was."""
    engine.says("start", out="frame 1/4\nhello\n", err="warning\n")
    ctx = context(tmp_path, {"cmd": ["render", "--all"]})
    assert run(ctx) == {
        "exitCode": 0,
        "lines": 3,
        "outputs": [],
        "image": "docker.io/acme/render:latest",
        "imageId": IMAGE_ID,
        "digest": DIGEST,
    }
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("frame 1/4\nhello\n", "warning\n")
    assert (0.25, "frame 1/4") in ctx.told.progress
    assert created(engine)[-3:] == [IMAGE_ID, "render", "--all"]  # by its id: no name can change meanwhile
    assert engine.left == []


def test_a_container_has_no_rights(engine: FakeEngine, tmp_path: Path) -> None:
    """No network, capability, new privilege or root, bounded processes; only the run's folders are there."""
    run(context(tmp_path))
    argv = created(engine)
    user = (os.geteuid(), os.getegid()) if os.geteuid() else (NOBODY, NOBODY)
    assert {
        "--network=none", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--pids-limit=1024", "--init",
        "--log-driver=none", "--pull=never", f"--user={user[0]}:{user[1]}",
    } <= set(argv)  # fmt: skip
    base = tmp_path / "workdir" / "container"
    assert [one for one in argv if one.startswith("--mount")] == [
        f"--mount=type=bind,source={base}/inputs,target=/inputs,readonly",
        f"--mount=type=bind,source={base.parent}/.secrets/container,target=/run/secrets,readonly",
        f"--mount=type=bind,source={base}/outputs,target=/outputs",
    ]
    for refused in ("--privileged", "--device", "--gpus", "--volume", "-v", "--cap-add", "--pid=", "--ipc"):
        assert not [one for one in argv if one.startswith(refused)]
    assert "--env=NVIDIA_VISIBLE_DEVICES=void" in argv
    assert "--read-only" not in argv


def test_no_parameter_adds_an_option(engine: FakeEngine, tmp_path: Path) -> None:
    """Words that look like options come behind the image, or are values of their own option."""
    run(
        context(
            tmp_path,
            {
                "cmd": ["--privileged", "-v", "/:/host"],
                "entrypoint": "--pid=host",
                "env": {"A": "--net=host"},
            },
        )
    )
    argv = created(engine)
    place = argv.index(IMAGE_ID)
    assert argv[place + 1 :] == ["--privileged", "-v", "/:/host"]
    assert "--entrypoint=--pid=host" in argv[:place]
    assert "--env=A=--net=host" in argv[:place]


def test_limits_reach_the_engine(engine: FakeEngine, tmp_path: Path) -> None:
    """The nearer of the task's wish and of the run's own limit; swap is no way around it."""
    run(
        context(tmp_path, {"cpus": 1.5, "memory": "2GiB", "pids": 7, "readonly": True}, memory_bytes=64 << 20)
    )
    assert {"--cpus=1.500", f"--memory={64 << 20}b", f"--memory-swap={64 << 20}b", "--pids-limit=7"} <= set(
        created(engine)
    )
    assert "--read-only" in created(engine)


def test_gpus_are_given_by_their_ids(engine: FakeEngine, tmp_path: Path) -> None:
    """Docker reads its option as CSV, so that several stand in quotes."""
    run(context(tmp_path, gpus=UUIDS))
    assert f'--gpus="device={",".join(UUIDS)}"' in created(engine)
    assert f"--env=NVIDIA_VISIBLE_DEVICES={','.join(UUIDS)}" in created(engine)


def test_podman_gets_a_device_for_each_gpu(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its container device interface; the operator's choice of an engine holds."""
    podman = FakeEngine(tmp_path / "podman", "podman")
    monkeypatch.setenv("MILLHAND_CONTAINER_ENGINE", str(podman.path))
    run(context(tmp_path, gpus=UUIDS))
    devices = [one for one in created(podman) if one.startswith("--device")]
    assert devices == [f"--device=nvidia.com/gpu={uuid}" for uuid in UUIDS]
    assert engine.calls("create") == []


def test_the_operator_gives_network_and_user(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the task."""
    monkeypatch.setenv("MILLHAND_CONTAINER_NETWORK", "bridge")
    monkeypatch.setenv("MILLHAND_CONTAINER_USER", f"{os.geteuid() or 1234}:77")
    run(context(tmp_path))
    assert {"--network=bridge", f"--user={os.geteuid() or 1234}:77"} <= set(created(engine))


@pytest.mark.parametrize(("name", "value"), [("NETWORK", "host"), ("USER", "root"), ("USER", "0:0:0")])
def test_a_setting_that_makes_no_sense_is_named(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Nothing is started by a guess at what was meant."""
    monkeypatch.setenv(f"MILLHAND_CONTAINER_{name}", value)
    with pytest.raises(Fail, match=f"MILLHAND_CONTAINER_{name} is"):
        run(context(tmp_path))
    assert engine.calls("create") == []


def test_inputs_and_secrets_are_files_and_outputs_come_back(engine: FakeEngine, tmp_path: Path) -> None:
    """An input is copied, so that nothing of this machine is mounted; no secret is on the command line."""
    source = tmp_path / "scene.blend"
    source.write_text("scene")
    ctx = context(
        tmp_path, {"input": str(source), "secrets": {"key": "s3cret-s3cret"}, "outputs": ["**/*.png"]}
    )
    outputs, secrets = (ctx.workdir / name for name in ("container/outputs", ".secrets/container"))
    engine.says("start", out="made\n")
    works = f"/bin/mkdir {outputs}/d && echo x >{outputs}/d/a.png && /bin/cp -pr {secrets} {tmp_path}/seen"
    engine.path.rename(f"{engine.path}.real")  # `works` is what a container would do before its end
    engine.path.write_text(f'#!/bin/sh\n[ "$1" != start ] || {{ {works}; }}\nexec {engine.path}.real "$@"\n')
    engine.path.chmod(0o755)
    assert run(ctx)["outputs"] == ["d/a.png"]
    assert ctx.told.artifacts["d/a.png"] == outputs / "d/a.png"
    inside = ctx.workdir / "container"
    assert (inside / "inputs/scene.blend").read_text() == "scene"
    assert (tmp_path / "seen/key").read_text() == "s3cret-s3cret"
    assert (tmp_path / "seen/key").stat().st_mode & 0o777 == 0o400
    assert "--env=MILLHAND_INPUT=/inputs/scene.blend" in created(engine)
    assert "s3cret-s3cret" not in (engine.folder / "calls").read_text()
    assert "s3cret-s3cret" in ctx.told.secrets


def test_an_image_that_is_not_allowed_is_never_looked_at(engine: FakeEngine, tmp_path: Path) -> None:
    """Neither pulled nor run."""
    with pytest.raises(Fail, match=r"docker.io/library/debian:latest is not allowed on this machine"):
        run(context(tmp_path, {"image": "debian"}))
    assert engine.calls("pull") == engine.calls("create") == engine.calls("image") == []


@pytest.mark.parametrize(
    ("policy", "is_there", "pulls"),
    [("missing", True, 0), ("missing", False, 1), ("always", True, 1), ("never", True, 0)],
)
def test_images_are_pulled_by_the_tasks_policy(
    engine: FakeEngine, tmp_path: Path, policy: str, is_there: bool, pulls: int
) -> None:
    """By the written-out name."""
    if not is_there:
        engine.says("image inspect", **ABSENT)
    run(context(tmp_path, {"pull": policy}))
    assert engine.calls("pull") == [["pull", "--quiet", "docker.io/acme/render:latest"]] * pulls


def test_an_image_that_may_not_be_pulled_must_be_there(engine: FakeEngine, tmp_path: Path) -> None:
    """The message says both."""
    engine.says("image inspect", **ABSENT)
    with pytest.raises(Fail, match="is not on this machine, and the task says pull: never"):
        run(context(tmp_path, {"pull": "never"}))


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ("dial tcp: lookup x: no such host", Retry, "could not be pulled"),
        ("net/http: TLS handshake timeout", Retry, "could not be pulled"),
        ("received unexpected HTTP status: 503 Service Unavailable", Retry, "could not be pulled"),
        ("toomanyrequests: You have reached your pull rate limit", Retry, "asked too often"),
        ("write /var/lib/x: no space left on device", Retry, "its disk is full"),
        (
            "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?",
            Retry,
            "its daemon",
        ),
        ("manifest for acme/render:latest not found: manifest unknown", Fail, "has no such image"),
        ("pull access denied for acme/render, repository does not exist", Fail, "does not give it"),
        ("unauthorized: authentication required", Fail, r"docker login docker\.io"),
    ],
)
def test_a_pull_that_fails_is_tried_again_where_that_helps(
    engine: FakeEngine, tmp_path: Path, said: str, error: type[Exception], words: str
) -> None:
    """Networks, busy registries and full disks pass; what a registry has decided does not."""
    engine.says("image inspect", **ABSENT)
    engine.says("pull", code=1, err=f"Error response from daemon: {said}\n")
    with pytest.raises(error, match=words):
        run(context(tmp_path))
    assert engine.calls("create") == []


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        (
            "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?",
            Retry,
            "its daemon",
        ),
        (
            "Got permission denied while trying to connect to the Docker daemon socket",
            Fail,
            "group of its socket",
        ),
    ],
)
def test_an_engine_that_is_not_there_is_told_as_such(
    engine: FakeEngine, tmp_path: Path, said: str, error: type[Exception], words: str
) -> None:
    """With what to do; and setup, which meets it first, does not hide it."""
    for command in ("ps", "image inspect", "create"):
        engine.says(command, code=1, err=said)
    with pytest.raises(error, match=words):
        run(context(tmp_path))


def test_without_an_engine_it_says_so(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name, where the operator named one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Fail, match="neither docker nor podman is on the worker's PATH"):
        run(context(tmp_path))
    monkeypatch.setenv("MILLHAND_CONTAINER_ENGINE", "nerdctl")
    (tmp_path / "workdir").rmdir()
    with pytest.raises(Fail, match="'nerdctl' of MILLHAND_CONTAINER_ENGINE is not"):
        run(context(tmp_path))
    assert engine.calls("create") == []


def test_an_engine_elsewhere_is_refused(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could not mount folders of this machine, and would make empty ones."""
    monkeypatch.setenv("DOCKER_HOST", "ssh://user@host")
    with pytest.raises(Fail, match=r"engine of another machine \(ssh://…\)"):
        run(context(tmp_path))
    assert engine.calls("create") == []


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        ({"ExitCode": 3}, Fail, "ended with exit code 3:\nlast words"),
        ({"ExitCode": 137}, Fail, "exit code 137, as after SIGKILL"),
        ({"ExitCode": 137, "OOMKilled": True}, OutOfMemory, r"out of memory \(its limit is 64 MiB\)"),
        ({"ExitCode": 127, "Error": "exec: no such file", "Status": "created"}, Fail, "could not start"),
        ({"Status": "running"}, Retry, "lost the container"),
        ({"ExitCode": None}, Retry, "lost the container"),
    ],
)
def test_the_end_is_what_the_engine_knows(
    engine: FakeEngine, tmp_path: Path, state: dict[str, Any], error: type[Exception], words: str
) -> None:
    """137 alone is no proof of too little memory; the container goes however it ended."""
    engine.says("start", out="last words\n", code=1)
    engine.ends(**state)
    with pytest.raises(error, match=words) as raised:
        run(context(tmp_path, {"memory": "64M"}))
    assert type(raised.value) is error
    assert engine.left == []


def test_a_killed_child_process_of_a_good_program_is_no_failure(engine: FakeEngine, tmp_path: Path) -> None:
    """Docker says OOMKilled then too, with exit code 0."""
    engine.ends(OOMKilled=True)
    assert run(context(tmp_path))["exitCode"] == 0


def test_a_run_that_is_stopped_stops_its_container(engine: FakeEngine, tmp_path: Path) -> None:
    """As the image wants to be asked, with the time that the run has less what cleaning up needs."""
    engine.says("start", out="50%\n", waits=True)
    ctx = context(tmp_path, stop_at=0.5)
    with pytest.raises(Cancelled):
        run(ctx)
    ((_, _, seconds, _),) = engine.calls("stop")
    assert seconds == "5"  # what there is where nobody set a limit
    assert engine.left == []


def test_a_stop_before_the_start_makes_no_container(engine: FakeEngine, tmp_path: Path) -> None:
    """There is nothing to stop."""
    ctx = context(tmp_path)
    ctx.ask_to_stop()
    with pytest.raises(Cancelled):
        run(ctx)
    assert engine.calls("create") == []


def test_an_engine_that_cannot_make_it_leaves_an_error(engine: FakeEngine, tmp_path: Path) -> None:
    """With its words."""
    engine.says("create", code=125, err="docker: invalid reference")
    with pytest.raises(Fail, match="docker could not make the container: docker: invalid reference"):
        run(context(tmp_path))


def test_an_answer_that_is_no_json_is_no_success(engine: FakeEngine, tmp_path: Path) -> None:
    """Nor an end that nobody understands."""
    engine.says("container inspect", out="<html>")
    with pytest.raises(Retry, match="no JSON"):
        run(context(tmp_path))
    assert engine.left == []


def test_what_is_not_seen_of_a_container_is_unknown_on_the_bill(engine: FakeEngine, tmp_path: Path) -> None:
    """Never nothing."""
    ctx = context(tmp_path)
    run(ctx)
    told = ctx.told.usage[-1]
    assert told["is_last"]
    assert told["cpu_user_s"] is told["ram_peak_bytes"] is None
    assert "could not be read" in told["reason"]
