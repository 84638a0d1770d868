"""What runs in a worker: a model that is loaded once, and batches made with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sri_sdk._version import __version__
from sri_sdk.config.fit import FitConfig
from sri_sdk.errors import ModelMismatch, SriError
from sri_sdk.evaluation.drafts import WatchedDrafts
from sri_sdk.evaluation.steered_outcomes import SteeredOutcomes
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.fitting.dispatch import refused
from sri_sdk.fitting.generating import Generating
from sri_sdk.fitting.packed import pack, unpack
from sri_sdk.fitting.tasks import AnchorSums, FoldSignals, Task
from sri_sdk.records import Prompt
from sri_sdk.strict_json import parse, write

TASKS: dict[str, type[Task]] = {
    task.name: task for task in (AnchorSums, FoldSignals, WatchedDrafts, SteeredOutcomes)
}  # fmt: skip


class Worker:
    """Makes shards, one at a time. An executor has one per device, in a process of its own."""

    def __init__(self, setup: bytes) -> None:
        """Takes what the worker is made from; the model is loaded for the first shard.

        Args:
            setup: as `Executor.start` was given it.
        """
        self._setup: dict[str, Any] = parse(setup)
        self._live: Generating | None = None
        self._stage = b""
        self._task: Task | None = None

    def make(self, stage: bytes, prompts: bytes) -> bytes:
        """Makes one shard.

        Args:
            stage: `Shard.stage`.
            prompts: `Shard.prompts`.

        Returns:
            What the process that deals keeps: the result, or the error that every worker would find.
        """
        try:
            if self._live is None:
                self._live = _opened(self._setup)
            if self._task is None or stage != self._stage:
                self._stage, self._task = stage, _task(stage)
            batch = tuple(Prompt(**each) for each in parse(prompts))
            return pack(*self._task.make(self._live, batch))
        except SriError as err:
            return pack(*refused(err))


def _task(stage: bytes) -> Task:
    arrays, notes = unpack(stage)
    return TASKS[notes["task"]].restored((arrays, notes["state"]))


def _opened(setup: dict[str, Any]) -> Generating:
    """The model of a deployment, if it equals the one of the process that deals.

    Raises:
        ModelMismatch: another release, or another model, package or circumstance here.
    """
    import torch

    if setup["version"] != __version__:
        raise ModelMismatch(
            f"a worker has sri-sdk {__version__}, and the run {setup['version']}. Install the same release everywhere."
        )
    torch.set_num_threads(setup["threads"])
    if Path(setup["folder"]).is_dir():
        # Relative paths of a config are relative to where the command was started.
        os.chdir(setup["folder"])
    _quiet()
    deployment = Deployment.open(FitConfig.model_validate(setup["config"]))
    mine, wanted = parse(write(deployment.fingerprint.to_dict())), setup["fingerprint"]
    if differing := [
        f"{name} is {mine.get(part, {}).get(name)!r} instead of {value!r}"
        for part, facts in wanted.items()
        if isinstance(facts, dict)
        for name, value in facts.items()
        if mine.get(part, {}).get(name) != value
    ] or ([] if mine == wanted else ["it says more than the other"]):
        raise ModelMismatch(
            f"a worker's model is not the one of the run: {'; '.join(differing)}. Give every machine the same weights "
            "and packages."
        )
    return Generating.on(deployment)


def _quiet() -> None:
    """Bars of models that are loaded, from every worker, would cover those of the run."""
    try:
        from transformers.utils import logging
    except ImportError:
        return
    logging.disable_progress_bar()
