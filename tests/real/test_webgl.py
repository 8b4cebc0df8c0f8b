"""`render-webgl` in a real Chromium: what the pictures show, what the page cannot do, how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from handlers import models
from handlers.webgl.chromium import SANDBOX
from handlers.webgl.studio import Studio
from tests.real.engine import engine
from tests.real.pixels import blocks, difference, read_png
from tests.unit.handlers.glb_files import CORNERS, TRIANGLE, glb
from worker import Cancelled, Fail, Retry
from worker.sdk.testing import ToldContext, make_context
from worker.testing import ChildRunner, check_handler

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())
COMPRESSED = Path(__file__).with_name("models")
TOLERANCE = 12.0  # of 255, of a block's mean: builds of Chromium differ in edges and in the last bit
LIMIT_S = 120.0
SIZE = {"width": 128, "height": 128}


@pytest.fixture(scope="module", autouse=True)
def chromium() -> Iterator[str]:
    """Have a browser; CI runs as root, where it becomes nobody."""
    with engine("with_chromium.sh", "MILLHAND_CHROMIUM") as program, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILLHAND_CHROMIUM", program)
        yield program


@pytest.fixture(scope="module")
def studio(chromium: str) -> Iterator[Studio]:
    """Start one browser for all tests that leave it as it is."""
    made = Studio(os.environ)
    yield made
    made.close()


@pytest.fixture
def own_studio() -> Iterator[Studio]:
    """Start a browser for a test that does harm to it."""
    made = Studio(os.environ)
    made.ready()
    yield made
    made.kill()


Draws = Callable[..., tuple[dict[str, Any], Path]]


@pytest.fixture
def draws(studio: Studio, tmp_path: Path) -> Draws:
    """Return a function that draws a model of the demo, and returns result and folder."""

    def draw(model: str | Path = "gear.glb", **parameters: Any) -> tuple[dict[str, Any], Path]:
        return render(make_context(tmp_path, state=studio), model, **parameters), tmp_path

    return draw


def render(ctx: ToldContext, model: str | Path = "gear.glb", **parameters: Any) -> dict[str, Any]:
    """Call the handler."""
    from handlers.render_webgl import render_webgl

    source = models.folder() / model if isinstance(model, str) else model
    return render_webgl(ctx, input=str(source), **(SIZE | parameters))


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


@pytest.mark.parametrize("name", ["gear", "vase", "terrain", "orrery"])
def test_a_model_looks_as_it_did(draws: Draws, name: str) -> None:
    """Block by block, within what builds of Chromium differ by; and to the byte in the same one."""
    _, folder = draws(f"{name}.glb", output="one")
    draws(f"{name}.glb", output="two")
    picture = read_png(folder / "one.png")
    assert (folder / "one.png").read_bytes() == (folder / "two.png").read_bytes()
    assert difference(blocks(picture), GOLDEN[name]) < TOLERANCE


def test_the_pictures_are_told_apart() -> None:
    """The comparison sees that a vase is no gear: it cannot pass by being blind."""
    assert difference(GOLDEN["vase"], GOLDEN["gear"]) > 3 * TOLERANCE
    assert difference(GOLDEN["orrery"], GOLDEN["terrain"]) > 3 * TOLERANCE


@pytest.mark.parametrize("how", ["draco", "meshopt"])
def test_a_compressed_model_looks_as_the_plain_one(draws: Draws, tmp_path: Path, how: str) -> None:
    """Made by the tools that artists use, decoded by our own files; a damaged one ends in words."""
    path = COMPRESSED / f"gear-{how}.glb"
    result, folder = draws(path)
    assert result["triangles"] == 1152
    assert difference(blocks(read_png(folder / f"gear-{how}.png")), GOLDEN["gear"]) < TOLERANCE
    content = bytearray(path.read_bytes())
    binary = 20 + int.from_bytes(content[12:16], "little") + 8
    content[binary:] = bytes(255 - one for one in content[binary:])
    (tmp_path / "bad.glb").write_bytes(content)
    with pytest.raises(Fail, match=r"bad\.glb cannot be drawn: .+"):
        draws(tmp_path / "bad.glb")
    assert draws(path)[0]["triangles"] == 1152


def test_the_background_is_exactly_the_one_asked_for(draws: Draws) -> None:
    """Colour, or nothing at all."""
    _, folder = draws(background="#20242c", output="dark")
    assert read_png(folder / "dark.png")[0, 0, :3].tolist() == [0x20, 0x24, 0x2C]
    _, folder = draws(background="transparent", output="clear")
    clear = read_png(folder / "clear.png")
    assert clear[0, 0, 3] == 0
    assert clear[64, 64, 3] == 255 or clear[90, 64, 3] == 255


@pytest.mark.parametrize(("format_", "head"), [("jpeg", b"\xff\xd8"), ("webp", b"RIFF"), ("png", b"\x89PNG")])
def test_each_format_is_written(draws: Draws, format_: str, head: bytes) -> None:
    """By its head; less quality makes fewer bytes."""
    fine, folder = draws(format=format_, quality=95, output="fine")
    poor, _ = draws(format=format_, quality=10, output="poor")
    assert (folder / fine["files"][0]).read_bytes().startswith(head)
    assert fine["bytes"] >= poor["bytes"]
    assert (fine["bytes"] > poor["bytes"]) is (format_ != "png")


def test_light_and_edges_change_the_picture(draws: Draws) -> None:
    """No light leaves it black; smooth edges have more colours than rough ones."""
    _, folder = draws(light="none", background="#ffffff", output="black")
    assert read_png(folder / "black.png")[80, 64, :3].max() < 30
    colours = {}
    for smooth in (True, False):
        draws(light="none", antialias=smooth, output=f"edge-{smooth}")
        colours[smooth] = len(np.unique(read_png(folder / f"edge-{smooth}.png")[..., 0]))
    assert colours[True] > colours[False]


def test_the_camera_stands_where_it_is_put(draws: Draws) -> None:
    """From far away the model is small; what it looks at is in the middle."""
    near, folder = draws(output="near", background="transparent")
    far, _ = draws(output="far", background="transparent", camera=[0, 0, 30], target=[0, 0, 0])
    assert far["camera"] == [0, 0, 30]
    seen = {name: (read_png(folder / f"{name}.png")[..., 3] > 0).mean() for name in ("near", "far")}
    assert 0 < seen["far"] < seen["near"] / 10
    assert near["triangles"] == far["triangles"] == 1152


def test_an_automatic_camera_cuts_nothing_off(draws: Draws) -> None:
    """Of no model, from any side, in any shape of picture: the outermost pixels are empty."""
    for size in ({"width": 160, "height": 60}, {"width": 60, "height": 160}):
        for model in ("bolt.glb", "terrain.glb"):
            for elevation in (0, 45, 90):  # below, a terrain has nothing to show
                _, folder = draws(model, background="transparent", elevation=elevation, **size)
                seen = read_png(folder / model.replace("glb", "png"))[..., 3]
                assert seen.max() == 255
                assert max(edge.max() for edge in (seen[0], seen[-1], seen[:, 0], seen[:, -1])) == 0


def test_a_turntable_is_numbered_and_turns(studio: Studio, tmp_path: Path) -> None:
    """Each frame is told; opposite ones differ; a frame alone is the same picture."""
    ctx = make_context(tmp_path, state=studio)
    result = render(ctx, "vase.glb", frames=4, light="direct", output="turn")
    assert result["files"] == [f"turn-000{number}.png" for number in range(1, 5)] == list(ctx.told.artifacts)
    assert [message for _, message in ctx.told.progress][-4:] == [f"frame {i} of 4" for i in range(1, 5)]
    assert set(ctx.told.content_types.values()) == {"image/png"}
    third = (tmp_path / "turn-0003.png").read_bytes()
    render(make_context(tmp_path, state=studio), "vase.glb", frames=4, frame=3, light="direct", output="turn")
    assert (tmp_path / "turn-0003.png").read_bytes() == third
    render(make_context(tmp_path, state=studio), "gear.glb", frames=4, output="gear")
    first, second = (read_png(tmp_path / f"gear-000{number}.png") for number in (1, 2))
    assert (first != second).any()


def test_files_beside_a_gltf_are_drawn(draws: Draws, tmp_path: Path) -> None:
    """Its buffer lies below its folder."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a b.bin").write_bytes(CORNERS)
    described = TRIANGLE | {"buffers": [{"byteLength": 36, "uri": "sub/a%20b.bin"}]}
    (tmp_path / "part.gltf").write_text(json.dumps(described))
    assert draws(tmp_path / "part.gltf")[0]["triangles"] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"meshes": [{"primitives": [{"attributes": {}}]}]}, "cannot be drawn"),
        ({"nodes": [{}]}, "nothing that can be drawn"),
        (
            {"accessors": [{"bufferView": 0, "componentType": 7, "count": 3, "type": "VEC3"}]},
            "cannot be drawn",
        ),
    ],
)
def test_a_model_that_cannot_be_drawn_is_told_and_the_next_one_is_fine(
    draws: Draws, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    """By the page's own words; the browser stays."""
    path = tmp_path / "bad.glb"
    path.write_bytes(glb(TRIANGLE | change))
    with pytest.raises(Fail, match=rf"bad\.glb.*{said}"):
        draws(path)
    assert draws()[0]["triangles"] == 1152


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
