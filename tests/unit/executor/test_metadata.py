"""Installed packages are read as importlib.metadata reads them."""

from __future__ import annotations

import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from worker.executor.installed import GROUP, installed_handlers
from worker.executor.metadata import FolderPackage, Package, installed_packages, section_of

POINTS = """
# a remark
[console_scripts]
x = y:z
[millhand.handlers]
 cut = shop.cut:cut [extra]
; = odd:name

# another
join=shop:join
[ millhand.other ]
no = no:no
"""


def lay(folder: Path, name: str, about: str = "METADATA") -> None:
    """Lay down the metadata of a package."""
    folder = folder / name
    folder.mkdir(parents=True)
    text = "Metadata-Version: 2.1\nname: Shop.Tools\nVersion:  1.2\nSummary: a\n Name: folded\n\nName: no\n"
    (folder / about).write_text(text)
    (folder / "entry_points.txt").write_text(POINTS)


def told(found: list[Package]) -> list[tuple[str, str]]:
    """Return names and versions of those that declare handlers."""
    return [(one.name, one.version) for one in found if GROUP in (one.read_text("entry_points.txt") or "")]


def test_this_environment_is_read_alike() -> None:
    """Each package that has entry points, with its version, and each of those."""
    ours = {one.name: one for one in installed_packages() if one.read_text("entry_points.txt")}
    theirs = {one.name: one for one in metadata.distributions() if one.read_text("entry_points.txt")}
    assert {name: one.version for name, one in ours.items()} == {
        name: one.version for name, one in theirs.items()
    }
    assert "millhand" in ours
    for name, one in theirs.items():
        for group in one.entry_points.groups:
            points = [(point.name, point.value) for point in one.entry_points.select(group=group)]
            assert [*section_of(ours[name].read_text("entry_points.txt") or "", group)] == points
    assert installed_handlers() == installed_handlers(metadata.distributions())
    assert installed_handlers().version == metadata.version("millhand")


@pytest.mark.parametrize(("ending", "about"), [(".dist-info", "METADATA"), (".egg-info", "PKG-INFO")])
def test_a_package_in_a_folder_is_read_alike(tmp_path: Path, ending: str, about: str) -> None:
    """Fields in any letters, up to the description; sections, remarks and spaces as they come."""
    lay(tmp_path, f"shop_tools-1.2{ending}", about)
    (tmp_path / f"empty-1.0{ending}").mkdir()
    (tmp_path / "a file.dist-info").touch()
    found = [*installed_packages(["nowhere", str(tmp_path)])]
    assert told(found) == told([*metadata.distributions(path=[str(tmp_path)])]) == [("Shop.Tools", "1.2")]
    (theirs,) = [one for one in metadata.distributions(path=[str(tmp_path)]) if one.entry_points]
    points = [(point.name, point.value) for point in theirs.entry_points.select(group=GROUP)]
    assert [*section_of(POINTS, GROUP)] == points
    assert FolderPackage(tmp_path / f"empty-1.0{ending}").version == ""


def test_what_is_no_folder_on_the_path_is_found_as_well(tmp_path: Path) -> None:
    """A zip or an egg: importlib.metadata knows them."""
    lay(tmp_path / "in", "shop_tools-1.2.dist-info")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as packed:
        for file in (tmp_path / "in").rglob("*"):
            packed.write(file, file.relative_to(tmp_path / "in"))
    assert told([*installed_packages([str(tmp_path / "all.zip")])]) == [("Shop.Tools", "1.2")]
    lay(tmp_path / "shop_tools-1.2-py3.egg", "EGG-INFO", "PKG-INFO")
    assert told([*installed_packages([str(tmp_path / "shop_tools-1.2-py3.egg")])]) == [("Shop.Tools", "1.2")]


def test_bytes_that_are_no_text_spoil_nothing(tmp_path: Path) -> None:
    """Of one package, nor of those beside it: an agent starts with whatever is installed."""
    lay(tmp_path, "shop_tools-1.2.dist-info")
    with (tmp_path / "shop_tools-1.2.dist-info" / "METADATA").open("ab") as about:
        about.write("Author: Müller".encode("latin-1"))
    (tmp_path / "old-1.0.dist-info").mkdir()
    (tmp_path / "old-1.0.dist-info" / "entry_points.txt").write_bytes("# für x".encode("latin-1"))
    found = installed_handlers(installed_packages([str(tmp_path)]))
    assert [(entry.type, entry.source) for entry in found.entries if "shop" in entry.target] == [
        ("cut", "Shop.Tools 1.2"),
        ("join", "Shop.Tools 1.2"),
    ]
    assert not found.problems


def test_an_importer_of_ones_own_is_asked_for_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it knows stands in no folder; so the library is asked, which asks it."""

    class Known(metadata.Distribution):
        def read_text(self, filename: str) -> str | None:
            return "Metadata-Version: 2.1\nName: known\nVersion: 7\n" if filename == "METADATA" else None

        def locate_file(self, path: object) -> Path:
            return Path(str(path))

    class Importer(metadata.DistributionFinder):
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            return None

        def find_distributions(self, context: object = None) -> list[metadata.Distribution]:
            return [Known()]

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Importer()])  # that of the interpreter itself
    assert ("known", "7") in [(one.name, one.version) for one in installed_packages([])]
