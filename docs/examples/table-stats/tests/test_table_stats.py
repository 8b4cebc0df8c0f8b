"""The handler, with the fixtures that millhand brings."""

import json

import pytest
from table_stats.handler import table_stats

from worker import Fail
from worker.testing import check_handler


@pytest.fixture
def table(tmp_path):
    """A table of two columns."""
    path = tmp_path / "numbers.csv"
    path.write_text("size,colour\n1,red\n3,blue\n")
    return str(path)


def test_columns_of_numbers_are_described(run_handler, table):
    """Others are named, and nothing is invented for them."""
    ran = run_handler(table_stats, {"input": table})
    assert ran.value["rows"] == 2
    size = {"mean": 2.0, "deviation": 1.0, "least": 1.0, "most": 3.0}
    assert ran.value["columns"] == {"size": size, "colour": None}
    assert json.loads(ran.told.artifacts["stats.json"].read_text())["size"] == size


def test_a_row_that_does_not_fit_is_named(run_handler, tmp_path):
    """A person finds the line."""
    (tmp_path / "odd.csv").write_text("a,b\n1\n")
    with pytest.raises(Fail, match=r"odd\.csv, line 2: 1 values for 2 columns"):
        run_handler(table_stats, {"input": str(tmp_path / "odd.csv")})


def test_it_keeps_the_promises_of_a_handler(table):
    """It runs in real child processes, is killed, and keeps its memory."""
    check_handler(table_stats, {"input": table}, runs=20).assert_ok()
