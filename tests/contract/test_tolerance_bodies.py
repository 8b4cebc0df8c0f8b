"""Bodies that are not what they should be: pages of proxies, cut, packed, wrongly labelled."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib

import pytest

from tests.contract.calls import CALLS, LISTS, OBJECTS, answer_to, failure_of
from tests.contract.misbehaving import Act, answer, end_after, head, misbehaving, send
from worker.api.connect import open_api
from worker.api.errors import Forbidden, RateLimited, ServerError, TransportError
from worker.config import ApiConfig

RUN = b'{"id":"r","podId":"pod/a","progress":0.5,"results":{"a":[1,"\xc3\xa9"]}}'
RUNS = b'{"runs":[' + RUN + b"]}"
PAGE = b"<!DOCTYPE html><title>Welcome to the hotel</title> secret-of-the-page"
get_run, list_runs = OBJECTS["get_run"], LISTS["list_runs"]


@pytest.mark.parametrize("kind", ["text/html", "application/json"])
def test_a_page_of_a_portal_is_no_answer_to_any_request(kind: str) -> None:
    """Status 200 or not, and whatever it says to be: nothing is concluded, and nothing of it is repeated."""

    async def main() -> None:
        async with misbehaving(send(answer(PAGE, kind=kind))) as server:
            async with open_api(ApiConfig(url=server.url, token="t")) as api:
                for name, call in CALLS.items():
                    with pytest.raises(TransportError) as caught:
                        await call(api)
                    assert "secret-of-the-page" not in str(caught.value), name
                    assert not caught.value.is_documented, name
            assert len(server.asked) == len(CALLS)

    asyncio.run(main())


@pytest.mark.parametrize(
    "kind", ["text/plain", "text/html; charset=utf-8", "application/json; charset=nonsense", ";;;=", ""]
)
def test_good_json_counts_whatever_its_content_type_says(kind: str) -> None:
    """A proxy or a framework that labels it wrongly changes nothing."""
    run = asyncio.run(answer_to(send(answer(RUN, kind=kind)), get_run))
    assert (run.id, run.pod_id, run.results) == ("r", "pod/a", {"a": [1, "é"]})
    [listed] = asyncio.run(answer_to(send(answer(RUNS, kind=kind)), list_runs))
    assert listed.id == "r"


@pytest.mark.parametrize(("body", "call"), [(RUN, get_run), (RUNS, list_runs)], ids=["object", "list"])
def test_json_that_is_cut_anywhere_is_no_answer(body: bytes, call: object) -> None:
    """The length is right, the JSON is not: no half of an object and no half of a list is believed."""

    async def main() -> None:
        async with misbehaving(send(b"")) as server, open_api(ApiConfig(url=server.url)) as api:
            for length in range(len(body)):
                server.act = send(answer(body[:length]))
                with pytest.raises(TransportError):
                    await call(api)  # type: ignore[operator]  # one of the client's calls

    asyncio.run(main())


@pytest.mark.parametrize(
    "content",
    [
        head(length=len(RUN) + 1) + RUN,
        head(length=1 << 40) + RUN,
        head(Transfer_Encoding="chunked") + b"%x\r\n%b\r\n" % (len(RUN), RUN),
        head(Transfer_Encoding="chunked") + b"%x\r\n%b" % (len(RUN) + 9, RUN),
        head(Transfer_Encoding="chunked") + b"no number\r\n" + RUN,
    ],
    ids=["one byte short", "a terabyte short", "no last chunk", "a cut chunk", "no chunk at all"],
)
def test_a_body_that_ends_too_early_is_no_answer_even_if_its_json_is_whole(content: bytes) -> None:
    """What follows might have been anything."""
    error = asyncio.run(failure_of(end_after(content), get_run))
    assert isinstance(error, TransportError)
    assert "no number" not in str(error)


# Packed bodies


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", " GZIP "])
def test_a_packed_answer_is_unpacked(encoding: str) -> None:
    """Objects and lists; an empty body stays one."""
    packed = answer(gzip.compress(RUN), Content_Encoding=encoding)
    assert asyncio.run(answer_to(send(packed), get_run)).results == {"a": [1, "é"]}
    long = b'{"runs":[' + b",".join([RUN] * 30_000) + b"]}"  # read as a stream
    packed = answer(gzip.compress(long), Content_Encoding=encoding)
    assert len(asyncio.run(answer_to(send(packed), list_runs))) == 10_000
    deflated = answer(zlib.compress(RUN), Content_Encoding="deflate")
    assert asyncio.run(answer_to(send(deflated), get_run)).id == "r"
    empty = asyncio.run(failure_of(send(answer(b"", 404, Content_Encoding=encoding)), get_run))
    assert empty.status == 404


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (RUN, "gzip"),
        (b"x" + gzip.compress(RUN), "gzip"),
        (gzip.compress(RUN)[:-9], "gzip"),
        (gzip.compress(RUN)[:-4] + b"\0\0\0\0", "gzip"),
        (gzip.compress(gzip.compress(RUN)), "gzip, gzip"),
        (gzip.compress(RUN), "br"),
        (gzip.compress(RUN), "zstd"),
    ],
    ids=["not packed", "broken", "cut", "wrong sum", "twice", "brotli", "zstandard"],
)
def test_a_body_that_is_packed_in_a_broken_or_unknown_way_is_no_answer(body: bytes, encoding: str) -> None:
    """Only what was asked for is unpacked, and only as a whole."""
    for call in (get_run, list_runs):
        error = asyncio.run(failure_of(send(answer(body, Content_Encoding=encoding)), call))
        assert isinstance(error, TransportError)


# Refusals


@pytest.mark.parametrize(
    "act",
    [
        send(answer(PAGE, "429", Retry_After="7")),
        send(answer(b"no gzip", "429", Retry_After="7", Content_Encoding="gzip")),
        send(answer(b"x" * 100_000, "429", Retry_After="7")),
        end_after(head("429", length=100, Retry_After="7") + b'{"error":'),
    ],
    ids=["a page", "broken gzip", "too long", "cut"],
)
def test_a_status_counts_whatever_becomes_of_its_body(act: Act) -> None:
    """It was told before; so was `Retry-After`. Only the documented code is missing."""
    error = asyncio.run(failure_of(act, get_run))
    assert isinstance(error, RateLimited)
    assert (error.retry_after_s, error.code) == (7.0, None)


@pytest.mark.parametrize(
    "body", [[], [{}], {"error": []}, {"error": {"code": {}, "message": [1]}}, {"error": "no"}, "no", 7, None]
)
def test_an_error_body_of_another_form_is_not_the_documented_one(body: object) -> None:
    """It is a proxy's until the documented code says otherwise."""
    content = json.dumps(body).encode()
    for status, kind in ((403, Forbidden), (503, ServerError)):
        error = asyncio.run(failure_of(send(answer(content, status)), get_run))
        assert type(error) is kind
        assert not error.is_documented
