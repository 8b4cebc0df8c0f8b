"""A real agent at work, seen in a real Chromium: what it prints and makes is on the page while it does."""

from __future__ import annotations

import os
from pathlib import Path

from tests.acceptance.agents import running_agent
from tests.integration.dashboard import Site
from tests.real.pages import Window

STEPS = 4
PAINTER = '''
import time
import zlib
from pathlib import Path
from struct import pack

from worker import Context, handler

def part(kind, body):
    return pack(">I", len(body)) + kind + body + pack(">I", zlib.crc32(kind + body))

@handler("paint")
def paint(ctx: Context, *, folder: str, steps: int) -> dict[str, int]:
    """Go a step further with each file that appears, and make a picture."""
    for step in range(steps):
        print(f"stroke {step} of the painter", flush=True)
        ctx.progress(step / steps, f"stroke {step}")
        while not (Path(folder) / str(step)).exists():
            time.sleep(0.02)
    rows = b"".join(b"\\0" + bytes([40, 90, 200] * 64) for _ in range(48))
    picture = b"\\x89PNG\\r\\n\\x1a\\n" + part(b"IHDR", pack(">IIBBBBB", 64, 48, 8, 2, 0, 0, 0))
    Path("blue.png").write_bytes(picture + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b""))
    ctx.artifact("blue.png")
    return {"strokes": steps}
'''


def test_what_a_running_handler_prints_and_makes_is_seen(
    here: Site, page: Window, store: Path, tmp_path: Path
) -> None:
    """From the machine to the last line of its log, without a page being loaded again, to its picture."""
    (tmp_path / "painter.py").write_text(PAINTER)
    steps = tmp_path / "steps"
    steps.mkdir()
    settings = {
        "MILLHAND_HANDLERS": str(tmp_path / "painter.py"),
        "MILLHAND_REPORT_INTERVAL": "0.2",
        "MILLHAND_STORE": str(store),
        "MILLHAND_TYPES": "paint",
    }
    task = here.task(here.job(type="paint"), type="paint", parameters={"folder": str(steps), "steps": STEPS})
    page.go(f"{here.server.url}/ui/machines")
    page.until("document.getElementById('live').innerText == 'live'")
    page.run("window.same = true")
    with running_agent(tmp_path / "agent", here.server.url, here.server.token, slots=1, settings=settings):
        page.until("document.querySelector('main a[href*=\"/runs/\"]') !== null")
        page.until("document.body.innerText.includes('takes paint')")
        assert page.run("window.same") is True
        (run,) = here.api.get("/api/jobs/runs", params={"taskId": task["id"]}).json()["runs"]
        assert run["podId"] in page.text
        page.click("main a[href*='/runs/']")
        page.until("document.getElementById('live').innerText == 'live'")
        page.run("window.same = true")
        for step in range(STEPS):
            page.until(f"document.querySelector('.log')?.innerText.includes('stroke {step} of')")
            assert f"stroke {step + 1} of" not in page.text
            (steps / str(step)).touch()
        page.until("document.querySelector('.state').innerText.includes('succeeded')")
        page.until("document.querySelector('.files img')?.naturalWidth === 64")
        assert page.run("window.same") is True
    assert "CPU, cores in use" in page.text
    if pictures := os.environ.get("MILLHAND_PICTURES"):
        page.picture(Path(pictures) / "run-at-work.png")
    page.click(".files a[href$='/files/0']")
    assert page.run("document.images[0].naturalWidth") == 64
    stdout = f"{here.server.url}/ui/runs/{run['id']}/files/1"
    page.go(stdout)
    assert page.text.split("\n")[:STEPS] == [f"stroke {step} of the painter" for step in range(STEPS)]
