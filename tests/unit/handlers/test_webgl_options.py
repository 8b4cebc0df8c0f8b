"""The parameters of a picture, its files' names, and the code of others that draws it."""

from __future__ import annotations

import hashlib
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from handlers import webgl
from handlers.webgl.chromium import BINARY, SANDBOX, find_chromium, is_off, launch_of
from handlers.webgl.options import Options, checked, picture_names
from handlers.webgl.served import FILES, ORIGIN, answer_to
from worker import Fail

VENDORED = Path(webgl.__file__).with_name("vendor")
SOUND = Options(
    type="image/png", width=64, height=64, camera=None, target=None, fov=35, azimuth=0, elevation=0,
    background="#ffffff", light="room", exposure=1, antialias=True, quality=90,
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"width": 0}, "width must be from 1 to 8192"),
        ({"height": 8193}, "height must be"),
        ({"width": 8192, "height": 8192}, "pixels; 33,554,432 are the limit"),
        ({"fov": float("nan")}, "fov must be"),
        ({"elevation": 91}, "elevation must be"),
        ({"exposure": 0}, "exposure must be"),
        ({"quality": 101}, "quality must be"),
        ({"camera": [1, 2]}, "camera must be three numbers"),
        ({"target": [1, 2, float("inf")]}, "target must be three numbers"),
        ({"camera": [1, 2, 3], "target": [1, 2, 3]}, "same point"),
        ({"background": "red"}, "background must be transparent or a colour"),
        ({"background": "transparent", "type": "image/jpeg"}, "JPEG knows no transparency"),
    ],
)
def test_what_is_out_of_its_range_is_named(change: dict[str, Any], said: str) -> None:
    """Before anything is fetched or started."""
    with pytest.raises(Fail, match=said):
        checked(replace(SOUND, **change), 1, None)


@pytest.mark.parametrize(
    ("frames", "frame", "said"),
    [
        (0, None, "frames must be"),
        (1001, None, "frames must be"),
        (4, 0, "frame must be"),
        (4, 5, "frame must be"),
    ],
)
def test_frames_have_a_range(frames: int, frame: int | None, said: str) -> None:
    """A frame is one of them."""
    with pytest.raises(Fail, match=said):
        checked(SOUND, frames, frame)


def test_all_frames_together_have_a_limit_and_single_ones_pass() -> None:
    """A long turntable of large pictures is a task a frame."""
    large = replace(SOUND, width=8192, height=4096)
    with pytest.raises(Fail, match="draw fewer, or one a task"):
        checked(large, 100, None)
    assert list(checked(large, 100, 100)) == [99]


@pytest.mark.parametrize(
    ("output", "frames", "wanted", "names"),
    [
        (None, 1, range(1), ["gear.jpg"]),
        (None, 3, range(3), ["gear-0001.jpg", "gear-0002.jpg", "gear-0003.jpg"]),
        ("a.JPG", 2, range(1, 2), ["a-0002.jpg"]),
        ("a.b", 1, range(1), ["a.b.jpg"]),
    ],
)
def test_files_are_named_after_the_model_or_as_asked(
    output: str | None, frames: int, wanted: range, names: list[str]
) -> None:
    """A frame has the same name, whichever task draws it."""
    assert picture_names(output, "gear.glb", "jpeg", frames, wanted) == names


@pytest.mark.parametrize("output", ["", "../a.png", "a/b", "..", "a\\b", "a\n", "x" * 300])
def test_an_output_that_is_no_file_name_is_refused(output: str) -> None:
    """It would lie elsewhere."""
    with pytest.raises(Fail, match="output must be a file name"):
        picture_names(output, "gear.glb", "png", 1, range(1))


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("name", [None, "output"])
def test_a_name_has_as_many_bytes_as_a_file_system_takes(frames: int, name: str | None) -> None:
    """Number and ending included, also where the model is called so."""
    own = len("-0001.png") if frames > 1 else len(".png")
    for text in ("x" * (255 - own), "x" * (255 - own - 120) + "ä" * 60):
        output, model = (text, "gear.glb") if name else (None, f"{text}.glb")
        first = picture_names(output, model, "png", frames, range(frames))[0]
        assert len(first.encode()) == 255
        output, model = (f"{text}x", "gear.glb") if name else (None, f"{text}x.glb")
        with pytest.raises(Fail, match=r"at most 255 bytes; .* has 256"):
            picture_names(output, model, "png", frames, range(frames))


def test_the_code_of_others_is_what_it_says_to_be() -> None:
    """Every file is listed with its hash, and no other is there; the licence lies beside it."""
    rows = re.findall(
        r"^\| `(\S+)` \| [\d,]+ \| `([0-9a-f]{64})` \|$", (VENDORED / "VENDORED.md").read_text(), re.M
    )
    there = [path for path in VENDORED.rglob("*") if path.suffix in (".js", ".wasm")]
    hashes = {
        path.relative_to(VENDORED).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in there
    }
    assert dict(rows) == hashes
    assert len(hashes) > 5
    assert "MIT License" in (VENDORED / "LICENSE-three").read_text()


def test_the_page_gets_our_files_and_nothing_else() -> None:
    """Whatever else it asks for is refused."""
    for path in FILES:
        how, answer = answer_to("1", ORIGIN + path)
        assert how == "Fetch.fulfillRequest"
        assert any(header["name"] == "Content-Security-Policy" for header in answer["responseHeaders"])
    for url in (
        f"{ORIGIN}/nothing.js", f"{ORIGIN}/?x=1", f"{ORIGIN}/../options.py", "http://render.invalid/", "https://example.com/",
        f"{ORIGIN}:8/", "file:///etc/passwd", "ws://127.0.0.1/", "https://x@render.invalid/", "devtools://devtools/",
    ):  # fmt: skip
        assert answer_to("1", url)[0] == "Fetch.failRequest"


def test_a_browser_is_the_one_named_or_the_first_on_the_path(tmp_path: Path) -> None:
    """Where there is none, it is said what to install; nothing is downloaded."""
    with pytest.raises(Fail, match=r"no Chromium on the PATH.*apt-get install"):
        find_chromium({"PATH": str(tmp_path)})
    browser = tmp_path / "google-chrome"
    browser.touch(mode=0o755)
    assert find_chromium({"PATH": str(tmp_path)}) == str(browser)
    assert find_chromium({"PATH": str(tmp_path), BINARY: sys.executable}) == sys.executable
    with pytest.raises(Fail, match=f"{BINARY} names /nowhere"):
        find_chromium({"PATH": str(tmp_path), BINARY: "/nowhere"})


def test_only_the_setting_takes_the_sandbox_away(tmp_path: Path) -> None:
    """It is on or off, and nothing else."""
    assert not is_off({})
    assert is_off({SANDBOX: "off"})
    with pytest.raises(Fail, match="must be on or off"):
        is_off({SANDBOX: "no"})
    launch = launch_of("chromium", {SANDBOX: "off", "PATH": "/bin"}, tmp_path, with_gpu=False)
    assert "--no-sandbox" in launch.argv
    assert not launch.is_sandboxed


def test_a_machine_without_namespaces_is_told_what_to_do(tmp_path: Path) -> None:
    """Here: `unshare` is not there, or refuses. It is not started without a sandbox instead."""
    for text in (None, "#!/bin/sh\necho not permitted >&2; exit 1\n"):
        if text is not None:
            (tmp_path / "unshare").write_text(text)
            (tmp_path / "setpriv").write_text(text)
            for name in ("unshare", "setpriv"):
                (tmp_path / name).chmod(0o755)
        with pytest.raises(Fail, match=rf"cannot be shut in here.*{SANDBOX}=off"):
            launch_of("chromium", {"PATH": str(tmp_path)}, None, with_gpu=False)
