"""Alert rules as Prometheus reads them: right as they are shipped, and each fires where it must."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.real.engine import missing

HERE = Path(__file__).resolve().parent
RULES = HERE.parents[1] / "deploy/monitoring"
LIMIT_S = 300.0  # a bound for a hang: the package is fetched at the first time
NOT_TO_BE_HAD = 75  # what the script says; promtool itself has 1 to 3


@pytest.mark.parametrize("command", [("check", "rules"), ("test", "rules")], ids=" ".join)
def test_promtool_accepts_the_rules_and_their_tests(command: tuple[str, ...]) -> None:
    """The program is Debian's; the tests say of each alert when it fires, and when it does not yet."""
    file = RULES / ("alerts.yaml" if command[0] == "check" else "alerts_test.yaml")
    ran = subprocess.run(
        [str(HERE / "prometheus.sh"), "promtool", *command, str(file)],
        capture_output=True, text=True, timeout=LIMIT_S, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if ran.returncode == NOT_TO_BE_HAD:
        missing(ran.stderr)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "SUCCESS" in ran.stdout


def test_promtool_refuses_a_rule_that_is_wrong(tmp_path: Path) -> None:
    """Else the tests above would show nothing."""
    (tmp_path / "bad.yaml").write_text("groups: [{name: a, rules: [{alert: b, expr: 'sum('}]}]\n")
    command = [str(HERE / "prometheus.sh"), "promtool", "check", "rules", str(tmp_path / "bad.yaml")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if ran.returncode == NOT_TO_BE_HAD:
        missing(ran.stderr)
    assert ran.returncode != 0
    assert "SUCCESS" not in ran.stdout
