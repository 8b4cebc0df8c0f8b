"""The meter of an agent that may not look into its run's processes: another user's, as with `--task-user`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.unit.usage.burner import Burner

NOBODY = 65534
METER = """
import json, os, sys
from worker.clock import SystemClock
from worker.usage.meter import Meter
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
meter = Meter(int(sys.argv[1]), SystemClock())
meter.start()
print(json.dumps(meter.finish().as_details()))
"""


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="becomes another user")
def test_what_may_not_be_read_is_null_with_its_reason() -> None:
    """CPU and memory are open to all; the disk is not, nor may the peak be set back: samples are used."""
    with Burner() as burner:
        burner.order("hold(100)")
        answer = subprocess.run(
            [sys.executable, "-c", METER, str(burner.pid), str(NOBODY)],
            capture_output=True,
            check=True,
            timeout=60,
        )
    usage = json.loads(answer.stdout)
    assert usage["diskReadBytes"] is None
    assert usage["diskWrittenBytes"] is None
    assert "another user" in usage["reasons"]["disk_written_bytes"]
    assert "could not be reset" in usage["reasons"]["ram_peak_bytes"]
    assert 0 < usage["ramPeakBytes"] < 40 << 20  # not the hundred MiB of before
    assert usage["cpuUserSeconds"] is not None
