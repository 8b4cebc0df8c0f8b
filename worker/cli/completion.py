"""`millhand completion`: the script that a shell sources to complete our commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from worker.cli.command import command as make_command

__all__ = ["command"]

VARIABLE = "_MILLHAND_COMPLETE"


@make_command(
    "completion",
    examples="""
millhand completion bash > ~/.local/share/bash-completion/completions/millhand
millhand completion zsh > "${fpath[1]}/_millhand"
millhand completion fish > ~/.config/fish/completions/millhand.fish
""",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    """Print the completion script of SHELL; put it where the shell looks for such scripts."""
    from worker.cli.main import group

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(group, {}, "millhand", VARIABLE).source())
    return 0
