#!/usr/bin/python3 -S
"""runc, on a machine whose root may neither lower an OOM score nor raise limits of processes."""

import json
import os
import sys
from pathlib import Path

arguments = sys.argv[1:]
if "create" in arguments or "run" in arguments:
    bundle = arguments[arguments.index("--bundle") + 1] if "--bundle" in arguments else "."
    path = Path(bundle, "config.json")
    config = json.loads(path.read_text())
    config["process"]["oomScoreAdj"] = max(0, config["process"].get("oomScoreAdj") or 0)
    config["process"].pop("rlimits", None)
    path.write_text(json.dumps(config))
os.execvp("runc", ["runc", *arguments])  # noqa: S606 -- it is to take this process over
