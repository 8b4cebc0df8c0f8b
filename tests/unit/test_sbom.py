"""The bill of materials tells of each distribution with the hash of its archive, or no image is built."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.sbom import archives, with_hashes


def installed(name: str, version: str, **archive: Any) -> dict[str, Any]:
    """Return what a report of pip tells of one distribution."""
    return {"metadata": {"name": name, "version": version}, "download_info": {"archive_info": archive}}


BILL = {
    "metadata": {"component": {"name": "millhand", "version": "1"}, "timestamp": "then"},
    "components": [{"name": "Some.Thing", "version": "2"}],
}
OLD = installed("some_thing", "2", hash="sha256=aa")
OWN = installed("millhand", "1", hash="sha256=bb", hashes={"sha256": "bb"})


def test_each_component_gets_the_hash_of_its_archive() -> None:
    """Names are compared as the index does; an older pip tells one hash, with its kind."""
    bill = with_hashes(BILL, archives([{"install": [OLD]}, {"install": [OWN]}]))
    assert bill["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": "bb"}]
    assert bill["components"] == [
        {"name": "Some.Thing", "version": "2", "hashes": [{"alg": "SHA-256", "content": "aa"}]}
    ]
    assert bill["metadata"]["timestamp"] == "then"


@pytest.mark.parametrize(
    "reported",
    [[OWN], [OWN, OLD, installed("more", "3", hash="sha256=cc")], [OWN, installed("some-thing", "3")]],
)
def test_what_stands_in_one_and_not_in_the_other_is_an_error(reported: list[dict[str, Any]]) -> None:
    """As a setuptools that a venv brings, which no lock has."""
    for one in reported:
        one["download_info"]["archive_info"].setdefault("hash", "sha256=dd")
    with pytest.raises(ValueError, match="not in both"):
        with_hashes(BILL, archives([{"install": reported}]))
