"""What `millhand facts` says, with more time than the two seconds of a start: for an emulated machine."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from worker.machine.detect import as_machine, detect

sys.stdout.write(json.dumps(as_machine(asyncio.run(detect(os.environ, limit_s=60.0)))) + "\n")
