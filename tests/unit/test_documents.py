"""The documents of the repository: their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

HOME = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[[^\]\n]*\]\(([^()\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(.+?) *#*$", re.MULTILINE)
PAGES = sorted(
    path.relative_to(HOME).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "deploy/**/*.md", "handlers/**/*.md", "server/**/*.md")
    for path in HOME.glob(pattern)
)


def anchors(page: Path) -> set[str]:
    """Return what a link into a page may name, as GitHub makes it from the headings."""
    headings = HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading_of_the_repository(name: str) -> None:
    """Nobody follows a link into nothing; pages elsewhere are not asked."""
    page = HOME / name
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(HOME), f"{name}: {link} leaves the repository"
        assert target.exists(), f"{name}: {link} leads nowhere"
        if anchor:
            assert anchor in anchors(target), f"{name}: {link} names no heading of {target.name}"


def test_the_readme_is_among_the_pages() -> None:
    """Else the test above would look at nothing."""
    assert {"README.md", "CHANGELOG.md", "docs/handlers.md"} <= set(PAGES)
