"""The shipped units and their installer on a real systemd, as deploy/README.md has operators use them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.host import AGENT, Host
from tests.real.installed import HOW, INSTALL, WAITS, installed_host

PLACES = ("/run/credentials/millhand-agent.service/token", "/etc/millhand/token")
HANDLERS = f'''{WAITS}
PLACES = {PLACES!r}

@handler("thief")
def thief(ctx: Context) -> dict:
    """Try to read the agent's token."""
    found = {{}}
    for path in PLACES:
        try:
            found[path] = Path(path).read_text()
        except OSError as exc:
            found[path] = type(exc).__name__
    return found
'''


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """Boot, and install server and agent from the wheel of this tree."""
    with installed_host(HANDLERS, "WatchdogSec=15s\nEnvironment=MILLHAND_DRAIN_TIMEOUT=4\n") as it:
        yield it


def test_the_units_are_without_a_fault_and_hardened(host: Host) -> None:
    """Nothing that systemd does not know; exposure 2.0 at most."""
    for unit in ("millhand-agent.service", "millhand-agent@0.service", "millhand-server.service"):
        assert host.run("systemd-analyze", "verify", "--recursive-errors=no", unit) == ""
        host.run("systemd-analyze", "security", "--threshold=20", unit)


def test_both_are_ready_and_say_how_they_stand(host: Host) -> None:
    """`systemctl start` has returned, so they were ready; the status is a sentence."""
    assert host.show("ActiveState") == "active"
    assert host.show("StatusText", "millhand-server.service") == "listening on http://127.0.0.1:8077"
    assert "0 of 1 slots busy" in host.wait_for_status("waiting for tasks")
    run = host.last_run(host.submit("noop", "--wait"))
    assert run["resultCode"] == "Success"


def test_a_second_installation_changes_nothing(host: Host) -> None:
    """The services go on, the settings and the token are the operator's."""
    before = host.show("MainPID"), host.sh("cat /etc/millhand/token")
    said = host.sh(f"{INSTALL} install --wheel /wheels/millhand-*.whl {HOW}")
    assert "agent.env is kept" in said
    assert (host.show("MainPID"), host.sh("cat /etc/millhand/token")) == before


def test_a_handler_has_the_token_from_nowhere(host: Host) -> None:
    """Neither where systemd put it nor where it lies."""
    results = host.last_run(host.submit("thief", "--wait"))["results"]
    assert {results[path] for path in PLACES} == {"PermissionError"}, results


def test_a_run_has_a_group_below_the_units_own(host: Host) -> None:
    """What was delegated is used; the state is the unit's user's alone."""
    task = host.submit("waits")
    host.wait(lambda: host.last_run(task).get("startedAt"), "the start of the run")
    groups = host.sh("find /sys/fs/cgroup -type d -name 'millhand-runs-*'").split()
    assert {Path(group).parent.name for group in groups} == {AGENT}
    assert host.sh("stat -c '%U %a' /var/lib/millhand/agent").split() == ["millhand", "700"]
    host.run("touch", "/run/go")
    host.wait(lambda: host.last_run(task).get("resultCode") == "Success", "the result")
    host.run("rm", "/run/go")


def test_an_agent_whose_loop_stands_still_is_replaced_and_its_task_done(host: Host) -> None:
    """The watchdog ends it; the next life gives the run back, and finishes it."""
    task = host.submit("waits")
    host.wait(lambda: host.last_run(task).get("startedAt"), "the start of the run")
    pid, restarts = host.show("MainPID"), int(host.show("NRestarts"))
    host.run("kill", "-STOP", pid)
    host.wait(lambda: int(host.show("NRestarts")) > restarts, "the watchdog's restart")
    host.wait(lambda: host.show("ActiveState") == "active" and host.show("MainPID") != pid, "the next life")
    host.run("touch", "/run/go")
    host.wait(lambda: host.last_run(task).get("resultCode") == "Success", "the result")
    host.run("rm", "/run/go")
    assert "watchdog" in host.run("journalctl", "--unit", AGENT, "--no-pager").lower()


def test_a_server_that_is_away_has_no_agent_restarted(host: Host) -> None:
    """Longer than the watchdog's time; then the agent works on, and says meanwhile what is wrong."""
    pid = host.show("MainPID")
    host.run("systemctl", "stop", "millhand-server.socket", "millhand-server.service")
    host.wait_for_status("the server does not answer")
    host.run("sleep", "17")  # more than WatchdogSec=15s
    assert host.show("MainPID") == pid
    host.run("systemctl", "start", "millhand-server.service")
    host.wait_for_status("waiting for tasks")
    assert host.last_run(host.submit("noop", "--wait"))["resultCode"] == "Success"


def test_a_stop_drains_and_the_task_goes_on_later(host: Host) -> None:
    """The run is given back before the unit is down; a stop that was asked for is no failure."""
    task = host.submit("waits")
    host.wait(lambda: host.last_run(task).get("startedAt"), "the start of the run")
    host.run("systemctl", "stop", AGENT)
    assert (host.show("ActiveState"), host.show("Result")) == ("inactive", "success")
    runs = host.millhand("runs", "--task", task)["runs"]
    assert sorted(bool(run["stoppedAt"]) for run in runs) == [False, True]  # and the placeholder
    assert [run["error"].partition(":")[0] for run in runs if run["stoppedAt"]] == ["drained"]
    host.run("touch", "/run/go")
    host.run("systemctl", "start", AGENT)
    host.wait(lambda: host.last_run(task).get("resultCode") == "Success", "the result")
    host.run("rm", "/run/go")


def test_an_agent_that_does_not_stop_is_killed_and_nothing_is_lost(host: Host) -> None:
    """TimeoutStopSec over, everything of the unit is gone; the journal has what its next life needs."""
    host.drop_in(AGENT, "short", "[Service]\nTimeoutStopSec=1s\nTimeoutAbortSec=1s\n")
    task = host.submit("waits")
    host.wait(lambda: host.last_run(task).get("startedAt"), "the start of the run")
    pid = host.show("MainPID")
    host.run("systemctl", "stop", "--no-block", AGENT)
    host.wait_for_status("draining")  # systemd's SIGCONT is behind it
    host.run("kill", "-STOP", pid)
    host.wait(lambda: host.show("ActiveState") == "failed", "the end of its patience")
    assert host.show("Result") == "timeout"
    assert host.sh("pgrep -u millhand -c", code=None).strip() == "0"
    host.run("touch", "/run/go")
    host.run("systemctl", "reset-failed", AGENT)
    host.run("systemctl", "start", AGENT)
    host.wait(lambda: host.last_run(task).get("resultCode") == "Success", "the result")
    host.sh(f"rm /run/go /etc/systemd/system/{AGENT}.d/short.conf && systemctl daemon-reload")


def test_a_setting_that_is_wrong_is_told_and_not_tried_again(host: Host) -> None:
    """A restart does not mend it; the log says which one it is."""
    host.sh("echo MILLHAND_CONCURRENCY=many >/etc/millhand/agent-bad.env")
    host.run("systemctl", "start", "millhand-agent@bad", code=1)
    assert host.show("NRestarts", "millhand-agent@bad") == "0"
    assert "MILLHAND_CONCURRENCY" in host.run("journalctl", "--unit", "millhand-agent@bad", "--no-pager")


def test_one_agent_of_several_has_its_own_settings_and_state(host: Host) -> None:
    """As one for each GPU: the instance's file says which."""
    host.sh(
        r"printf 'MILLHAND_GPUS=0\nMILLHAND_HTTP_PORT=0\nMILLHAND_TYPES=sleep\n'"
        " >/etc/millhand/agent-gpu0.env"
    )
    host.drop_in("millhand-agent@gpu0.service", "test", "[Service]\nEnvironment=MILLHAND_CLOUD=none\n")
    host.run("systemctl", "start", "millhand-agent@gpu0")
    run = host.last_run(host.submit("sleep", "-p", "seconds=0", "--wait"))
    assert run["resultCode"] == "Success"
    assert "agent-id" in host.run("ls", "/var/lib/millhand/agent-gpu0")
    host.run("systemctl", "stop", "millhand-agent@gpu0")


def test_an_upgrade_under_work_loses_no_run_and_can_be_taken_back(host: Host) -> None:
    """The services restart one after another; whoever asks meanwhile is answered late, not refused."""
    task = host.submit("waits")
    host.wait(lambda: host.last_run(task).get("startedAt"), "the start of the run")
    before = host.sh("readlink /opt/millhand/current")
    said = host.sh(f"{INSTALL} upgrade --wheel /second/millhand-*.whl {HOW}")
    assert "restarting millhand-agent.service" in said
    host.run("touch", "/run/go")
    host.wait(lambda: host.last_run(task).get("resultCode") == "Success", "the result")
    host.run("rm", "/run/go")
    assert host.sh("readlink /opt/millhand/current") != before
    host.sh("/deploy/install.sh rollback")
    assert host.sh("readlink /opt/millhand/current") == before
    assert host.last_run(host.submit("noop", "--wait"))["resultCode"] == "Success"


def test_a_removal_keeps_results_that_only_this_host_has(host: Host) -> None:
    """A purge is refused while one waits; a plain removal leaves the state where it is."""
    task = host.submit("waits")
    host.wait(lambda: host.last_run(task).get("startedAt"), "the start of the run")
    host.run("systemctl", "stop", "millhand-server.socket", "millhand-server.service")
    host.run("touch", "/run/go")
    host.wait_for_status("outcomes to deliver")
    assert "results that no server has" in host.sh("/deploy/install.sh uninstall --purge", code=1)
    assert host.show("ActiveState") == "active"
    host.sh("/deploy/install.sh uninstall")
    assert host.sh("ls /opt/millhand /usr/local/lib/systemd/system/millhand-agent.service", code=2)
    assert "journal" in host.sh("ls /var/lib/millhand/agent")


def test_a_purge_after_such_a_removal_is_refused_as_well(host: Host) -> None:
    """No program is left that could read the journal; what the removal saw of it counts."""
    assert "--force" in host.sh("/deploy/install.sh uninstall --purge", code=1)
    host.sh("/deploy/install.sh uninstall")  # which sees nothing more
    assert "results that no server has" in host.sh("/deploy/install.sh uninstall --purge", code=1)
    assert "journal" in host.sh("ls /var/lib/millhand/agent")
    host.sh("/deploy/install.sh uninstall --purge --force")
    assert host.sh("ls -d /etc/millhand /var/lib/millhand", code=2)
