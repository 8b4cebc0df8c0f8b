"""The page docs/settings.md, from the settings themselves.

Written by: python -m tests.unit.cli.settings_page > docs/settings.md
"""

from __future__ import annotations

import sys

from worker.cli.exits import ExitCode
from worker.cli.setting import Setting
from worker.cli.settings import AGENT_SETTINGS, API_SETTINGS, LOG_SETTINGS, SERVER_SETTINGS

__all__ = ["page"]

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


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for title, settings in PANELS:
        parts.append(f"\n## {title}\n\n| setting | default | |\n|---|---|---|\n")
        parts += [row(setting) for setting in settings]
    parts.append("\n## Exit codes\n\n| code | meaning |\n|---|---|\n")
    parts += [f"| {code.value} | {code.meaning} |\n" for code in ExitCode]
    return "".join(parts)


def row(setting: Setting) -> str:
    """Return the row of one setting."""
    shown = setting.shown_default
    default = shown if isinstance(shown, str) else f"`{setting.default}`" if shown else "–"
    return f"| `{setting.variable}`<br>`{setting.flag}` | {default.replace('<', '&lt;')} | {setting.help} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
