"""Logs: their form, and that no secret comes out."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import structlog

from worker import log
from worker.log import PLAIN_MAX, VALUE_CHARS_MAX, short_text
from worker.redaction import REDACTED, Redactor

SECRET = "mh-3f9c1d-secret"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Take the place of stderr, and leave the process's logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    before = structlog.get_config()
    yield io.StringIO()
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)
    structlog.configure(**before)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    """Return the JSON lines."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_utc_time_level_and_fields(stream: io.StringIO) -> None:
    """What is not a terminal gets one JSON object a line."""
    log.configure(stream=stream)
    structlog.get_logger().info("run.claimed", run_id="r1", n=3, ratio=None)
    (line,) = lines(stream)
    assert str(line.pop("at")).endswith("Z")
    assert line == {"event": "run.claimed", "level": "info", "run_id": "r1", "n": 3, "ratio": None}


def test_what_is_below_the_level_is_not_logged(stream: io.StringIO) -> None:
    """A level is the least that comes out."""
    log.configure("warning", stream=stream)
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_text_is_for_people(stream: io.StringIO) -> None:
    """Readable, without colours where nobody asked for them."""
    log.configure(form="text", stream=stream, color=False)
    structlog.get_logger().info("run.claimed", run_id="r1")
    assert "run.claimed" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_secrets_never_come_out(stream: io.StringIO) -> None:
    """By key, by form, by value, nested, and in the text of an exception."""
    log.configure(stream=stream, secrets=[SECRET])
    logger = structlog.get_logger()
    event = f"sent {SECRET}"
    logger.info(
        event,
        token="abc", api_key="k", Authorization="Bearer xyz", header=f"Bearer {SECRET}x",
        url="https://u:pw@h/p?bearer_token=zzz&a=1", nested={"password": "p", "list": [SECRET]},
        tokens=3, error=ValueError(SECRET),
    )  # fmt: skip
    try:
        raise RuntimeError(f"with {SECRET}")
    except RuntimeError:
        logger.exception("failed")
    text = stream.getvalue()
    for secret in (SECRET, "abc", "xyz", "pw@", "zzz", '"p"'):
        assert secret not in text
    assert lines(stream)[0]["tokens"] == 3
    assert "a=1" in text


def test_secrets_do_not_come_out_as_keys_of_maps(stream: io.StringIO) -> None:
    """However deep; other keys stay what they are."""
    log.configure(stream=stream, secrets=[SECRET])
    structlog.get_logger().info(
        "seen", by={f"{SECRET} a": 1, "plain": [{f"{SECRET} b": 2, "token": "t", 3: 4}]}
    )
    (line,) = lines(stream)
    assert line["by"] == {f"{REDACTED} a": 1, "plain": [{f"{REDACTED} b": 2, "token": REDACTED, "3": 4}]}


def test_a_text_that_was_harmless_is_looked_at_again_once_it_is_known_to_be_a_secret(
    stream: io.StringIO,
) -> None:
    """Short texts are looked at once, for as long as the same secrets are known and not more of them."""
    known = Redactor()
    log.configure(stream=stream, redactor=lambda: known)
    for _ in range(2):
        structlog.get_logger().info("seen", said=SECRET, deep=[{"token": "x", "said": SECRET}])
    known = Redactor([SECRET])
    for number in range(2 * PLAIN_MAX):
        structlog.get_logger().info("seen", said=SECRET, other=f"word-{number}")
    before, after = lines(stream)[:2], lines(stream)[2:]
    assert [line["said"] for line in before] == [SECRET, SECRET]
    assert before[0]["deep"] == [{"token": REDACTED, "said": SECRET}]
    assert {line["said"] for line in after} == {REDACTED}
    assert [line["other"] for line in after] == [f"word-{number}" for number in range(2 * PLAIN_MAX)]


def test_an_exception_is_told_without_local_variables(stream: io.StringIO) -> None:
    """Locals may hold anything."""
    log.configure(stream=stream)
    hidden = "local" + "-variable"
    try:
        raise RuntimeError(hidden[:5])
    except RuntimeError:
        structlog.get_logger().exception("failed")
    assert hidden not in stream.getvalue()
    assert lines(stream)[0]["exception"]


def test_long_values_are_cut_and_say_so() -> None:
    """A log line has a bound."""
    text = short_text("x" * (VALUE_CHARS_MAX + 5))
    assert len(text) < VALUE_CHARS_MAX + 50
    assert text.endswith("(5 more characters)")


def test_lines_of_libraries_have_the_same_form(stream: io.StringIO) -> None:
    """Warnings of libraries and of Python come out as ours, redacted too."""
    log.configure(stream=stream, secrets=[SECRET])
    logging.getLogger("library").warning("sent %s", SECRET)
    logging.getLogger("library").info("chatter")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    events = [str(line["event"]) for line in lines(stream)]
    assert events[0] == f"sent {REDACTED}"
    assert "DeprecationWarning" in events[1]
    assert len(events) == 2


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"a": [1, 1.5e-7, True, None]},
        {"ä": "\u2028\x00\"'\\", "deep": {"x": ()}},
        {"at": object},
        {1: 1e300},
    ],
)
def test_a_line_is_the_json_that_the_library_writes(value: dict[object, object]) -> None:
    """Whoever reads lines sees none of how they are made: the same blanks, escapes and numbers."""
    assert log.JsonLines()(None, "info", value) == json.dumps(  # type: ignore[arg-type]
        value, ensure_ascii=False, default=str
    )


def test_the_time_of_a_line_is_utc_with_microseconds() -> None:
    """What lasts a second is written once; each line has its own time, also if the clock steps."""
    times = [0, 1_999, 999_999_999, 1_764_500_000_000_001_000, 1_764_500_000_999_999_999, 5_000_000_000]
    left = iter(times)
    stamp = log.Stamp(lambda: next(left))
    told = [stamp() for _ in times]
    assert told == [
        (datetime.fromtimestamp(0, UTC) + timedelta(microseconds=ns // 1000)).strftime(
            "%Y-%m-%dT%H:%M:%S.%fZ"
        )
        for ns in times
    ]
    assert told[0] == "1970-01-01T00:00:00.000000Z"


def test_a_secret_among_harmless_ids_is_found(stream: io.StringIO) -> None:
    """New texts of a line are looked at together; none of them comes out for the sake of the others."""
    log.configure(stream=stream, secrets=[SECRET])
    structlog.get_logger().info("seen", run_id="a-1", said=SECRET, task_id="b-2")
    structlog.get_logger().info("seen", run_id="a-2", said=f"x\n{SECRET}", task_id="b-3")
    assert [(line["run_id"], line["said"], line["task_id"]) for line in lines(stream)] == [
        ("a-1", REDACTED, "b-2"),
        ("a-2", f"x\n{REDACTED}", "b-3"),
    ]
