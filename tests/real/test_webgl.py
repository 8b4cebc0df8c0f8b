"""`render-webgl` in a real Chromium: what the pictures show."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handlers.webgl.studio import Studio
from tests.real.pixels import blocks, difference, read_png
from tests.real.webgl import GOLDEN, TOLERANCE, render
from tests.unit.handlers.glb_files import CORNERS, TRIANGLE, glb
from worker import Fail
from worker.sdk.testing import make_context

pytestmark = pytest.mark.usefixtures("chromium")

COMPRESSED = Path(__file__).with_name("models")


@pytest.fixture(scope="module")
def studio(chromium: str) -> Iterator[Studio]:
    """Start one browser for all tests that leave it as it is."""
    made = Studio(os.environ)
    yield made
    made.close()


Draws = Callable[..., tuple[dict[str, Any], Path]]


@pytest.fixture
def draws(studio: Studio, tmp_path: Path) -> Draws:
    """Return a function that draws a model of the demo, and returns result and folder."""

    def draw(model: str | Path = "gear.glb", **parameters: Any) -> tuple[dict[str, Any], Path]:
        return render(make_context(tmp_path, state=studio), model, **parameters), tmp_path

    return draw


@pytest.mark.parametrize("name", ["gear", "vase", "terrain", "orrery"])
def test_a_model_looks_as_it_did(draws: Draws, name: str) -> None:
    """Block by block, within what builds of Chromium differ by; and to the byte in the same one."""
    _, folder = draws(f"{name}.glb", output="one")
    draws(f"{name}.glb", output="two")
    picture = read_png(folder / "one.png")
    assert (folder / "one.png").read_bytes() == (folder / "two.png").read_bytes()
    assert difference(blocks(picture), GOLDEN[name]) < TOLERANCE


def test_the_pictures_are_told_apart() -> None:
    """The comparison sees that a vase is no gear: it cannot pass by being blind."""
    assert difference(GOLDEN["vase"], GOLDEN["gear"]) > 3 * TOLERANCE
    assert difference(GOLDEN["orrery"], GOLDEN["terrain"]) > 3 * TOLERANCE


@pytest.mark.parametrize("how", ["draco", "meshopt"])
def test_a_compressed_model_looks_as_the_plain_one(draws: Draws, tmp_path: Path, how: str) -> None:
    """Made by the tools that artists use, decoded by our own files; a damaged one ends in words."""
    path = COMPRESSED / f"gear-{how}.glb"
    result, folder = draws(path)
    assert result["triangles"] == 1152
    assert difference(blocks(read_png(folder / f"gear-{how}.png")), GOLDEN["gear"]) < TOLERANCE
    content = bytearray(path.read_bytes())
    binary = 20 + int.from_bytes(content[12:16], "little") + 8
    content[binary:] = bytes(255 - one for one in content[binary:])
    (tmp_path / "bad.glb").write_bytes(content)
    with pytest.raises(Fail, match=r"bad\.glb cannot be drawn: .+"):
        draws(tmp_path / "bad.glb")
    assert draws(path)[0]["triangles"] == 1152


def test_the_background_is_exactly_the_one_asked_for(draws: Draws) -> None:
    """Colour, or nothing at all."""
    _, folder = draws(background="#20242c", output="dark")
    assert read_png(folder / "dark.png")[0, 0, :3].tolist() == [0x20, 0x24, 0x2C]
    _, folder = draws(background="transparent", output="clear")
    clear = read_png(folder / "clear.png")
    assert clear[0, 0, 3] == 0
    assert clear[64, 64, 3] == 255 or clear[90, 64, 3] == 255


@pytest.mark.parametrize(("format_", "head"), [("jpeg", b"\xff\xd8"), ("webp", b"RIFF"), ("png", b"\x89PNG")])
def test_each_format_is_written(draws: Draws, format_: str, head: bytes) -> None:
    """By its head; less quality makes fewer bytes."""
    fine, folder = draws(format=format_, quality=95, output="fine")
    poor, _ = draws(format=format_, quality=10, output="poor")
    assert (folder / fine["files"][0]).read_bytes().startswith(head)
    assert fine["bytes"] >= poor["bytes"]
    assert (fine["bytes"] > poor["bytes"]) is (format_ != "png")


def test_light_and_edges_change_the_picture(draws: Draws) -> None:
    """No light leaves it black; smooth edges have more colours than rough ones."""
    _, folder = draws(light="none", background="#ffffff", output="black")
    assert read_png(folder / "black.png")[80, 64, :3].max() < 30
    colours = {}
    for smooth in (True, False):
        draws(light="none", antialias=smooth, output=f"edge-{smooth}")
        colours[smooth] = len(np.unique(read_png(folder / f"edge-{smooth}.png")[..., 0]))
    assert colours[True] > colours[False]


def test_the_camera_stands_where_it_is_put(draws: Draws) -> None:
    """From far away the model is small; what it looks at is in the middle."""
    near, folder = draws(output="near", background="transparent")
    far, _ = draws(output="far", background="transparent", camera=[0, 0, 30], target=[0, 0, 0])
    assert far["camera"] == [0, 0, 30]
    seen = {name: (read_png(folder / f"{name}.png")[..., 3] > 0).mean() for name in ("near", "far")}
    assert 0 < seen["far"] < seen["near"] / 10
    assert near["triangles"] == far["triangles"] == 1152


def test_an_automatic_camera_cuts_nothing_off(draws: Draws) -> None:
    """Of no model, from any side, in any shape of picture: the outermost pixels are empty."""
    for size in ({"width": 160, "height": 60}, {"width": 60, "height": 160}):
        for model in ("bolt.glb", "terrain.glb"):
            for elevation in (0, 45, 90):  # below, a terrain has nothing to show
                _, folder = draws(model, background="transparent", elevation=elevation, **size)
                seen = read_png(folder / model.replace("glb", "png"))[..., 3]
                assert seen.max() == 255
                assert max(edge.max() for edge in (seen[0], seen[-1], seen[:, 0], seen[:, -1])) == 0


def test_a_turntable_is_numbered_and_turns(studio: Studio, tmp_path: Path) -> None:
    """Each frame is told; opposite ones differ; a frame alone is the same picture."""
    ctx = make_context(tmp_path, state=studio)
    result = render(ctx, "vase.glb", frames=4, light="direct", output="turn")
    assert result["files"] == [f"turn-000{number}.png" for number in range(1, 5)] == list(ctx.told.artifacts)
    assert [message for _, message in ctx.told.progress][-4:] == [f"frame {i} of 4" for i in range(1, 5)]
    assert set(ctx.told.content_types.values()) == {"image/png"}
    third = (tmp_path / "turn-0003.png").read_bytes()
    render(make_context(tmp_path, state=studio), "vase.glb", frames=4, frame=3, light="direct", output="turn")
    assert (tmp_path / "turn-0003.png").read_bytes() == third
    render(make_context(tmp_path, state=studio), "gear.glb", frames=4, output="gear")
    first, second = (read_png(tmp_path / f"gear-000{number}.png") for number in (1, 2))
    assert (first != second).any()


def test_files_beside_a_gltf_are_drawn(draws: Draws, tmp_path: Path) -> None:
    """Its buffer lies below its folder."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a b.bin").write_bytes(CORNERS)
    described = TRIANGLE | {"buffers": [{"byteLength": 36, "uri": "sub/a%20b.bin"}]}
    (tmp_path / "part.gltf").write_text(json.dumps(described))
    assert draws(tmp_path / "part.gltf")[0]["triangles"] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"meshes": [{"primitives": [{"attributes": {}}]}]}, "cannot be drawn"),
        ({"nodes": [{}]}, "nothing that can be drawn"),
        (
            {"accessors": [{"bufferView": 0, "componentType": 7, "count": 3, "type": "VEC3"}]},
            "cannot be drawn",
        ),
    ],
)
def test_a_model_that_cannot_be_drawn_is_told_and_the_next_one_is_fine(
    draws: Draws, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    """By the page's own words; the browser stays."""
    path = tmp_path / "bad.glb"
    path.write_bytes(glb(TRIANGLE | change))
    with pytest.raises(Fail, match=rf"bad\.glb.*{said}"):
        draws(path)
    assert draws()[0]["triangles"] == 1152
