"""The command `sri`: a table of commands, each imported only when called, and one way to fail.

`sri --help` is answered from the table alone. A command module is `sri_sdk/cli/<module>.py` and holds a click command
or group named `command`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NoReturn

import click

from sri_sdk._version import __version__
from sri_sdk.cli.output import say, visible
from sri_sdk.errors import ConfigError, MissingExtra, SriError, did_you_mean, missing_extra

COMMANDS = {
    "demo": ("demo", "Fit, attack and catch an embedded model, with pictures at the end."),
    "plan": ("plan", "Say what a false-alarm rate costs: prompts, alarms per day, precision."),
    "fit": ("fit", "Make a guard from one YAML file: anchors, detector, thresholds, bundle."),
    "eval": ("eval", "Compare guards under attack, from one YAML file to a report."),
    "run": ("run", "Generate, and watch the signal step by step."),
    "steer": ("steer", "Extract, inspect and apply directions of a model, such as that of its refusals."),
    "drift": ("drift", "Say whether harmless traffic still scores as the calibration did."),
    "score": ("score", "Score signals with a bundle; needs no torch."),
    "monitor": ("monitor", "Run a watched deployment from one YAML file."),
    "serve": ("serve", "Serve bundles to clients of the Open Inference Protocol, and keep verdicts."),
    "dashboard": ("dashboard", "Show a verdict store in a browser: what is wrong, since when, what to do."),
    "label": ("label", "Say what a generation was, benign or an attack: verdicts on verdicts."),
    "report": ("report", "Say what happened in a verdict store, as one page."),
    "bundle": ("bundle", "Inspect, verify, sign and pack bundles."),
    "plugins": ("plugins", "List the plugins that are installed, or start a new one."),
    "check": ("check", "Check that a plugin keeps the promises of its interface."),
    "config": ("config", "Check YAML files, or print their schema."),
    "doctor": ("doctor", "Check this environment, its plugins and the embedded models."),
}
"""Name of the command -> its module under `sri_sdk.cli`, and its line in `sri --help`."""

EPILOG = """\b
Exit codes:
  0    done
  1    a mistake you can mend; each `error:` line names one
  2    wrong usage of the command line
  10   a generation was flagged (only with --fail-on)
  11   a generation was unmonitored (only with --fail-on)
  12   harmless traffic has drifted (only with --fail)
  130  interrupted
A bug shows its traceback; with --debug a mistake does too."""

INTERRUPTED = 130


class CommandTable(click.Group):
    """A group whose commands are known by name and imported when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports one command; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = import_module(f"{__name__}.{COMMANDS[cmd_name][0]}").command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a message that lists the commands."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"no command {args[0]!r}; commands: {', '.join(COMMANDS)}.{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the table without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command; an SriError becomes one line per problem, everything else keeps its traceback."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            say("interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except ModuleNotFoundError as err:
            extra = missing_extra(err)
            if extra is None or ctx.params.get("debug"):
                raise
            _fail(ctx, MissingExtra(f"sri {ctx.invoked_subcommand}", extra=extra))
        except BrokenPipeError:
            raise
        except click.ClickException as err:
            err.message = visible(err.message, lines=True)  # type: ignore[misc]
            raise
        except OSError as err:
            if ctx.params.get("debug"):
                raise
            where = f"{err.filename}: " if err.filename else ""
            say(f"error: {where}{err.strerror or err}. Check the path, and that it can be read or written.", err=True)
            ctx.exit(1)
        except SriError as err:
            if ctx.params.get("debug"):
                raise
            _fail(ctx, err)


def _fail(ctx: click.Context, err: SriError) -> NoReturn:
    for problem in err.problems if isinstance(err, ConfigError) else (str(err),):
        say(f"error: {' '.join(problem.split())}", err=True)
    ctx.exit(1)


@click.group(cls=CommandTable, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sri", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of every error.")
def main(debug: bool) -> None:
    """Watch a language model's hidden states while it generates; say when it is being jailbroken."""
