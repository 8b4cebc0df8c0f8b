"""What `render-webgl` refuses before a browser sees it."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from handlers import models
from handlers.webgl import content, weight
from handlers.webgl.images import image_size
from handlers.webgl.model import MAX_BYTES, read_model
from handlers.webgl.resources import Resources
from tests.unit.handlers.glb_files import CORNERS, TRIANGLE, glb
from worker import Fail
from worker.sdk.testing import ToldContext

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAADCAIAAAA2iEnWAAAAFklEQVR4nGP4z8DAwMDA9B9IMTAwMAAAKQoDAZP5QXIAAAAASUVORK5CYII="
)


def png_of(width: int, height: int) -> bytes:
    """Return the beginning of a PNG that says to be so large."""
    return PNG[:16] + struct.pack(">II", width, height) + PNG[24:]


def read(ctx: ToldContext, folder: Path, description: dict[str, Any], name: str = "part.gltf") -> Any:
    """Read a model of a description."""
    path = folder / name
    text = json.dumps(description).encode()
    path.write_bytes(glb(description) if name.endswith(".glb") else text)
    return read_model(str(path), name, ctx.input)


def with_image(uri: str) -> dict[str, Any]:
    """Return the triangle as a GLB with one image."""
    return TRIANGLE | {"images": [{"uri": uri}]}


def data(content_: bytes) -> str:
    """Return a data URI."""
    return "data:image/png;base64," + base64.b64encode(content_).decode()


@pytest.mark.parametrize("path", models.paths(), ids=lambda path: str(path.name))
def test_every_sound_model_passes(ctx: ToldContext, path: Path) -> None:
    """Those of the demo; each is one file."""
    model = read_model(str(path), path.name, ctx.input)
    assert list(model.files.values()) == [path]
    assert model.size_bytes == path.stat().st_size


def test_a_broken_model_is_told_as_everywhere(ctx: ToldContext) -> None:
    """The message is that of mesh-convert."""
    with pytest.raises(Fail, match=r"broken\.glb is cut off"):
        read_model(str(models.folder() / models.BROKEN), models.BROKEN, ctx.input)


@pytest.mark.parametrize(
    "uri",
    [
        "https://example.com/a.bin", "http://127.0.0.1/a", "//example.com/a", "file:///etc/passwd",
        "/etc/passwd", "../secret.bin", "a/../../secret.bin", "%2e%2e/secret.bin", "%2Fetc/passwd",
        "..\\secret", "ftp:a", "a.bin?x=1", "a.bin#x", "blob:https://render.invalid/1", "a\nb",
    ],
)  # fmt: skip
def test_what_does_not_lie_beside_a_model_is_never_fetched(tmp_path: Path, uri: str) -> None:
    """Neither elsewhere in the net, nor elsewhere on the disk."""
    asked: list[str] = []

    def get(source: str, **_: Any) -> Path:
        asked.append(source)
        return tmp_path

    with pytest.raises(Fail, match="does not lie beside it"):
        Resources(str(tmp_path / "part.gltf"), "part.gltf", get, MAX_BYTES).fetch(uri)
    assert asked == []


def test_a_link_that_leads_out_is_refused(ctx: ToldContext, tmp_path: Path) -> None:
    """A name may look as if it lay in the folder."""
    secret = tmp_path / "secret.bin"
    secret.write_bytes(CORNERS)
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "part.bin").symlink_to(secret)
    described = TRIANGLE | {"buffers": [{"byteLength": 36, "uri": "part.bin"}]}
    with pytest.raises(Fail, match="leads out of its folder"):
        read(ctx, folder, described)


def test_what_lies_below_the_folder_is_handed_over(ctx: ToldContext, tmp_path: Path) -> None:
    """By the name that the page asks for."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a b.bin").write_bytes(CORNERS)
    model = read(ctx, tmp_path, TRIANGLE | {"buffers": [{"byteLength": 36, "uri": "./sub/a%20b.bin"}]})
    assert list(model.files) == ["/model", "sub/a b.bin"]


def test_a_model_by_url_stays_below_its_address(tmp_path: Path) -> None:
    """What is asked for is below the same folder, without the query, which may be a signature."""
    asked: list[str] = []

    def get(source: str, **_: Any) -> Path:
        asked.append(source)
        return tmp_path

    Resources("https://host:8/models/part.gltf?sig=1", "part.gltf", get, MAX_BYTES).fetch("a%20b.bin")
    assert asked == ["https://host:8/models/a%20b.bin"]


def test_a_missing_file_is_named(ctx: ToldContext, tmp_path: Path) -> None:
    """With what to do."""
    with pytest.raises(Fail, match=r"part.gltf needs the file 'gone.bin' beside it: .*pack both"):
        read(ctx, tmp_path, TRIANGLE | {"buffers": [{"byteLength": 36, "uri": "gone.bin"}]})


def test_an_extension_that_would_be_passed_over_is_refused(ctx: ToldContext, tmp_path: Path) -> None:
    """A picture that lacks something is worse than none."""
    with pytest.raises(Fail, match="needs KHR_texture_basisu"):
        read(ctx, tmp_path, TRIANGLE | {"extensionsRequired": ["KHR_texture_basisu"]}, "part.glb")


def accessor(count: int) -> dict[str, Any]:
    """Return points without content: a few bytes that say to be many."""
    return {"componentType": 5126, "count": count, "type": "VEC3"}


def test_a_file_that_unpacks_to_gigabytes_is_refused(ctx: ToldContext, tmp_path: Path) -> None:
    """An accessor without content is filled with zeros, as many as it says."""
    with pytest.raises(Fail, match="bytes of geometry"):
        read(ctx, tmp_path, TRIANGLE | {"accessors": [accessor(1 << 40)]}, "part.glb")


@pytest.mark.parametrize(("more", "is_refused"), [(0, False), (1, True)])
def test_triangles_count_as_often_as_they_are_drawn(
    ctx: ToldContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int, is_refused: bool
) -> None:
    """A small mesh that stands there a thousand times is a thousand meshes; at the limit it passes."""
    monkeypatch.setattr(weight, "MAX_TRIANGLES", 1000)
    count = 1000 + more
    described = TRIANGLE | {"nodes": [{"mesh": 0}] * count, "scenes": [{"nodes": list(range(count))}]}
    if is_refused:
        with pytest.raises(Fail, match="1,001 triangles to draw; 1,000 are the limit"):
            read(ctx, tmp_path, described, "part.glb")
    else:
        read(ctx, tmp_path, described, "part.glb")


def test_instances_count(ctx: ToldContext, tmp_path: Path) -> None:
    """Of EXT_mesh_gpu_instancing."""
    instancing = {"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": 1}}}
    described = TRIANGLE | {
        "nodes": [{"mesh": 0, "extensions": instancing}],
        "accessors": [*TRIANGLE["accessors"], accessor(20_000_000)],
    }
    with pytest.raises(Fail, match="20,000,000 triangles"):
        read(ctx, tmp_path, described, "part.glb")


@pytest.mark.parametrize(
    "nodes", [[{"children": [0]}], [{"children": [1]}, {"children": [0]}], [{"children": [7]}]]
)
def test_nodes_that_are_no_tree_are_refused(ctx: ToldContext, tmp_path: Path, nodes: list[Any]) -> None:
    """Who follows them would not come back."""
    with pytest.raises(Fail, match="no tree"):
        read(ctx, tmp_path, TRIANGLE | {"nodes": nodes}, "part.glb")


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        (data(png_of(60_000, 60_000)), "60000 × 60000 pixels"),
        (data(b"GIF89a"), "no PNG, JPEG or WebP"),
        ("data:image/png;base64,%%%", "no PNG, JPEG or WebP"),
    ],
)
def test_an_image_that_cannot_be_unpacked_is_refused(
    ctx: ToldContext, tmp_path: Path, uri: str, said: str
) -> None:
    """A few bytes may say to be gigabytes of pixels."""
    with pytest.raises(Fail, match=said):
        read(ctx, tmp_path, with_image(uri), "part.glb")


def test_many_images_together_have_a_limit(ctx: ToldContext, tmp_path: Path) -> None:
    """Each of them would pass."""
    one = {"uri": data(png_of(8192, 8192))}
    with pytest.raises(Fail, match="pixels together"):
        read(ctx, tmp_path, TRIANGLE | {"images": [one] * 3}, "part.glb")
    assert content.MAX_PIXELS < 3 * 8192 * 8192


@pytest.mark.parametrize("extension", weight.MESHOPT)
@pytest.mark.parametrize("more", [{}, {"uri": data(PNG)}])
def test_an_image_that_the_page_would_unpack_is_refused(
    ctx: ToldContext, tmp_path: Path, extension: str, more: dict[str, Any]
) -> None:
    """The bytes that are measured here must be those that are shown; the same image as it is passes."""
    buffer = {"byteLength": len(PNG), "uri": data(PNG)}
    compressed = {"buffer": 1, "byteLength": 9, "byteStride": 4, "count": 1000, "mode": "ATTRIBUTES"}
    view: dict[str, Any] = {"buffer": 1, "byteLength": len(PNG)}
    described: dict[str, Any] = TRIANGLE | {
        "buffers": [*TRIANGLE["buffers"], buffer],
        "images": [{"bufferView": 1, "mimeType": "image/png", **more}],
    }
    read(ctx, tmp_path, described | {"bufferViews": [*TRIANGLE["bufferViews"], view]}, "part.glb")
    view = view | {"extensions": {extension: compressed}}
    with pytest.raises(Fail, match=rf"part\.glb: its image 0 is compressed with {extension}"):
        read(ctx, tmp_path, described | {"bufferViews": [*TRIANGLE["bufferViews"], view]}, "part.glb")


KTX2 = b"\xabKTX 20\xbb\r\n\x1a\n" + bytes(68)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (KTX2, "KTX2"),
        (b"\0\0\0\x1cftypavif", "AVIF"),
        (b"GIF89a", "GIF"),
        (b"DDS |", "DDS"),
        (b"BM??", "BMP"),
    ],
)
def test_a_format_of_images_that_is_not_read_is_named(
    ctx: ToldContext, tmp_path: Path, head: bytes, said: str
) -> None:
    """It is not called damaged."""
    described = with_image(data(head)) | {"textures": [{"source": 0}]}
    with pytest.raises(Fail, match=rf"its image 0 is {said}, and no PNG, JPEG or WebP; export it"):
        read(ctx, tmp_path, described, "part.glb")


def test_a_compressed_image_beside_a_plain_one_is_passed_over(ctx: ToldContext, tmp_path: Path) -> None:
    """Where the extension is not required, the page shows the other; where there is no other, it is named."""
    basis = {"KHR_texture_basisu": {"source": 1}}
    images = {"images": [{"uri": data(PNG)}, {"uri": data(KTX2)}]}
    read(ctx, tmp_path, TRIANGLE | images | {"textures": [{"source": 0, "extensions": basis}]}, "part.glb")
    with pytest.raises(Fail, match="its image 1 is KTX2"):
        read(ctx, tmp_path, TRIANGLE | images | {"textures": [{"extensions": basis}]}, "part.glb")
    with pytest.raises(Fail, match="needs KHR_texture_basisu, which cannot be drawn here"):
        read(ctx, tmp_path, TRIANGLE | {"extensionsRequired": ["KHR_texture_basisu"]}, "part.glb")


def test_an_image_of_two_places_is_measured_where_it_is_taken_from(ctx: ToldContext, tmp_path: Path) -> None:
    """An address beside a buffer is passed over by the page."""
    large = png_of(9000, 1)
    described: dict[str, Any] = TRIANGLE | {
        "buffers": [*TRIANGLE["buffers"], {"byteLength": len(large), "uri": data(large)}],
        "bufferViews": [*TRIANGLE["bufferViews"], {"buffer": 1, "byteLength": len(large)}],
        "images": [{"bufferView": 1, "mimeType": "image/png", "uri": data(PNG)}],
    }
    with pytest.raises(Fail, match="image 0 has 9000 × 1 pixels"):
        read(ctx, tmp_path, described, "part.glb")


@pytest.mark.parametrize(
    ("head", "size"),
    [
        (PNG, (2, 3)),
        (b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x0b\x08\x00\x05\x00\x07\x01", (7, 5)),
        (b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\x09\0\0\x04\0\0", (10, 5)),
        (b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\x0a\0\x05\0", (10, 5)),
        (b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", 9 | 4 << 14), (10, 5)),
        (b"\xff\xd8\xff", None),
        (b"\xff\xd8\xff\xff\xff\xff", None),
        (PNG[:20], None),
        (b"", None),
    ],
)
def test_sizes_are_read_from_the_first_bytes(head: bytes, size: tuple[int, int] | None) -> None:
    """Of PNG, JPEG and the three kinds of WebP; what is cut off has none."""
    assert image_size(head) == size


def test_an_empty_or_oversized_file_is_refused(ctx: ToldContext, tmp_path: Path) -> None:
    """Before it is read; the large one is a file with a hole."""
    (tmp_path / "a.glb").touch()
    with pytest.raises(Fail, match="is empty"):
        read_model(str(tmp_path / "a.glb"), "a.glb", ctx.input)
    with (tmp_path / "b.glb").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(Fail, match="are the limit"):
        read_model(str(tmp_path / "b.glb"), "b.glb", ctx.input)


def test_a_description_of_any_values_ends_in_words(ctx: ToldContext, tmp_path: Path) -> None:
    """No value of a wrong type gets a traceback out of it."""
    for key in ("nodes", "scenes", "meshes", "accessors", "images", "buffers", "bufferViews", "scene"):
        values: list[Any] = [None, 7, -1, "x", [None], [7], [[]], [{}], {"a": 1}, [{"bufferView": 10**30}]]
        for value in values:
            try:
                read(ctx, tmp_path, TRIANGLE | {key: value}, "part.glb")
            except Fail as exc:
                assert "part.glb" in str(exc)  # noqa: PT017 - it may also pass
