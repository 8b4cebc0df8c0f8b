"""The curl lines of docs/compatibility.md do what they say: by curl itself, and by its words alone."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest

from server.routes.operations import OPERATIONS
from server.testing import RunningServer, running_server
from tests.contract.reference import JOB, REPORT, RUN, TASK, assert_shape

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"
LINES: Final = re.findall(r"^```sh\n(curl .*?)\n```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
SHAPES: Final = {"jobs": JOB, "tasks": TASK, "runs": RUN}
LIMIT_S: Final = 30.0

Answer = tuple[int, Any]


def variables(server: RunningServer) -> dict[str, str]:
    """Return what the page leaves to its reader."""
    return {"API": server.url, "TOKEN": server.token, "ORG": server.org_id}


def by_curl(line: str, server: RunningServer) -> Answer:
    """Type the line at a shell; return the status and the body."""
    command = f'{line} --silent --show-error --write-out "\\n%{{http_code}}"'
    ran = subprocess.run(
        ["sh", "-c", command],
        env={**variables(server), "PATH": "/usr/local/bin:/usr/bin:/bin", "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    body, _, status = ran.stdout.rpartition("\n")
    return int(status), msgspec.json.decode(body)


def by_its_words(line: str, server: RunningServer) -> Answer:
    """Do what the words of the line say, where there is no curl."""
    for name, value in variables(server).items():
        line = line.replace(f"${name}", value)
    words = shlex.split(line.replace("\\\n", " "))
    assert words.pop(0) == "curl"
    given: dict[str, list[str]] = {}
    for option, value in zip(words[::2], words[1::2], strict=True):
        given.setdefault(option, []).append(value)
    assert given.keys() <= {"--request", "--url", "--header", "--data"}
    headers = dict(header.split(": ", 1) for header in given["--header"])
    (method,), (url,) = given["--request"], given["--url"]
    content = "".join(given.get("--data", [])).encode()
    answer = httpx.request(method, url, headers=headers, content=content, timeout=LIMIT_S, trust_env=False)
    return answer.status_code, answer.json()


curl = pytest.param(
    by_curl,
    marks=pytest.mark.skipif(
        shutil.which("curl") is None, reason="no curl here; its words are tried all the same"
    ),
)


@pytest.mark.parametrize("do", [curl, by_its_words])
def test_every_line_of_the_page_is_answered_as_the_reference_documents(
    do: Callable[[str, RunningServer], Answer],
) -> None:
    """One after another, as a reader would type them: 200, and the whole documented object or list."""
    with running_server() as server:
        last: Any = None
        for line in LINES:
            status, last = do(line, server)
            assert status == 200, f"{line}\n{last}"
            check_shape(line, last)
    assert last["runs"][0]["progress"] == 1


def check_shape(line: str, body: Any) -> None:
    """See that an answer is what the reference shows of that path."""
    path = line.split("$API", 1)[1].split('"', 1)[0].split("?", maxsplit=1)[0]
    if path == "/api/jobs/reports":
        items, shape = body["runs"], REPORT
    elif path in ("/api/jobs/tasks", "/api/jobs/runs"):
        kind = path.rpartition("/")[2]
        items, shape = (body[kind] if "--request GET" in line else [body]), SHAPES[kind]
    elif path.count("/") == 4:
        items, shape = [body], SHAPES[path.split("/")[3]]
    else:
        items, shape = (body["jobs"] if isinstance(body, dict) else body), JOB
    assert len(items) == 1
    assert_shape(items[0], shape)


def test_the_page_has_a_line_for_every_endpoint() -> None:
    """All thirteen, and no header of ours in any."""
    asked = set()
    for line in LINES:
        method = re.search(r"--request (\w+)", line)
        path = re.search(r'\$API([^"?]+)', line)
        assert method
        assert path
        asked.add((method[1], re.sub(r"/(job|task|run)-1$", r"/{\1Id}", path[1])))
        assert not re.search("millhand|prefer|request-id", line, re.IGNORECASE)
    served = {(operation.method, operation.path) for operation in OPERATIONS}
    assert asked == {(method, path) for method, path in served if path.startswith("/api/jobs")}
    page = PAGE.read_text("utf-8")
    assert [path for _, path in sorted(served - asked) if f"`{path}`" not in page] == []


def test_every_addition_is_on_the_page() -> None:
    """What a body or a query takes beyond the reference is listed, as are our headers."""
    page = PAGE.read_text("utf-8")
    added = {
        field.name
        for operation in OPERATIONS
        if operation.body
        for field in operation.body.fields
        if "(extension)" in field.description
    }
    added |= {
        one.name for operation in OPERATIONS for one in operation.query if "(extension)" in one.description
    }
    headers = {"Millhand-Agent", "Millhand-Batch", "Millhand-Claims", "Millhand-Lease"}
    headers |= {"Millhand-Scheduler-State", "Prefer"}
    assert {"priority", "type", "CPUTime"} <= added
    assert sorted(name for name in added | headers if f"`{name}" not in page) == []
