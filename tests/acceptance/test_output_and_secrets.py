"""What a run prints is on the server and in its store, and no secret is anywhere."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from server.testing import running_server
from tests.acceptance.agents import running_agent
from worker.api.client import JobsApi
from worker.api.connect import open_api
from worker.config import ApiConfig

LIMIT_S = 60.0  # a bound for a hang, not a measure
SECRET = 'pass"word of the customer/8'
HANDLER = '''
"""A handler that tells everything it knows."""
import base64, json, os, sys, urllib.parse
from worker import Context, Secret, handler

@handler("telling")
def telling(ctx: Context, *, password: Secret, token: str, how: str) -> dict:
    """Tell two secrets in every form, by every way; then return or fail."""
    for secret in (password, token):
        forms = [secret, json.dumps(secret), json.dumps(json.dumps(secret)), urllib.parse.quote(secret),
                 urllib.parse.quote_plus(secret), "".join(f"%{byte:02x}" for byte in secret.encode()),
                 *(base64.b64encode(b"x" * n + secret.encode() + b"abc").decode() for n in range(3))]
        for form in forms:
            for byte in form.encode():
                os.write(1, bytes([byte]))
            os.write(1, b"\\n")
            print(form, file=sys.stderr)
            ctx.log(form)
    ctx.progress(0.5, " ".join(forms))
    if how == "fail":
        raise ValueError(" ".join(forms))
    return {"forms": forms, "plain": password, "seen": "anyway"}
'''


def forms_of(secret: str) -> list[str]:
    """Return what must not be seen."""
    inner = [base64.b64encode(b"x" * n + secret.encode() + b"abc").decode()[4:-8] for n in range(3)]
    return [secret, json.dumps(secret)[1:-1], quote(secret), quote(secret, safe=""), secret[:12], *inner]


def test_no_secret_leaves_the_agent(tmp_path: Path) -> None:
    """Not in the runs, not in the files of their output, not in the agent's log; everything else does."""
    (tmp_path / "own.py").write_text(HANDLER)
    settings = {
        "MILLHAND_HANDLERS": str(tmp_path / "own.py"),
        "MILLHAND_STORE": str(tmp_path / "store"),
        "MILLHAND_LOG_LEVEL": "debug",
    }

    async def main() -> tuple[list[dict[str, Any]], str]:
        with running_server() as server:
            async with open_api(ApiConfig(url=server.url, token=server.token)) as api:
                with running_agent(tmp_path / "agent", server.url, server.token, slots=1, settings=settings):
                    return [await told(api, server.token, how) for how in ("return", "fail")], server.token

    runs, token = asyncio.run(main())
    log = (tmp_path / "agent" / "agent.log").read_text()
    kept = [path.read_text() for path in sorted((tmp_path / "store").rglob("std*"))]
    assert [sorted(file["name"] for file in run["results"]["files"]) for run in runs] == [
        ["stderr", "stdout"]
    ] * 2
    assert Path(unquote(urlsplit(runs[0]["results"]["files"][0]["url"]).path)).exists()
    assert runs[0]["results"]["seen"] == "anyway"
    assert "run.line" in log
    for text in (json.dumps(runs), log, *kept):
        assert "[redacted]" in text
        for form in forms_of(SECRET) + forms_of(token):
            assert form not in text


async def told(api: JobsApi, token: str, how: str) -> dict[str, Any]:
    """Have the handler run; return its run without the job's and the task's own fields."""
    job = await api.create_job({"type": "telling"})
    parameters = {"password": SECRET, "token": token, "how": how}
    task = await api.create_task({"jobId": job.id, "type": "telling", "parameters": parameters})
    give_up_mono = time.monotonic() + LIMIT_S
    while True:
        runs = await api.list_runs(task_id=task.id)
        if runs and runs[-1].raw["stoppedAt"]:
            return runs[-1].raw
        assert time.monotonic() < give_up_mono, "it did not end"
        await asyncio.sleep(0.05)
