"""Prices: read from a file, and what runs cost by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from server.prices import MAX_BYTES, PricesError, read_prices
from server.store.usage import Ending, UsageRow

GOOD = """
currency = "EUR"

[[price]]
machine_type = "g2-*"
spot = true
machine_hour = 0.36
slots = 2

[[price]]
machine_type = "g2-*"
gpu_type = "NVIDIA L4"
gpu_hour = 0.72
cpu_hour = 0.036

[[price]]
task_type = "sleep"
machine_hour = 0
"""


def row(**given: Any) -> UsageRow:
    """Return an hour of one run on a spot machine of which everything is known."""
    facts = {"machine": "node", "machine_type": "g2-standard-8", "gpu_type": "NVIDIA L4", "zone": "eu-a"}
    used = {"wall_s": 3600.0, "cpu_s": 1800.0, "gpu_s": 3600.0, "ram_byte_s": 0.0}
    whole = {
        "task_type": "render",
        "preemptible": True,
        "ending": Ending.SUCCEEDED,
        "runs": 1,
        **facts,
        **used,
    }
    return UsageRow(**{**whole, **given})


@pytest.mark.parametrize(
    ("given", "amount", "reason"),
    [
        ({}, 0.18, ""),  # a slot of two
        ({"wall_s": 7200.0}, 0.36, ""),
        ({"preemptible": False}, 0.72 + 0.018, ""),
        ({"preemptible": None}, None, "a price asks for a fact that they never told"),
        ({"machine_type": None}, None, "a price asks for a fact that they never told"),
        ({"machine_type": None, "preemptible": False, "gpu_type": "T4"}, None, "no price fits"),
        ({"machine_type": "n2", "task_type": "sleep"}, 0.0, ""),
        ({"machine_type": "n2"}, None, "no price fits"),
        ({"wall_s": None}, None, "how long they took is unknown"),
        ({"preemptible": False, "gpu_s": None}, None, "their GPU time is unknown"),
        ({"preemptible": False, "cpu_s": None}, None, "their CPU time is unknown"),
    ],
)
def test_the_first_price_that_fits_counts(
    tmp_path: Path, given: dict[str, Any], amount: float | None, reason: str
) -> None:
    """What a run never told makes its cost unknown; what says that a price is for others passes it by."""
    path = tmp_path / "prices.toml"
    path.write_text(GOOD)
    cost = read_prices(path).cost_of(row(**given))
    assert (cost.amount, cost.reason) == (pytest.approx(amount) if amount is not None else None, reason)


def test_a_run_that_had_no_gpu_is_priced_by_what_comes_after_those_of_gpus(tmp_path: Path) -> None:
    """Its GPU time says so; which machine it was on, with which GPUs, that does not say."""
    path = tmp_path / "prices.toml"
    path.write_text(
        'currency = "EUR"\n[[price]]\ngpu_type = "*NVIDIA L4"\ngpu_hour = 0.5\n[[price]]\ncpu_hour = 2.0\n'
    )
    prices = read_prices(path)
    assert prices.cost_of(row(gpu_type=None, gpu_s=0.0)).amount == 1.0
    assert prices.cost_of(row(gpu_type="2x NVIDIA L4", gpu_s=7200.0)).amount == 1.0
    assert prices.cost_of(row(gpu_type=None, gpu_s=None)).amount is None
    assert prices.cost_of(row(gpu_type=None, gpu_s=3600.0)).amount is None
    path.write_text('currency = "EUR"\n[[price]]\ngpu_type = "*L4"\ngpu_hour = 1\nmachine_hour = 1\n')
    assert read_prices(path).cost_of(row(gpu_type=None, gpu_s=0.0)).amount is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "currency"),
        ('currency = "EUR"', "price"),
        ('currency = "EUR"\nprice = []', "length >= 1"),
        ('currency = "EUR"\n[[price]]\nspot = true', "entry 1 of [[price]] has no price"),
        ('currency = "EUR"\n[[price]]\ngpu_hour = 1\nslots = 2', "entry 1 of [[price]] shares a machine"),
        ('currency = "EUR"\n[[price]]\nmachine_hours = 1', "unknown field `machine_hours` - at `$.price[0]`"),
        ('currency = "EUR"\n[[price]]\nmachine_hour = -1', ">= 0.0"),
        ('currency = "EUR"\n[[price]]\nmachine_hour = nan', "machine_hour"),
        ('currency = "EUR"\n[[price]]\nmachine_hour = inf', "machine_hour"),
        ('currency = "EUR"\n[[price]]\nmachine_hour = 1\nslots = 0', ">= 1"),
        ("currency = ", "prices.toml"),
        ("\x00\x01", "prices.toml"),
    ],
)
def test_a_file_that_is_wrong_is_told_with_the_place(tmp_path: Path, text: str, said: str) -> None:
    """Nobody shall read a sum that a slip of the pen made."""
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(PricesError) as raised:
        read_prices(path)
    assert said in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """None, a folder, no text, one without end."""
    with pytest.raises(PricesError, match="No such file"):
        read_prices(tmp_path / "none.toml")
    with pytest.raises(PricesError, match="directory"):
        read_prices(tmp_path)
    path = tmp_path / "prices.toml"
    path.write_bytes(b'currency = "\xff"')
    with pytest.raises(PricesError):
        read_prices(path)
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(PricesError, match="larger than 1 MiB"):
        read_prices(path)
