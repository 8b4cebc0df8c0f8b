"""What `millhand facts` says, with more time: an emulated machine takes longer than the two seconds of a start."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from worker.machine.detect import as_machine, detect

sys.stdout.write(json.dumps(as_machine(asyncio.run(detect(os.environ, limit_s=60.0)))) + "\n")
