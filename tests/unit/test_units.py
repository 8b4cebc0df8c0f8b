"""The units of systemd: what is said twice is said alike."""

from __future__ import annotations

from pathlib import Path

UNITS = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
OF_AN_INSTANCE = "EnvironmentFile=/etc/millhand/agent-%i.env"


def lines(name: str) -> list[str]:
    """Return what a unit sets."""
    return [line for line in (UNITS / name).read_text().splitlines() if line and not line.startswith("#")]


def test_one_agent_of_several_differs_by_its_name_alone() -> None:
    """What is mended in one unit and not in the other would be found at three in the morning."""
    one = [line.replace("millhand agent", "millhand agent %i") for line in lines("millhand-agent.service")]
    one = [line.replace("millhand/agent", "millhand/agent-%i") for line in one]
    one = [line.replace("agent-%i.env", "agent.env") for line in one]
    several = [line for line in lines("millhand-agent@.service") if line != OF_AN_INSTANCE]
    assert [line.replace("bin/millhand agent %i", "bin/millhand agent") for line in one] == several
