"""A file of templates: what is wrong in it is named, and values become arguments and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.programs.filling import checked_values, filled
from handlers.programs.parameters import File, Input, Integer, Number, Text
from handlers.programs.templates import TemplateError, find_templates, read_templates
from worker.sdk.errors import InvalidParameters
from worker.sdk.testing import ToldContext

TRANSCODE = r"""
[transcode]
summary = "Transcode a video"
argv = [
    "ffmpeg", "-i", "{input}", ["-ss", "{start}"], "-crf", "{quality}", "{fast}", "scale={width}:-1",
    "{output}",
]
outputs = ["{output}", "*.log"]
timeout = "2h"
[transcode.parameters]
input = { type = "input" }
quality = { type = "integer", minimum = 0, maximum = 51, default = 23 }
start = { type = "number", optional = true }
width = { type = "choice", values = [1280, 1920], default = 1280 }
fast = { type = "boolean", on = ["-preset", "fast"], default = false }
output = { type = "file", default = "out[1].mp4", pattern = '.+\.mp4' }
"""


def read(folder: Path, text: str) -> Any:
    """Read a file of templates with this text."""
    path = folder / "commands.toml"
    path.write_text(text)
    return read_templates(path)


def arguments(ctx: ToldContext, folder: Path, **values: Any) -> list[str]:
    """Return what the template of the tests becomes."""
    (folder / "in.mov").write_bytes(b"film")
    template = read(folder, TRANSCODE)["transcode"]
    return filled(
        template, checked_values(template, {"input": str(folder / "in.mov")} | values), ctx
    ).arguments


def test_values_become_arguments(ctx: ToldContext, tmp_path: Path) -> None:
    """Defaults stand in; a group without its value is left out; a file is a path in the run's folder."""
    source, out = str(tmp_path / "in.mov"), str(ctx.workdir / "out[1].mp4")
    assert arguments(ctx, tmp_path) == ["-i", source, "-crf", "23", "scale=1280:-1", out]
    assert arguments(ctx, tmp_path, start="1.5", fast="true", width="1920", quality="0") == [
        "-i", source, "-ss", "1.5", "-crf", "0", "-preset", "fast", "scale=1920:-1", out,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.0, "0.0"), ("-0", "0.0"), ("-0.000", "0.0"), (0, "0"), (1e-7, "0.0000001"), (1e23, "1" + "0" * 23)],
)
def test_a_number_is_written_without_sign_and_exponent(
    ctx: ToldContext, tmp_path: Path, value: Any, text: str
) -> None:
    """Minus nought is no option, and programs read digits."""
    source, out = str(tmp_path / "in.mov"), str(ctx.workdir / "out[1].mp4")
    assert arguments(ctx, tmp_path, start=value) == [
        "-i", source, "-ss", text, "-crf", "23", "scale=1280:-1", out,
    ]  # fmt: skip


def test_a_name_is_no_pattern_among_the_outputs(ctx: ToldContext, tmp_path: Path) -> None:
    """What a task calls its file matches that file alone."""
    arguments(ctx, tmp_path)
    template = read(tmp_path, TRANSCODE)["transcode"]
    values = checked_values(template, {"input": str(tmp_path / "in.mov"), "output": "*.mp4"})
    assert filled(template, values, ctx).outputs == ["[*].mp4", "*.log"]


def test_what_stands_in_a_value_is_not_looked_at_again(ctx: ToldContext, tmp_path: Path) -> None:
    """Braces of a task name no other value."""
    template = read(tmp_path, '[x]\nargv = ["x", "{a}", "{{b}}"]\nparameters.a.type = "text"')["x"]
    values = checked_values(template, {"a": "{a} {b} {0.__class__} $(id)"})
    assert filled(template, values, ctx).arguments == ["{a} {b} {0.__class__} $(id)", "{b}"]


def test_every_refused_value_is_named(ctx: ToldContext, tmp_path: Path) -> None:
    """All at once, with what it must be."""
    with pytest.raises(InvalidParameters) as refused:
        arguments(ctx, tmp_path, quality=52, start=-1, width=7, fast="maybe", output="a/b.mp4", bitrate=1)
    assert refused.value.problems == [
        "values.quality must be a whole number from 0 to 51, not 52",
        "values.start must be a number from 0, not -1",
        "values.width must be one of 1280, 1920, not 7",
        "values.fast must be true or false, not 'maybe'",
        r"values.output must be a plain file name of at most 200 bytes that fits .+\.mp4, not 'a/b.mp4'",
        "values.bitrate is unexpected; the template takes input, quality, start, width, fast, output",
    ]
    template = read(tmp_path, TRANSCODE)["transcode"]
    with pytest.raises(InvalidParameters, match=r"values\.input is missing: a path or URL"):
        checked_values(template, {})


@pytest.mark.parametrize(
    "value", [True, None, [1], {}, "1e3", "0x10", "", float("nan"), float("inf"), 1.5, "−1"]
)
def test_no_integer(value: Any) -> None:
    """Neither truth values nor other spellings."""
    with pytest.raises(ValueError, match="must be a whole number"):
        Integer().check(value)


@pytest.mark.parametrize("value", [False, "1e3", "inf", float("inf"), float("nan"), -0.1, 1e25])
def test_no_number(value: Any) -> None:
    """No infinity, and nothing below 0 unless the operator says so."""
    with pytest.raises(ValueError, match="must be a number"):
        Number().check(value)
    assert Number(minimum=-1).check("-0.5") == -0.5


@pytest.mark.parametrize("value", ["-x", "--", "-", "a\nb", "a\0b", "", "\ud800", "x" * 1001, 7, "\u202eb"])
def test_no_text(value: Any) -> None:
    """No option, no second line, nothing that cannot be printed."""
    with pytest.raises(ValueError, match="must"):
        Text().check(value)


@given(st.text())
def test_no_text_is_an_option(value: str) -> None:
    """Whatever is taken begins with no dash and is one printable line."""
    try:
        taken = Text().check(value)
    except ValueError:
        return
    assert taken == value
    assert taken.isprintable()
    assert not taken.startswith("-")


@given(st.text())
def test_no_file_leaves_its_folder(value: str) -> None:
    """Whatever is taken is one visible file of the folder."""
    try:
        taken = File().check(value)
    except ValueError:
        return
    path = Path("/run/folder") / taken
    assert path.parent == Path("/run/folder")
    assert path.name == taken
    assert taken[0] not in ".-"


@pytest.mark.parametrize(
    "value", ["..", ".", "", "a/b", "/etc/passwd", "a\\b", ".hidden", "-o", "inputs", "é" * 101]
)
def test_no_file(value: str) -> None:
    """Nor a place that others use."""
    with pytest.raises(ValueError, match="must be a plain file name"):
        File().check(value)


def test_an_input_comes_from_where_the_operator_says(tmp_path: Path) -> None:
    """Links and dots are followed before, file URLs are paths, and hosts are whole."""
    media, other = tmp_path / "media", tmp_path / "other"
    for folder in (media, other):
        folder.mkdir()
        (folder / "a.mov").write_bytes(b"film")
    (media / "link.mov").symlink_to(other / "a.mov")
    kind = Input(sources=[str(media), "s3", "https://media.example.com/films/"])
    for allowed in (f"{media}/a.mov", f"file://{media}/a.mov", f"{other}/../media/a.mov"):
        assert kind.check(allowed) == str(media / "a.mov")
    for allowed in ("s3://bucket/a.mov", "https://media.example.com/films/a.mov", "S3://bucket/a.mov"):
        assert kind.check(allowed).lower() == allowed.lower()
    for refused in (
        f"{other}/a.mov", f"{media}/../other/a.mov", f"{media}/link.mov", f"file://{other}/a.mov", "a.mov",
        f"{media}er/a.mov", "http://media.example.com/films/a", "https://media.example.com.evil.org/films/a",
        "https://media.example.com/films/../private", "https://media.example.com/films/%2e%2e/private",
        "gs://bucket/a.mov", "ftp://x/y",
    ):  # fmt: skip
        with pytest.raises(ValueError, match="may only come from"):
            kind.check(refused)


TOOL = '[x]\nargv = ["tool"]\n'  # a table that is sound
ONE = '[x]\nargv = ["tool", "{a}"]\n[x.parameters.a]\n'  # and one with a parameter
BROKEN = {
    "x = 1": "[x] expected",
    "[x]": "[x] object missing required field `argv`",
    "[x]\nargv = []": "[x] argv: its first element must be the program",
    '[x]\nargv = [["a"]]': "[x] argv: its first element must be the program",
    '[x]\nargv = ["{p}"]\nparameters.p.type = "text"': "[x] argv: the program itself cannot be a value",
    '[x]\nargv = ["bin/tool"]': "[x] argv: 'bin/tool' is a relative path",
    '[x]\nargv = "tool"': "[x] argv: expected `array`, got `str`",
    '[x]\nargv = ["tool", 1]': "[x] argv[1]: expected `str | array`, got `int`",
    '[x]\nargv = ["tool", "{a}"]': "[x] argv: '{a}': there is no parameter 'a'",
    '[x]\nargv = ["tool", "{a.b}"]': "[x] argv: '{a.b}': write {name} for a value",
    '[x]\nargv = ["tool", "{}"]': "[x] argv: '{}': write {name} for a value",
    '[x]\nargv = ["tool", "{a!r}"]\nparameters.a.type = "text"': "[x] argv: '{a!r}': write {name}",
    '[x]\nargv = ["tool", "{"]': "[x] argv: ",
    TOOL + 'timout = "1h"': "[x] object contains unknown field `timout`",
    TOOL + 'timeout = "soon"': "[x] timeout: must be seconds, or text like 90s, 5m or 1h30m",
    TOOL + "timeout = 0": "[x] timeout: must be seconds",
    TOOL + 'progress = "("': "[x] progress: '(' is no regular expression",
    TOOL + 'progress = ["(?P<speed>.)"]': "groups are named percent, done, total, time, duration",
    TOOL + 'progress = ["(?P<total>.)"]': "[x] progress: has no pattern with a group percent",
    TOOL + 'progress_total = "n"': "[x] progress_total: must name a parameter",
    TOOL + 'outputs = ["../x"]': "[x] outputs: '../x' must be a pattern below the run's folder",
    TOOL + 'outputs = ["{o}"]': "[x] outputs: '{o}': there is no parameter 'o'",
    TOOL + 'environment = { "A=B" = "c" }': "[x] environment: 'A=B' is no name",
    TOOL + 'environment.MILLHAND_TREE = "c"': "[x] environment: 'MILLHAND_TREE' is no name",
    TOOL + "environment.A = 1": "[x] environment[...]: expected `str`, got `int`",
    TOOL + "success_exit_codes = [256]": "[x] success_exit_codes: 256 is no exit code",
    TOOL + "retry_exit_codes = [0]": "[x] retry_exit_codes: 0 is an exit code that means success",
    TOOL + 'parameters.a.type = "text"': "[x] parameters.a: nothing in argv uses it",
    '[x]\nargv = ["tool", "{a}"]\nparameters.a = 1': "[x] parameters.a: expected `object`",
    '[x]\nargv = ["tool", "{a}"]\nparameters.a.type = "hue"': "[x] parameters.a.type: invalid value 'hue'",
    ONE + "maximum = 1": "[x] parameters.a: object missing required field `type`",
    ONE + 'type = "integer"\nmaximum = "x"': ("[x] parameters.a.maximum: expected `int | null`, got `str`"),
    ONE + 'type = "integer"\ndefault = -1': (
        "[x] parameters.a.default: must be a whole number from 0, not -1"
    ),
    ONE + 'type = "text"\npattern = "["': ("[x] parameters.a.pattern: '[' is no regular expression"),
    ONE + 'type = "choice"': "[x] parameters.a.values: name at least one",
    ONE + 'type = "boolean"': "[x] parameters.a.on: name the arguments",
    '[x]\nargv = ["tool", "-{a}"]\n[x.parameters.a]\ntype = "boolean"\non = ["-a"]': (
        "[x] argv: '-{a}': a boolean is an argument by itself"
    ),
    ONE + 'type = "input"\nsources = ["media"]': (
        "[x] parameters.a.sources: 'media' must be an absolute folder"
    ),
    ONE + 'type = "text"\noptional = true': (
        "[x] argv: '{a}': there is no parameter 'a' that always has a value"
    ),
    '["a b"]\nargv = ["tool"]': "['a b']: a name has letters",
    "[x": " is not valid TOML: ",
}


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, text: str) -> None:
    """The file, the table, the key, and what it must be."""
    with pytest.raises(TemplateError) as broken:
        read(tmp_path, text)
    assert BROKEN[text] in str(broken.value)
    assert str(broken.value).startswith(str(tmp_path / "commands.toml"))
    assert len(str(broken.value).splitlines()) == 1


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Missing, a folder, too large, no text; and without a setting there are none."""
    with pytest.raises(TemplateError, match=r"nothing.toml cannot be read by uid \d+: No such file"):
        find_templates({"MILLHAND_COMMAND_TEMPLATES": str(tmp_path / "nothing.toml")})
    with pytest.raises(TemplateError, match="cannot be read"):
        read_templates(tmp_path)
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(TemplateError, match="is larger than 1 MiB"):
        read_templates(large)
    large.write_bytes(b"\xff\xfe")
    with pytest.raises(TemplateError, match="is not valid TOML"):
        read_templates(large)
    assert find_templates({}) == {}
