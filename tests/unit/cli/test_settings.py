"""Settings: flags over variables over the file over defaults, each described once."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
from msgspec import structs

from scripts.reference.settings import OTHERS, PANELS, page
from tests.unit.cli.conftest import Cli
from worker.cli.agent_settings import AGENT_SETTINGS, agent_settings
from worker.cli.api_settings import API_SETTINGS, api_settings
from worker.cli.command import command
from worker.cli.config_fields import field_name
from worker.cli.config_file import read_config
from worker.cli.exits import CliError, ExitCode
from worker.cli.settings import ALL_SETTINGS
from worker.config import AgentConfig, ApiConfig


@pytest.fixture
def config_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what a command gets as its configuration."""

    def run(*args: str) -> AgentConfig:
        got: list[AgentConfig] = []

        @command("probe")
        @agent_settings
        @api_settings
        def probe(*, agent: Any, api: ApiConfig) -> int:
            got.append(agent(api))
            return 0

        probe.main(list(args), standalone_mode=False)
        return got[0]

    return run


def test_every_field_of_the_configuration_has_a_setting() -> None:
    """Nothing that the agent is told can only be set in code."""
    api = {field.name for field in structs.fields(ApiConfig)}
    agent = {field.name for field in structs.fields(AgentConfig)} - {"api", "secrets"}  # named by handlers
    assert {field_name(setting.name) for setting in API_SETTINGS} == api
    assert {field_name(setting.name) for setting in AGENT_SETTINGS} == agent


def test_names_are_unique_and_every_setting_is_described() -> None:
    """One name is one flag, one variable and one key."""
    names = [setting.name for setting in ALL_SETTINGS]
    assert len(names) == len(set(names))
    assert all(setting.help.endswith(".") for setting in ALL_SETTINGS)


def test_defaults_are_those_of_the_configuration(config_of: Any) -> None:
    """No default is written twice."""
    config: AgentConfig = config_of()
    assert config.cloud == "none"  # of the tests
    assert structs.replace(config, state_dir=Path("x"), cloud="auto") == AgentConfig(state_dir=Path("x"))


def test_flags_win_over_variables_over_the_file(
    config_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearest to the person wins."""
    path = tmp_path / "m.toml"
    path.write_text('concurrency = 2\npoll_interval = "3s"\nzone = "file"\napi_url = "http://file:1"\n')
    monkeypatch.setenv("MILLHAND_CONFIG", str(path))
    monkeypatch.setenv("MILLHAND_CONCURRENCY", "3")
    monkeypatch.setenv("MILLHAND_ZONE", "variable")
    config = config_of("--zone", "flag")
    assert (config.zone, config.concurrency, config.poll_interval_s) == ("flag", 3, 3.0)
    assert config.api.url == "http://file:1"


def test_lists_and_labels_come_from_everywhere(
    config_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list is commas in a variable, a list in the file, and a repeated flag."""
    path = tmp_path / "m.toml"
    path.write_text('types = ["a", "b"]\nhandlers = "one.py,two.py"\n[labels]\nroom = "lab"\nfloor = 3\n')
    config = config_of("--config", str(path))
    assert config.types == ("a", "b")
    assert config.handlers == ("one.py", "two.py")
    assert config.labels == {"room": "lab", "floor": "3"}
    monkeypatch.setenv("MILLHAND_TYPES", "c,d e")
    monkeypatch.setenv("MILLHAND_LABELS", "k=v,x=y")
    config = config_of("--config", str(path), "--handlers", "a.py,b.py", "--handlers", "c.py")
    assert config.types == ("c", "d e")
    assert config.labels == {"k": "v", "x": "y"}
    assert config.handlers == ("a.py", "b.py", "c.py")


def test_the_file_in_the_home_is_found(config_of: Any, own_home: Path) -> None:
    """Nobody has to name the usual place."""
    folder = own_home / ".config" / "millhand"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("concurrency = 7\n")
    assert config_of().concurrency == 7


@pytest.mark.parametrize(("key", "is_hidden"), [("token", True), ("store_token", True), ("org_id", False)])
def test_a_file_that_holds_a_secret_is_hidden_from_handlers(
    own_home: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli, key: str, is_hidden: bool
) -> None:
    """Where landlock hides anything at all; a file without secrets stays in sight."""
    path = own_home / "config.toml"
    path.write_text(f'{key} = "something"\n')
    seen: list[AgentConfig] = []

    async def run(config: AgentConfig, secrets: object, on_built: object) -> int:
        seen.append(config)
        return 0

    monkeypatch.setattr("worker.agent.main.run", run)
    assert cli("agent", "--config", str(path), "--hide", "other").code == 0
    assert seen[0].hide == (("other", str(path)) if is_hidden else ("other",))


def test_a_home_that_may_not_be_entered_has_no_file(monkeypatch: pytest.MonkeyPatch, config_of: Any) -> None:
    """As with sudo that keeps HOME: it is no fault of ours, and no error."""

    def refuse(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refuse)
    assert config_of().concurrency == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("concurency = 2", "did you mean 'concurrency'"),
        ("[agent]\nconcurrency = 2", "no setting"),
        ("concurrency = [1]", "list"),
        ("concurrency = ", "not valid TOML"),
    ],
)
def test_a_file_with_a_mistake_is_an_error_that_names_it(tmp_path: Path, content: str, said: str) -> None:
    """A misspelt key is never silently ignored."""
    path = tmp_path / "m.toml"
    path.write_text(content)
    with pytest.raises(CliError) as caught:
        read_config(path)
    assert str(path) in caught.value.message
    assert said in caught.value.message + caught.value.todo
    assert caught.value.code is ExitCode.CONFIGURATION


def test_a_wrong_value_says_where_it_came_from(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong flag is a usage error; a wrong variable or file is a configuration error."""
    ran = cli("jobs", "--request-timeout", "soon")
    assert (ran.code, "--request-timeout" in ran.err) == (2, True)
    monkeypatch.setenv("MILLHAND_REQUEST_TIMEOUT", "soon")
    ran = cli("jobs", "--json")
    assert ran.code == 5
    assert "MILLHAND_REQUEST_TIMEOUT" in ran.err
    assert json.loads(ran.out)["error"]["exitCode"] == 5
    monkeypatch.delenv("MILLHAND_REQUEST_TIMEOUT")
    path = tmp_path / "m.toml"
    path.write_text('request_timeout = "soon"')
    ran = cli("jobs", "--config", str(path))
    assert ran.code == 5
    assert str(path) in ran.err


def test_a_cloud_that_is_none_is_named_with_its_variable(
    cli: Cli, config_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slip of the finger asks nobody; capitals are none."""
    monkeypatch.setenv("MILLHAND_CLOUD", "gcp")
    ran = cli("agent")
    assert ran.code == 5
    assert "MILLHAND_CLOUD" in ran.err
    monkeypatch.setenv("MILLHAND_CLOUD", "AZURE")
    assert config_of().cloud == "azure"


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8077",
        "http://localhost:73613",
        "http://h:0",
        "http://h:no",
        "http://[::1",
        "ftp://h",
        "http://",
    ],
)
def test_an_address_that_is_none_is_a_configuration_error(cli: Cli, url: str) -> None:
    """The message says what an address looks like; the system would take port 73613 as 8077."""
    ran = cli("jobs", "--api-url", url)
    assert ran.code == 5
    assert "http://127.0.0.1:8077" in ran.err


def test_help_names_variable_and_default_of_each_setting(cli: Cli) -> None:
    """Nobody has to look into the code."""
    text = " ".join(cli("agent", "--help").out.split())
    for setting in (*API_SETTINGS, *AGENT_SETTINGS):
        assert setting.variable in text
        assert setting.flag in text
    assert "default: 5.0" in text
    assert click.unstyle(text) == text


def test_the_page_of_settings_is_up_to_date() -> None:
    """It is written from the settings: make reference."""
    root = Path(__file__).parents[3]
    assert (root / "docs" / "settings.md").read_text(encoding="utf-8") == page()


def test_the_page_of_settings_leaves_nothing_out() -> None:
    """Every setting has its row, and so has every other variable that the code reads or hands on.

    `MILLHAND_PARENT_PID` and `MILLHAND_TREE` are between our own processes; nobody sets them. Programs in
    containers are told where their files are; `MILLHAND_SECRET` is the beginning of names.
    """
    shown = [setting for _, settings in PANELS for setting in settings]
    assert {setting.variable for setting in shown} == {setting.variable for setting in ALL_SETTINGS}
    code = "".join(
        path.read_text(encoding="utf-8")
        for package in ("worker", "handlers", "server", "millhand_pytest")
        for path in (Path(__file__).parents[3] / package).rglob("*.py")
    )
    read = set(re.findall(r"\bMILLHAND_[A-Z_]+[A-Z]\b", code))
    assert {"MILLHAND_CONFIG", "MILLHAND_UP_PORT", "MILLHAND_API_URL"} <= read
    own = {"MILLHAND_PARENT_PID", "MILLHAND_TREE", "MILLHAND_SECRET"}
    own |= {f"MILLHAND_{name}" for name in ("INPUT", "INPUTS", "OUTPUTS", "RUN", "SECRETS")}
    assert read <= {setting.variable for setting in shown} | OTHERS.keys() | own


def test_the_readme_names_existing_settings_and_every_exit_code() -> None:
    """Nobody is told to set what nothing reads."""
    text = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    known = {setting.variable for setting in ALL_SETTINGS} | {"MILLHAND_CONFIG", "MILLHAND_DEBUG"}
    assert set(re.findall(r"MILLHAND_[A-Z_]+[A-Z]", text)) <= known
    assert all(f"| {code.value} | {code.meaning} |" in text for code in ExitCode)
