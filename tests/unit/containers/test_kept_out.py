"""What must not get into a container, or be kept of it: proxies of the machine, and secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.containers.conftest import FakeEngine, context, run
from worker import Fail

PROXY = "http://user:s3cret@proxy.example:3128"
SPELT = {
    spelt for name in ("http", "https", "ftp", "no", "all")
    for spelt in (f"{name}_proxy", f"{name}_proxy".upper())
}  # fmt: skip


def test_docker_takes_no_proxy_into_a_container(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client would, from its configuration, where a variable is not set; what the task gives stays."""
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    run(context(tmp_path, {"env": {"http_proxy": "http://theirs"}}))
    (argv,) = engine.calls("create")
    proxies = {one.removeprefix("--env=") for one in argv if "_proxy=" in one.lower()}
    assert proxies == {"http_proxy=http://theirs"} | {
        f"{name}=" for name in SPELT - {"http_proxy", "HTTP_PROXY"}
    }
    assert not [one for one in argv if "s3cret" in one]


def test_podman_takes_no_proxy_into_a_container(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default it passes on its own environment's."""
    podman = FakeEngine(tmp_path / "podman", "podman")
    monkeypatch.setenv("MILLHAND_CONTAINER_ENGINE", str(podman.path))
    run(context(tmp_path))
    (argv,) = podman.calls("create")
    assert "--http-proxy=false" in argv
    assert engine.calls("create") == []


@pytest.mark.parametrize("code", [0, 3])
def test_secrets_go_with_the_container(engine: FakeEngine, tmp_path: Path, code: int) -> None:
    """Also where the folder of a failed run is kept; outputs stay there."""
    engine.ends(ExitCode=code)
    ctx = context(tmp_path, {"secrets": {"key": "s3cret-s3cret"}})
    if code:
        with pytest.raises(Fail, match="exit code 3"):
            run(ctx)
    else:
        run(ctx)
    assert (ctx.workdir / "container" / "outputs").is_dir()
    assert not (ctx.workdir / ".secrets").exists()


def test_secrets_go_where_nothing_was_started(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full in the middle of them leaves none."""
    written: list[Path] = []

    def full(path: Path, value: str, _: object) -> None:
        if written:
            raise OSError(28, "No space left on device")
        path.write_text(value)
        written.append(path)

    monkeypatch.setattr("handlers.containers.folders.write_secret", full)
    ctx = context(tmp_path, {"secrets": {"one": "s3cret-1", "two": "s3cret-2"}})
    with pytest.raises(Exception, match="No space left"):
        run(ctx)
    assert len(written) == 1
    assert not (ctx.workdir / ".secrets").exists()
    assert engine.calls("create") == []
