"""Files on their way to workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from worker.cli.exits import CliError, ExitCode
from worker.cli.inputs import is_file_here, place_inputs, place_relative
from worker.cli.local import is_loopback, keep_token, token_of_up, write_address

HERE, FAR = "http://127.0.0.1:8077", "https://jobs.example.com"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A file with a name that a URL must escape."""
    path = tmp_path / "a model.glb"
    path.write_bytes(b"glTF")
    return path


def test_a_file_for_a_server_on_this_host_stays_where_it_is(model: Path) -> None:
    """The worker reads it there."""
    assert place_inputs([str(model)], HERE, None) == [model.as_uri()]


def test_urls_stay_as_they_are(model: Path) -> None:
    """And the order is that of the command line."""
    sources = ["s3://bucket/b.glb", str(model), "https://example.com/c.glb"]
    assert place_inputs(sources, HERE, None) == [sources[0], model.as_uri(), sources[2]]


def test_a_file_for_a_server_elsewhere_is_refused_without_a_store(model: Path) -> None:
    """Never a path that the worker cannot read."""
    with pytest.raises(CliError, match=r"jobs\.example\.com cannot read") as caught:
        place_inputs([str(model)], FAR, None)
    assert caught.value.code is ExitCode.CONFIGURATION
    assert "--store" in caught.value.todo


def test_a_file_for_a_server_elsewhere_goes_to_the_store_under_its_content(
    model: Path, tmp_path: Path
) -> None:
    """The same content has the same URL, so that a repeated submit is the same; other content has another."""
    store = tmp_path / "store"
    (first,) = place_inputs([str(model)], FAR, str(store))
    assert place_inputs([str(model)], FAR, store.as_uri()) == [first]
    stored = Path(unquote(urlsplit(first).path))
    assert stored.read_bytes() == b"glTF"
    assert stored.is_relative_to(store)
    assert [path.name for path in stored.parent.iterdir()] == [model.name]
    model.write_bytes(b"other")
    assert place_inputs([str(model)], FAR, str(store)) != [first]


@pytest.mark.parametrize(("store", "said"), [("ftp://host/x", "ftp"), ("/proc/nowhere", "/proc/nowhere")])
def test_a_store_that_takes_nothing_is_an_error(model: Path, store: str, said: str) -> None:
    """The message names it."""
    with pytest.raises(CliError, match=said) as caught:
        place_inputs([str(model)], FAR, store)
    assert caught.value.code is ExitCode.CONFIGURATION


def test_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    """Before anything is created on the server."""
    for source in (tmp_path / "missing.glb", tmp_path):
        with pytest.raises(CliError) as caught:
            place_inputs([str(source)], HERE, None)
        assert caught.value.code is ExitCode.USAGE


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (HERE, True), ("http://localhost:1", True), ("http://[::1]:8077", True), ("http://127.3.2.1", True),
        (FAR, False), ("http://10.0.0.1", False), ("http://localhost.example.com", False),
    ],
)  # fmt: skip
def test_only_loopback_is_this_host(url: str, expected: bool) -> None:
    """A name that merely looks like it is another host."""
    assert is_loopback(url) is expected


def test_the_token_of_up_is_found_only_for_its_own_address(tmp_path: Path) -> None:
    """Another server on this machine is never shown it."""
    token = keep_token(tmp_path)
    assert token.stat().st_mode & 0o777 == 0o600
    assert token_of_up(HERE, tmp_path) is None
    write_address(tmp_path, HERE)
    assert token_of_up(HERE + "/", tmp_path) == token
    assert token_of_up("http://127.0.0.1:9", tmp_path) is None
    before = token.read_text()
    assert keep_token(tmp_path).read_text() == before
    token.write_text("\n")
    assert len(keep_token(tmp_path).read_text().strip()) > 20


def test_a_relative_input_is_placed_and_an_absolute_one_stays(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path means nothing to a worker; an absolute one may be the same on every machine."""
    monkeypatch.chdir(tmp_path)
    sets: list[dict[str, Any]] = [
        {"input": model.name, "n": 1},
        {"input": str(model)},
        {"input": "no file"},
        {"input": 3},
        {},
    ]
    assert place_relative(sets, HERE, None) == [{"input": model.as_uri(), "n": 1}, *sets[1:]]
    with pytest.raises(CliError, match="cannot read"):
        place_relative(sets, FAR, None)
    assert place_relative(sets[1:], FAR, None) == sets[1:]


@pytest.mark.parametrize("text", ["x" * 5000, "a\0b", "s3://a/b", ""])
def test_a_text_that_is_no_path_is_no_file(text: str) -> None:
    """However long it is, and whatever it holds."""
    assert not is_file_here(text)
