"""Secrets are taken out of streams, wherever they are cut."""

import time
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.redaction.disguises import LINE_DISGUISES, base64_form, secrets
from worker.redaction import REDACTED, Redactor
from worker.redaction.stream import HELD_BYTES_MAX, MATCH_BYTES_MAX

TOKEN = "mh-3f9c1d-secret"
quick = settings(deadline=None, max_examples=25)  # each example compiles expressions


def filtered(redactor: Redactor, chunks: Iterable[bytes]) -> bytes:
    """Return what comes out of a stream."""
    stream = redactor.stream()
    return b"".join([*(stream.feed(chunk) for chunk in chunks), stream.finish()])


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Return data cut at places, which wrap around."""
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


@quick
@given(secrets, st.sampled_from(sorted(LINE_DISGUISES)), st.data())
def test_no_split_of_a_secret_shows(secret: str, form: str, data: st.DataObject) -> None:
    """Wherever the reads end, one mark stands for it."""
    whole = f"<<{LINE_DISGUISES[form](secret)}>>\nnext".encode()
    chunks = cut(whole, data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    assert filtered(Redactor([secret]), chunks) == f"<<{REDACTED}>>\nnext".encode()


@quick
@given(secrets, st.binary(max_size=3), st.booleans(), st.data())
def test_no_split_of_base64_shows(secret: str, before: bytes, is_url: bool, data: st.DataObject) -> None:
    """The same in base64."""
    form, core = base64_form(secret, before, b"xyz", is_url=is_url)
    chunks = cut(form.encode(), data.draw(st.lists(st.integers(0, len(form)), max_size=8)))
    assert core.encode() not in filtered(Redactor([secret]), chunks)


pieces_of_output = st.lists(
    st.sampled_from(
        [
            TOKEN,
            TOKEN[:9],
            "token=",
            "abc",
            "Bearer a1b2c3d4",
            "x",
            "\\",
            "%",
            "\n",
            "\r",
            " ",
            "://",
            "u:p@h",
            "%6d",
        ]
    )
    | st.text(max_size=5),
    max_size=30,
).map("".join)


@quick
@given(pieces_of_output, st.lists(st.integers(0), max_size=10))
def test_what_comes_out_does_not_depend_on_the_cuts(text: str, places: list[int]) -> None:
    """A stream is one text, however it is read."""
    redactor = Redactor([TOKEN])
    data = text.encode()
    assert filtered(redactor, cut(data, places)) == filtered(redactor, [data])


@quick
@given(pieces_of_output, st.lists(st.integers(0), min_size=1, max_size=6), st.integers(0, 70))
def test_the_same_holds_for_endless_lines(text: str, places: list[int], shift: int) -> None:
    """Of a line longer than the bound its beginning goes out, and no secret at the seam."""
    redactor = Redactor([TOKEN])
    line = "-" * (HELD_BYTES_MAX - MATCH_BYTES_MAX - shift)
    data = f"{line}{text}{TOKEN}{line}{text}{TOKEN}{line}".replace("\n", "").replace("\r", "").encode()
    assert filtered(redactor, cut(data, places)) == filtered(redactor, [data])
    assert TOKEN.encode() not in filtered(redactor, cut(data, places))


@pytest.mark.parametrize("seam", range(-30, 31, 3))
def test_a_keyword_and_its_value_may_lie_on_both_sides_of_the_seam(seam: int) -> None:
    """Where the beginning of an endless line goes out, the word before a token may go with it."""
    head = b"." * (HELD_BYTES_MAX + 1 - MATCH_BYTES_MAX - seam)
    data = head + b" Bearer hidden-0123456789 token=hidden xtoken=seen " + b"." * MATCH_BYTES_MAX
    shown = filtered(Redactor(), [data[: HELD_BYTES_MAX + 1], data[HELD_BYTES_MAX + 1 :]])
    assert shown == filtered(Redactor(), [data])
    assert shown.count(b"hidden") == 0
    assert b"xtoken=seen" in shown


@quick
@given(st.lists(st.binary(max_size=50), max_size=20))
def test_what_is_no_secret_comes_out_byte_for_byte(chunks: list[bytes]) -> None:
    """Whatever bytes a program prints."""
    assert filtered(Redactor([TOKEN]), chunks) == b"".join(chunks)


def test_whole_lines_come_out_at_once_and_little_is_held() -> None:
    """People watch a run live; and a program that never ends a line does not fill the memory."""
    stream = Redactor([TOKEN]).stream()
    assert stream.feed(b"line\nrest") == b"line\n"
    assert stream.feed(b" 10%\r") == b"rest 10%\r"
    passed = sum(len(stream.feed(b"x" * 1000)) for _ in range(1000))
    assert 1_000_000 - passed <= HELD_BYTES_MAX + 1000
    assert len(stream.finish()) == 1_000_000 - passed


def test_the_beginning_of_a_secret_at_the_end_is_not_shown() -> None:
    """A program that dies while it prints leaves a part; up to five characters are any word."""
    redactor = Redactor([TOKEN])
    assert filtered(redactor, [b"a " + TOKEN[:7].encode()]) == b"a " + REDACTED.encode()
    assert filtered(redactor, [b"a " + TOKEN[:5].encode()]) == b"a " + TOKEN[:5].encode()
    assert filtered(redactor, [b"https://user:password-of-it"]) == b"https://" + REDACTED.encode()


def test_a_secret_told_on_the_way_is_looked_for_from_then_on() -> None:
    """Also in what is held back already."""
    stream = Redactor().stream()
    assert stream.feed(b"the " + TOKEN.encode()) == b""
    stream.use(Redactor([TOKEN]))
    assert stream.feed(b"\n") == b"the " + REDACTED.encode() + b"\n"


@pytest.mark.parametrize(
    "text", ["a" * 70_000, "a%61" * 17_000, "\\" * 70_000, "token=" * 11_000, "://" * 23_000]
)
def test_no_output_keeps_the_filter_busy_for_long(text: str) -> None:
    """Texts that are made to be slow: each search stays near linear."""
    redactor = Redactor(["a" * 64, "a" * 30 + "b", "\\" * 20 + "x"])
    start = time.process_time()
    filtered(redactor, [text.encode()])
    assert time.process_time() - start < 20  # a quadratic search would take minutes
