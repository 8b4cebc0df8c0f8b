"""Parameters as they are typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from worker.cli.exits import CliError, ExitCode
from worker.cli.parameters import (
    combinations,
    one_set,
    parse_value,
    read_param_file,
    read_requires,
    with_limits,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("64", 64), ("1.5", 1.5), ("true", True), ("null", None), ('"1.10"', "1.10"), ("[1,2]", [1, 2]),
        ("stl", "stl"), ("a,b", "a,b"), ("NaN", "NaN"), ("-Infinity", "-Infinity"), ("", ""), ("{", "{"),
        ("1e400", "1e400"), ("a=b=ü", "a=b=ü"), ("[" * 100_000, "[" * 100_000), ("9" * 5000, "9" * 5000),
    ],
)  # fmt: skip
def test_a_value_is_json_where_it_is_json_and_text_otherwise(text: str, value: Any) -> None:
    """Numbers are numbers, words are words, and what JSON does not have stays text."""
    assert parse_value(text) == value


def test_a_range_makes_a_set_for_each_value() -> None:
    """Both ends belong to it, and a step may be given."""
    assert combinations([("frame", "1..3")]) == [{"frame": 1}, {"frame": 2}, {"frame": 3}]
    assert combinations([("n", "0..10..5")]) == [{"n": 0}, {"n": 5}, {"n": 10}]
    assert combinations([("n", "-1..0")]) == [{"n": -1}, {"n": 0}]
    assert combinations([("text", '"1..3"')]) == [{"text": "1..3"}]


def test_repeated_parameters_make_every_combination() -> None:
    """What is given several times has several values; the first name varies slowest."""
    sets = combinations([("format", "stl"), ("size", "1..2"), ("format", "ply")])
    assert sets == [
        {"format": "stl", "size": 1}, {"format": "stl", "size": 2},
        {"format": "ply", "size": 1}, {"format": "ply", "size": 2},
    ]  # fmt: skip


def test_no_parameters_are_one_empty_set() -> None:
    """A task may have no parameters."""
    assert combinations([]) == [{}]
    assert one_set([]) == {}


@pytest.mark.parametrize("text", ["3..1", "1..5..0"])
def test_an_empty_range_is_an_error(text: str) -> None:
    """A job without tasks is not what was meant."""
    with pytest.raises(CliError, match="no values") as caught:
        combinations([("n", text)])
    assert caught.value.code is ExitCode.USAGE


def test_too_many_tasks_are_refused_before_they_are_made() -> None:
    """A slip in a range makes no million of tasks, and takes no memory."""
    with pytest.raises(CliError, match="100000"):
        combinations([("a", "1..1000000000000"), ("b", "1..2")])


def test_a_single_run_takes_one_set() -> None:
    """`millhand run` does not guess which of several is meant."""
    assert one_set([("size", "64")]) == {"size": 64}
    with pytest.raises(CliError, match="2 sets"):
        one_set([("size", "1..2")])


def test_a_parameter_file_holds_an_object_or_a_list(tmp_path: Path) -> None:
    """What is given by name wins over the file."""
    one, many, toml = tmp_path / "one.json", tmp_path / "many.json", tmp_path / "one.toml"
    one.write_text('{"a": 1, "b": 2}')
    many.write_text('[{"a": 1}, {"a": 2}]')
    toml.write_text("a = 1")
    assert combinations([("b", "3")], read_param_file(one)) == [{"a": 1, "b": 3}]
    assert combinations([], read_param_file(many)) == [{"a": 1}, {"a": 2}]
    assert read_param_file(toml) == [{"a": 1}]


@pytest.mark.parametrize("content", ["", "[]", "7", "[1]", '{"a": NaN}', "{"])
def test_another_parameter_file_is_an_error(tmp_path: Path, content: str) -> None:
    """The message names the file."""
    path = tmp_path / "params.json"
    path.write_text(content)
    with pytest.raises(CliError, match=r"params\.json"):
        read_param_file(path)
    with pytest.raises(CliError, match="No such file"):
        read_param_file(tmp_path / "missing.json")


def test_requirements_are_checked_before_they_are_sent() -> None:
    """What no agent could read is told to the person who typed it."""
    assert read_requires([]) is None
    assert read_requires([("gpus", "1"), ("memory", "4GiB"), ("labels", "zone=a"), ("labels", "ssd")]) == {
        "gpus": 1, "memory": "4GiB", "labels": ["zone=a", "ssd"],
    }  # fmt: skip
    with pytest.raises(CliError, match="colour"):
        read_requires([("colour", "blue")])


def test_limits_that_are_typed_win_over_those_in_parameters() -> None:
    """The rest of the parameters' own stays; what no agent could read is told at once."""
    told = {"timeout": 5.0, "noProgress": None}
    assert with_limits({"a": 1}, {"timeout": None}) == {"a": 1}
    assert with_limits({"a": 1}, told) == {"a": 1, "limits": {"timeout": 5.0}}
    assert with_limits({"limits": {"timeout": "1h", "memory": 7}}, told) == {
        "limits": {"timeout": 5.0, "memory": 7}
    }
    assert with_limits({"limits": {"memory": 7}}, {}) == {"limits": {"memory": 7}}
    with pytest.raises(CliError, match=r"limits\.memory"):
        with_limits({"limits": {"memory": "much"}}, told)


@pytest.mark.parametrize(("name", "text"), [("p.json", '{"a": 1e400}'), ("p.toml", "a = inf")])
def test_a_number_that_json_cannot_carry_is_refused(tmp_path: Path, name: str, text: str) -> None:
    """It would reach the handler as something else."""
    (tmp_path / name).write_text(text)
    with pytest.raises(CliError, match="no number of JSON"):
        read_param_file(tmp_path / name)
