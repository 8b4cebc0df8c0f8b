"""Close a long-lived process of ours to others, before it reads a secret."""

from __future__ import annotations

from collections.abc import Iterable

from worker.cli.setting import Setting

__all__ = ["guard_secrets"]


def guard_secrets(settings: Iterable[Setting]) -> None:
    """Close this process, and wipe settings that are secrets from its environment and arguments.

    Click has read them. What is started from here on does not inherit them.
    """
    from worker.agent.own_secrets import keep_to_itself, wipe_settings

    secret = [setting for setting in settings if setting.is_secret]
    keep_to_itself()
    wipe_settings([setting.variable for setting in secret], [setting.flag for setting in secret])
