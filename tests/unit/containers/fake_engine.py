"""A container engine that does what a test says: docker's command line, answers from a file, calls noted.

The folder beside it holds `answers.json` (for a command: exit code, stdout, stderr), `calls` (a line of
JSON for each call), and `containers` (a file for each that was made).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[0]).resolve().parent
ID = "c" * 64


def main(argv: list[str]) -> int:
    """Answer one call."""
    with (FOLDER / "calls").open("a") as calls:
        calls.write(json.dumps(argv) + "\n")
    answers = json.loads((FOLDER / "answers.json").read_text())
    command = " ".join(argv[:2]) if argv[0] in ("image", "container") else argv[0]
    told: dict[str, Any] = answers.get(command, {})
    if command == "start" and told.get("waits"):
        return wait_for_the_end(told)
    if command == "stop":
        (FOLDER / "stopped").touch()
    if command == "rm":
        (FOLDER / "containers" / argv[-1]).unlink(missing_ok=True)
    if command == "create" and not told.get("code"):
        (FOLDER / "containers" / ID).touch()
        told = {"out": ID + "\n", **told}
    if command == "pull" and not told.get("code"):
        (FOLDER / "answers.json").write_text(json.dumps({**answers, "image inspect": answers["after pull"]}))
    sys.stdout.write(told.get("out", ""))
    sys.stderr.write(told.get("err", ""))
    sys.stdout.flush()
    return int(told.get("code", 0))


def wait_for_the_end(told: dict[str, Any]) -> int:
    """Print, and go on until the container is stopped."""
    sys.stdout.write(told.get("out", ""))
    sys.stdout.flush()
    give_up_mono = time.monotonic() + 60
    while not (FOLDER / "stopped").exists() and time.monotonic() < give_up_mono:
        time.sleep(0.01)
    return 143


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
