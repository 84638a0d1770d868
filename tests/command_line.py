"""docs/command-line.md, as click prints it: `python -m tests.command_line` writes the page anew."""

from collections.abc import Iterator
from pathlib import Path

import click

from sri_sdk.cli import main

PAGE = Path(__file__).parents[1] / "docs/command-line.md"
WIDTH = 100

HEAD = """\
# Command line

What `sri --help` and `sri COMMAND --help` print. This page is generated: change the docstring and the options of a
command in `sri_sdk/cli/`, then run `make command-line`.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *sections(main, "sri", None)])


def sections(command: click.Command, name: str, above: click.Context | None) -> Iterator[str]:
    """A heading and the help of a command, then those of its subcommands."""
    ctx = click.Context(command, above, name, terminal_width=WIDTH, **command.context_settings)
    yield f"## {ctx.command_path}\n\n```text\n{command.get_help(ctx).rstrip()}\n```\n"
    if isinstance(command, click.Group):
        for each in command.list_commands(ctx):
            below = command.get_command(ctx, each)
            assert below is not None, each
            yield from sections(below, each, ctx)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
