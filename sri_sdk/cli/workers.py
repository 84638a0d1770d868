"""`--workers`, `--ray` and `--patience`: who generates, for the commands that generate much."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from sri_sdk.errors import ConfigError

if TYPE_CHECKING:
    from sri_sdk.executor import Executor

F = TypeVar("F", bound=Callable[..., object])


def worker_options(command: F) -> F:
    """Adds the options to a command, which gets `workers`, `ray` and `patience`."""
    command = click.option(
        "--patience", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
        help="End a worker that is at one batch, its model's loading included, for longer; another makes the batch. "
        "Without it, slow workers are only warned of.",
    )(command)  # fmt: skip
    command = click.option(
        "--ray", metavar="ADDRESS",
        help="Generate on a Ray cluster: local = one for this run, auto = the one that runs here, or HOST:PORT. It "
        "gets a worker per accelerator, or --workers of them.",
    )(command)  # fmt: skip
    return click.option(
        "--workers", type=click.IntRange(min=1), metavar="N",
        help="Generate in N processes, each with a model and an accelerator of its own. The result is the same.",
    )(command)  # fmt: skip


def executor_of(workers: int | None, ray: str | None, patience: float | None = None) -> Executor | None:
    """What starts the workers; None = this process generates.

    Raises:
        PluginError: the executor is not installed.
        ConfigError: it refuses its options, or there is patience and nobody to have it with.
    """
    if workers is None and ray is None:
        if patience is not None:
            raise ConfigError("--patience is for workers, and there are none: add --workers N or --ray ADDRESS.")
        return None
    from sri_sdk import registry

    given = {"workers": workers, "patience": patience}
    options = {name: value for name, value in given.items() if value is not None}
    made: Executor = (
        registry.build("executors", "local", options)
        if ray is None
        else registry.build("executors", "ray", {"address": ray, **options})
    )
    return made
