"""The browser of `render-webgl`, a real Chromium: what its page cannot reach, how it ends, who draws next."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from handlers import models
from handlers.webgl.chromium import SANDBOX
from handlers.webgl.studio import Studio
from tests.real.webgl import SIZE, render
from worker import Cancelled, Fail, Retry
from worker.sdk.testing import make_context
from worker.testing import ChildRunner, check_handler

pytestmark = pytest.mark.usefixtures("chromium")

LIMIT_S = 120.0


@pytest.fixture
def own_studio() -> Iterator[Studio]:
    """Start a browser for a test that does harm to it."""
    made = Studio(os.environ)
    made.ready()
    yield made
    made.kill()


def browser_processes() -> list[psutil.Process]:
    """Return the living browsers' processes below this one, or that lost their parent there."""
    return [
        one
        for one in psutil.process_iter(["name", "status", "environ"])
        if one.info["name"].startswith("chrom") and one.info["status"] != psutil.STATUS_ZOMBIE
    ]


def wait_until_gone(pids: set[int]) -> None:
    """Wait until none of these processes is alive."""
    until_mono = time.monotonic() + LIMIT_S
    while alive := {one.pid for one in browser_processes()} & pids:
        assert time.monotonic() < until_mono, f"still there: {alive}"
        time.sleep(0.02)


def tree_of(studio: Studio) -> set[int]:
    """Return the ids of a browser's processes."""
    assert studio.browser is not None
    root = psutil.Process(studio.browser.pid)
    return {root.pid, *(one.pid for one in root.children(recursive=True))}


TRIES = """(async (port) => {
  const said = {};
  const to = `127.0.0.1:${port}`;
  const tried = async (name, work) => {
    try { await work(); said[name] = 'passed'; } catch (error) { said[name] = 'refused'; }
  };
  const loaded = (element, url) => new Promise((good, bad) => {
    element.onload = good; element.onerror = bad; element.src = url; document.body.append(element);
    setTimeout(bad, 3000);
  });
  await tried('fetch', () => fetch(`http://${to}/fetch`, { mode: 'no-cors' }));
  await tried('image', () => loaded(new Image(), `http://${to}/image`));
  await tried('script', () => loaded(document.createElement('script'), `http://${to}/script`));
  await tried('socket', () => new Promise((good, bad) => {
    const made = new WebSocket(`ws://${to}/`); made.onopen = good; made.onerror = bad;
  }));
  await tried('peer', async () => {
    const peer = new RTCPeerConnection({ iceServers: [{ urls: `stun:${to}` }] });
    peer.createDataChannel('x');
    const found = [];
    peer.onicecandidate = (event) => event.candidate && found.push(event.candidate);
    await peer.setLocalDescription(await peer.createOffer());
    await new Promise((done) => setTimeout(done, 500));
    if (found.some((one) => one.type === 'srflx')) return;
    throw new Error('no address was learnt');
  });
  navigator.sendBeacon(`http://${to}/beacon`, 'x');
  for (const rel of ['dns-prefetch', 'preconnect', 'prefetch']) {
    const link = document.createElement('link');
    link.rel = rel; link.href = `http://${to}/${rel}`; document.head.append(link);
  }
  await tried('frame', () => loaded(document.createElement('iframe'), `http://${to}/frame`).then(() => {
    throw new Error('an error page loads, too');
  }));
  await new Promise((done) => setTimeout(done, 500));
  return said;
})"""


@pytest.mark.parametrize("sandbox", ["on", "off"])
def test_the_page_reaches_nobody(sandbox: str) -> None:
    """It tries every way that pages have, with a server on this machine that would hear it.

    Also where the browser has this machine's network, because its sandbox is off.
    """
    studio = Studio({**os.environ, SANDBOX: sandbox})
    try:
        studio.ready()
        assert studio.is_sandboxed is (sandbox == "on")
        with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            port = tcp.getsockname()[1]
            udp.bind(("127.0.0.1", port))
            said = studio.evaluate(f"{TRIES}({port})")
            assert set(said.values()) == {"refused"}, said
            for heard in (tcp, udp):
                heard.setblocking(False)
                with pytest.raises(BlockingIOError):
                    (tcp.accept if heard is tcp else udp.recv)(*(() if heard is tcp else (1,)))
    finally:
        studio.close()


def test_the_browser_has_a_network_without_devices_and_files_of_its_own(own_studio: Studio) -> None:
    """By what the kernel says of each of its processes; as root it is another user."""
    ours = {kind: Path(f"/proc/self/ns/{kind}").readlink() for kind in ("net", "mnt", "user")}
    assert own_studio.browser is not None
    root = own_studio.browser.pid
    for pid in tree_of(own_studio):
        try:
            theirs = {kind: Path(f"/proc/{pid}/ns/{kind}").readlink() for kind in ours}
        except FileNotFoundError:
            continue  # one that has just ended
        assert all(theirs[kind] != ours[kind] for kind in ours)
    devices = Path(f"/proc/{root}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in devices] == ["lo"]
    assert "127.0.0.1" not in Path(f"/proc/{root}/net/fib_trie").read_text()  # and even that one is down
    assert os.geteuid() != 0 or psutil.Process(root).uids().real == 65534
    assert "--no-sandbox" not in psutil.Process(root).cmdline()


@pytest.mark.parametrize("sandbox", ["on", "off"])
def test_nothing_is_left_of_a_browser(tmp_path: Path, sandbox: str) -> None:
    """Neither a process nor a file, whether it was let go or killed."""
    for end in ("close", "kill"):
        studio = Studio({**os.environ, SANDBOX: sandbox, "TMPDIR": str(tmp_path)})
        studio.ready()
        pids = tree_of(studio)
        assert len(pids) > 2
        getattr(studio, end)()
        wait_until_gone(pids)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("which", ["browser", "page", "gpu-process"])
def test_a_killed_browser_is_told_and_the_next_task_has_another(
    own_studio: Studio, tmp_path: Path, which: str
) -> None:
    """In the middle of a turntable: the first process, the page's, the one that draws."""
    ctx = make_context(tmp_path, state=own_studio)
    killed: list[int] = []

    def kill(ratio: float, message: str | None) -> None:
        del ratio
        if not killed and message is not None and message.startswith("frame 1 "):
            for pid in sorted(tree_of(own_studio)):
                line = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")  # "" of a zombie
                kind = {"browser": "--remote-debugging-pipe", "page": "--type=renderer"}.get(
                    which, f"--type={which}"
                )
                if kind in line and (which != "browser" or "--type" not in line):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                    if which == "browser":
                        return

    ctx._sink.progress = kill  # type: ignore[method-assign]  # where the run is known to be
    with pytest.raises((Fail, Retry), match=r"gear\.glb"):
        render(ctx, frames=100, light="direct")
    assert killed
    (tmp_path / "next").mkdir()
    assert render(make_context(tmp_path / "next", state=own_studio))["triangles"] == 1152


def test_a_page_that_hangs_is_ended(own_studio: Studio, tmp_path: Path) -> None:
    """After its limit; the next task has another browser."""
    own_studio.step_s = 1.0
    own_studio.evaluate("studio.draw = () => { for (;;); }; 0")
    pids = tree_of(own_studio)
    own_studio.step_s = 2.0
    with pytest.raises(Fail, match=r"gear\.glb cannot be drawn: the page hangs"):
        render(make_context(tmp_path, state=own_studio), light="direct")
    wait_until_gone(pids)
    own_studio.step_s = LIMIT_S
    assert render(make_context(tmp_path, state=own_studio), output="next")["triangles"] == 1152


def test_a_request_to_stop_is_seen_in_the_middle_of_a_frame(own_studio: Studio, tmp_path: Path) -> None:
    """The page computes for ever; the run ends all the same, and its browser with it."""
    own_studio.evaluate("studio.draw = () => { for (;;); }; 0")
    pids = tree_of(own_studio)
    ctx = make_context(tmp_path, state=own_studio, stop_at=0.1)
    with pytest.raises(Cancelled):
        render(ctx, light="direct")
    wait_until_gone(pids)


def test_a_killed_child_leaves_nothing(tmp_path: Path) -> None:
    """SIGKILL in the middle of a turntable; by the handler's own process tree, as an agent has it."""
    from handlers.render_webgl import render_webgl

    before = {one.pid for one in browser_processes()}
    with ChildRunner(render_webgl, tmp_path) as runner:
        parameters = {"input": str(models.folder() / "gear.glb"), "frames": 200, "light": "direct", **SIZE}
        killed = runner.run(parameters, kill_at="progress")
        assert killed.kind == "crashed"
        cancelled = runner.run(parameters, cancel_at="progress")
        assert (cancelled.kind, cancelled.error and cancelled.error.signal) == ("cancelled", None)
    wait_until_gone({one.pid for one in browser_processes()} - before)
    assert not list(tmp_path.rglob("*chromium*"))


def test_runs_share_a_browser_and_a_dead_one_is_replaced(tmp_path: Path) -> None:
    """The child keeps what its setup started, and is replaced where that is gone."""
    from handlers.render_webgl import render_webgl

    parameters = {"input": str(models.folder() / "gear.glb"), "light": "direct", **SIZE}
    with ChildRunner(render_webgl, tmp_path) as runner:
        first, second = runner.run(parameters), runner.run(parameters)
        assert first.error is None
        assert first.pid == second.pid
        assert second.pid is not None
        browser = next(
            one for one in psutil.Process(second.pid).children() if "--type" not in " ".join(one.cmdline())
        )
        browser.kill()
        third, fourth = runner.run(parameters), runner.run(parameters)
        assert (third.error, fourth.error) == (None, None) or third.kind is not None
        assert fourth.error is None


def test_the_handler_keeps_its_promises() -> None:
    """It stops when asked, survives SIGKILL, draws the same again, keeps its memory, shows no secret."""
    from handlers.render_webgl import render_webgl

    source = str(models.folder() / "gear.glb")
    small = {"input": source, "width": 64, "height": 64, "light": "direct"}
    report = check_handler(
        render_webgl,
        small,
        long_parameters=small | {"frames": 60},
        secrets=("correct-horse",),
        grace_s=60,
    )
    sys.stdout.write(f"{report}\n")
    report.assert_ok()


def test_a_worker_that_is_not_root_draws_with_the_sandbox(tmp_path: Path) -> None:
    """Its own user stays, and the sandbox is on."""
    if os.geteuid() != 0:
        pytest.skip("this one is run as somebody else by root; not being root, every other test shows it")
    code = (
        "import os; from pathlib import Path; from handlers.webgl import served; "
        "from handlers.webgl.studio import Studio; "
        "kept = {path: path.read_bytes() for path in served.FILES.values()}; "
        "Path.read_bytes = lambda path: kept[path]; "
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); "  # who may not read this checkout, perhaps
        "s = Studio(os.environ); s.ready(); print(s.is_sandboxed, s.is_software); s.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        timeout=LIMIT_S, check=False, env={**os.environ, "HOME": "/tmp", "TMPDIR": "/tmp"},
    )  # fmt: skip
    assert done.stdout.split()[:1] == ["True"], done.stderr[-2000:]
