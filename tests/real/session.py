"""An agent in a group that it shares with others, as in a login session: what its minder may do there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from worker.minder.groups import Groups

if len(sys.argv) == 1:  # the agent; its parent, a shell, is a stranger
    subprocess.run([sys.executable, __file__, "minder"], check=True)
else:
    groups = Groups.open("session")
    group = groups.make(1)
    member = subprocess.Popen(
        ["/bin/sh", "-c", 'echo 0 >"$0"; read line', *group.join_files], stdin=subprocess.PIPE
    )
    while not group.pids():
        pass
    answer = {
        "reason": groups.reason,
        "controllers": sorted(groups.controllers),
        "own": Path("/proc/self/cgroup").read_text().strip(),
        "is_killed": group.kill(),
        "signal": -member.wait(),
    }
    group.remove()
    groups.close()
    sys.stdout.write(json.dumps(answer) + "\n")
