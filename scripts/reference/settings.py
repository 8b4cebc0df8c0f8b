"""The page docs/settings.md, from the settings themselves."""

from __future__ import annotations

from collections.abc import Mapping

from worker.cli.agent_settings import AGENT_SETTINGS
from worker.cli.api_settings import API_SETTINGS
from worker.cli.exits import ExitCode
from worker.cli.server_settings import SERVER_SETTINGS
from worker.cli.setting import Setting
from worker.cli.settings import LOG_SETTINGS
from worker.machine.kubernetes import POD_UID, REQUEST_CPU, REQUEST_CPU_MILLICORES, REQUEST_MEMORY

__all__ = ["OTHERS", "PANELS", "page"]

HEAD = """\
# Settings

Flags win over environment variables, variables over the configuration file, the file over defaults.
A setting has one name: `api_url` is the flag `--api-url`, the variable `MILLHAND_API_URL`, and the key
`api_url` of the file.

The file is TOML: `--config FILE`, else `MILLHAND_CONFIG`, else `~/.config/millhand/config.toml`, else
`/etc/millhand/config.toml`. A key that is no setting is an error that names the nearest one.

```toml
api_url = "https://jobs.example.com"
token_file = "/etc/millhand/token"
concurrency = 4
handlers = ["/opt/handlers/render.py"]
poll_interval = "5s"

[labels]
room = "lab"
```

Times are seconds, or written like `90s`, `5m`, `1h30m`; sizes are bytes, or written like `512M`, `4GiB`,
`4GB`. Lists are separated by commas in flags and variables. What is empty counts as not set.
"""

PANELS: tuple[tuple[str, tuple[Setting, ...]], ...] = (
    ("Jobs API", API_SETTINGS),
    ("Agent", AGENT_SETTINGS),
    ("Server (`millhand serve`)", SERVER_SETTINGS),
    ("Logs", LOG_SETTINGS),
)

# Variables that are no settings: they have neither flag nor key.
OTHERS: Mapping[str, str] = {
    "MILLHAND_CONFIG": "The configuration file, where `--config` names none.",
    "MILLHAND_DEBUG": "With any value, a fault of millhand itself is told with its traceback.",
    "MILLHAND_CHROMIUM": "The browser of `render-webgl`; by default a usual name on the `PATH`.",
    "MILLHAND_CHROMIUM_SANDBOX": "`off`: without its sandbox; see [Handlers](handlers.md#render-webgl).",
    "MILLHAND_SECRET_NAME": "One for [handlers that ask](writing-handlers.md#secrets-by-name).",
    "MILLHAND_UP_PORT": "Port of the server of `millhand up`.",
    POD_UID: "UID of the pod, in Kubernetes; see [Facts](facts.md).",
    REQUEST_CPU: "The pod's request of CPUs.",
    REQUEST_CPU_MILLICORES: "The same, in thousandths.",
    REQUEST_MEMORY: "The pod's request of memory.",
}


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for title, settings in PANELS:
        parts.append(f"\n## {title}\n\n| setting | default | |\n|---|---|---|\n")
        parts += [row(setting) for setting in settings]
    parts.append("\n## Other variables\n\n| variable | |\n|---|---|\n")
    parts += [f"| `{name}` | {meaning} |\n" for name, meaning in OTHERS.items()]
    parts.append("\n## Exit codes\n\n| code | meaning |\n|---|---|\n")
    parts += [f"| {code.value} | {code.meaning} |\n" for code in ExitCode]
    return "".join(parts)


def row(setting: Setting) -> str:
    """Return the row of one setting."""
    shown = setting.shown_default
    default = shown if isinstance(shown, str) else f"`{setting.default}`" if shown else "–"
    return f"| `{setting.variable}`<br>`{setting.flag}` | {default.replace('<', '&lt;')} | {setting.help} |\n"
