"""`--workers` and `--ray`: who generates, for the commands that generate much."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from sri_sdk.executor import Executor

F = TypeVar("F", bound=Callable[..., object])


def worker_options(command: F) -> F:
    """Adds both options to a command, which gets `workers` and `ray`."""
    command = click.option(
        "--ray", metavar="ADDRESS",
        help="Generate on a Ray cluster: local = one for this run, auto = the one that runs here, or HOST:PORT. It "
        "gets a worker per accelerator, or --workers of them.",
    )(command)  # fmt: skip
    return click.option(
        "--workers", type=click.IntRange(min=1), metavar="N",
        help="Generate in N processes, each with a model and an accelerator of its own. The result is the same.",
    )(command)  # fmt: skip


def executor_of(workers: int | None, ray: str | None) -> Executor | None:
    """What starts the workers; None = this process generates.

    Raises:
        PluginError: the executor is not installed.
        ConfigError: it refuses its options.
    """
    if workers is None and ray is None:
        return None
    from sri_sdk import registry

    options = {} if workers is None else {"workers": workers}
    made: Executor = (
        registry.build("executors", "local", options)
        if ray is None
        else registry.build("executors", "ray", {"address": ray, **options})
    )
    return made
