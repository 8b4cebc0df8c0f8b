"""Files of runs are stored whole, durable, and apart from what is changed later."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from worker.executor.artifacts import StorageError, open_artifacts, safe_part, store_all
from worker.executor.frames import ToldArtifact
from worker.executor.outcome import Artifact


def stored(place: str | Path, source: Path, workdir: Path, name: str = "a.glb") -> Artifact:
    """Store one file."""
    told = ToldArtifact(str(source), name, None)
    (artifact,) = asyncio.run(store_all(open_artifacts(place), "run-1", [told], workdir))
    return artifact


def test_a_file_of_the_run_is_stored_without_a_copy(tmp_path: Path) -> None:
    """It gets a second name; the run's folder is removed afterwards."""
    workdir = tmp_path / "work"
    workdir.mkdir()
    (workdir / "a").write_bytes(b"model")
    artifact = stored(tmp_path / "place", workdir / "a", workdir)
    target = tmp_path / "place" / "run-1" / "a.glb"
    assert target.samefile(workdir / "a")
    assert artifact == Artifact(
        name="a.glb",
        url=target.as_uri(),
        size_bytes=5,
        sha256=hashlib.sha256(b"model").hexdigest(),
        content_type="model/gltf-binary",
    )
    assert [path.name for path in target.parent.iterdir()] == ["a.glb"]


def test_a_file_of_somebody_else_is_copied(tmp_path: Path) -> None:
    """Outside the folder, by a link, or with another name: a later change must not reach the artifact."""
    workdir = tmp_path / "work"
    workdir.mkdir()
    outside = tmp_path / "outside"
    outside.write_text("before")
    (workdir / "symlink").symlink_to(outside)
    (workdir / "hardlink").hardlink_to(outside)
    for number, source in enumerate([outside, workdir / "symlink", workdir / "hardlink"]):
        artifact = stored(tmp_path / "place", source, workdir, f"{number}.txt")
        target = tmp_path / "place" / "run-1" / f"{number}.txt"
        assert not target.samefile(outside)
        assert target.read_text() == "before"
        assert artifact.content_type == "text/plain"


def test_storing_again_replaces_whole(tmp_path: Path) -> None:
    """A report that is made again after a crash finds its files, also a half one."""
    source = tmp_path / "a"
    source.write_text("second")
    target = tmp_path / "place" / "run-1" / "a.glb"
    target.parent.mkdir(parents=True)
    target.write_text("first")
    target.with_name(".a.glb.part").write_text("hal")
    stored(tmp_path / "place", source, tmp_path / "work")
    assert target.read_text() == "second"
    assert len(list(target.parent.iterdir())) == 1


def test_a_file_that_is_gone_names_itself(tmp_path: Path) -> None:
    """The message says which file and why, and nothing half is left."""
    with pytest.raises(StorageError, match=r"artifact a\.glb could not be stored at .*No such file"):
        stored(tmp_path / "place", tmp_path / "gone", tmp_path)
    assert list((tmp_path / "place" / "run-1").iterdir()) == []


def test_an_object_store_takes_files_by_url(tmp_path: Path) -> None:
    """The same by obstore; its local store stands for all of them."""
    pytest.importorskip("obstore")
    from worker.executor.artifacts import ObjectStore

    place = tmp_path / "bucket"
    place.mkdir()
    source = tmp_path / "a"
    source.write_text("model")
    store = ObjectStore(f"file://{place}")
    artifact = asyncio.run(store.store("run-1", ToldArtifact(str(source), "deep/a b.stl", None), tmp_path))
    assert (place / "run-1" / "deep" / "a b.stl").read_text() == "model"
    assert artifact.url == f"file://{place}/run-1/deep/a%20b.stl"
    with pytest.raises(StorageError, match=r"artifact x could not be stored at nowhere://bucket"):
        stored("nowhere://bucket", source, tmp_path, "x")


@pytest.mark.parametrize("run_id", ["../up", "a/b", "", "x" * 200, "ü", ".", "a b", "\ud800"])
def test_an_id_that_is_no_folder_name_leads_nowhere(run_id: str) -> None:
    """Servers choose ids; paths are ours."""
    assert safe_part(run_id).startswith("run-")
    assert "/" not in safe_part(run_id)
    assert safe_part("2f1c0a3e-11_x") == "2f1c0a3e-11_x"
