"""`sri run`: generate under watch, step by step, in the terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sri_sdk.cli.output import say, say_json
from sri_sdk.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from sri_sdk.capture.drive import Drive
    from sri_sdk.capture.settings import WatchSettings
    from sri_sdk.config.fit import FitConfig
    from sri_sdk.fitting.deployment import Deployment
    from sri_sdk.policy import Decision
    from sri_sdk.records import Prompt, SamplerStep
    from sri_sdk.steer.recovery.recovery import Recovery


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--prompt", "texts", multiple=True, help="What to ask; repeatable. Without it: one prompt of each kind.")
@click.option("--group", help="Group of the requests under --prompt, for a guard with thresholds by group.")
@click.option("--guard", type=click.Path(path_type=Path), help="Folder of the guard; default: `out` of the config.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines: one per step, then one verdict per prompt.")
@click.option("--delay", type=click.FloatRange(0), default=0.0, help="Seconds to wait after each step, to watch it.")
def command(
    config: Path, texts: tuple[str, ...], group: str | None, guard: Path | None, as_json: bool, delay: float
) -> None:
    """Generate with a live view: the draft as it changes, beside the signal."""
    from sri_sdk.cli.bars import prepare_libraries
    from sri_sdk.config.load import load_config

    checked = load_config(config)
    folder = guard or Path(checked.out)
    if not folder.exists():
        raise ConfigError(f"{folder}: no guard here. Fit one first: sri fit {config}")
    prepare_libraries()
    from sri_sdk import registry
    from sri_sdk.capture.settings import watch_settings
    from sri_sdk.emitter import Emitter
    from sri_sdk.fitting.deployment import Deployment
    from sri_sdk.scoring.guard import Guard

    # Before the model is loaded: a guard that is not the one asked for is refused in a moment.
    loaded = Guard.load(folder, public_key=checked.trust.public_key, digest=checked.trust.digest)
    if group is not None:
        _check_group(group, texts, loaded.scorer.groups)
    recovery = _recovery(checked)
    deployment = Deployment.open(checked)
    with Emitter([registry.build("sinks", sink.name, sink.options) for sink in checked.sinks]) as emitter:
        settings = watch_settings(
            deployment.hook, loaded, policy=checked.policy, accept=checked.accept, emitter=emitter, live=True,
            sampler=deployment.fingerprint.hard["sampler"], fingerprint=deployment.fingerprint,
        )  # fmt: skip
        for prompt in _prompts(checked, texts, group):
            _one(deployment, settings, prompt, recovery, as_json=as_json, delay=delay)
        emitter.flush()
        for each in emitter.deliveries:
            if missing := each.accepted - each.delivered:
                say(f"{each.sink}: {missing} of {each.accepted} verdicts were not delivered", err=True)


def _recovery(config: FitConfig) -> Recovery | None:
    """What answers in place of flagged responses, with its directions read; None = the policy recovers nothing."""
    if not config.policy.recovers:
        return None
    from sri_sdk import registry
    from sri_sdk.steer.recovery.recovery import Recovery

    return Recovery.open(config.policy, registry.build("judges", config.judge.name, config.judge.options))


def _check_group(group: str, texts: Sequence[str], known: Sequence[str]) -> None:
    """Refuses a group that nothing would come of.

    Raises:
        ConfigError: there is no prompt that it could be of, or the guard has no such group.
    """
    if not texts:
        raise ConfigError("--group: the prompts of a dataset have groups of their own; give it with --prompt")
    if not known:
        raise ConfigError("--group: this guard has one threshold for all requests; leave it out")
    if group not in known:
        raise ConfigError(
            f"--group: found {group!r}, this guard has: {', '.join(known)}.{did_you_mean(group, known)} Leave it out "
            "to see a request of no known group judged."
        )


def _prompts(config: FitConfig, texts: Sequence[str], group: str | None) -> list[Prompt]:
    """The user's prompts, or one of each kind from the dataset's last split."""
    from sri_sdk import registry
    from sri_sdk.fitting.groups import group_of
    from sri_sdk.records import Prompt

    if texts:
        return [Prompt(f"prompt-{i}", text, "harmless", group=group) for i, text in enumerate(texts)]
    dataset = registry.build("datasets", config.prompts.dataset, config.prompts.options)
    split = config.folds.test.split if config.folds.test is not None else config.folds.calibration.split
    kinds: list[tuple[Any, str | None]] = [("harmless", None), ("harmful", None)]
    kinds += [("harmful", attack) for attack in list(dataset.attacks())[:1]]
    found = [dataset.prompts(split, label, 1, attack=attack)[0] for label, attack in kinds]
    return [replace(prompt, group=group_of(prompt, config.folds.calibration.groups)) for prompt in found]


def _one(
    deployment: Deployment, settings: WatchSettings, prompt: Prompt, recovery: Recovery | None, *, as_json: bool,
    delay: float,
) -> None:  # fmt: skip
    """One generation. What the policy withholds is not printed."""
    from sri_sdk.capture.drive import drive

    config = deployment.config
    batch = drive(
        deployment.hook, deployment.loaded, deployment.sampler, [prompt], settings, seed=config.seed,
        system_prompt=config.model.system_prompt, recovery=recovery,
    )  # fmt: skip
    show = _Lines(prompt, deployment) if as_json else _Screen(prompt, deployment, delay)
    with show:
        for step in batch:
            show.step(batch, step)
        (decision,) = batch.run.decisions
        show.end(batch, decision)
    if 0 in batch.undecoded:
        say(f"{prompt.id}: the response cannot be decoded: {batch.undecoded[0]}", err=True)


def sigma_so_far(batch: Drive) -> list[float]:
    """The signal of the first request, up to the last closed cell, of the last tapped layer."""
    stream = batch.run.live
    # A guard that reads requests alone has no layer.
    if stream is None or not stream.sigma.shape[2]:
        return []
    found: list[float] = stream.sigma[0, : int(stream.lengths[0]), -1].tolist()
    return found


def request_so_far(batch: Drive) -> float | None:
    """Log-odds that the first request is harmless; None where the guard has no such column, or nothing was read yet."""
    column = batch.run.request_so_far() if batch.run.request_read else None
    return None if column is None or math.isnan(column.logit[0]) else float(column.logit[0])


_RECOVERED = {
    "remask": "the model's own answer, after what leant towards harm was opened again",
    "steer": "the model's own answer, steered towards refusal",
    "judge": "released by the judge",
    "refuse": "the refusal text of the policy",
}
"""What answers in place of a flagged response, in words."""


class _Lines:
    """JSON lines."""

    def __init__(self, prompt: Prompt, deployment: Deployment) -> None:
        self._prompt, self._policy = prompt, deployment.config.policy

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def step(self, batch: Drive, step: SamplerStep) -> None:
        """One line per step; without the draft if the policy may withhold the response."""
        draft = None if self._policy.may_withhold else batch.texts[0]
        sigma = [None if math.isnan(cell) else cell for cell in sigma_so_far(batch)]
        line = {"id": self._prompt.id, "step": step.index, "draft": draft, "sigma": sigma}
        if (request := request_so_far(batch)) is not None:
            line["request"] = request
        self._write(line)

    def end(self, batch: Drive, decision: Decision) -> None:
        """The verdict, and the response unless the policy withholds it."""
        verdict, (response,) = decision.verdict.to_dict(), batch.responses
        line: dict[str, Any] = {
            "verdict": verdict, "response": response, "withheld": decision.withheld,
            "own_refusal": decision.own_refusal,
        }  # fmt: skip
        if self._policy.recovers:
            line["recovered"] = decision.recovered
            line["recoveries"] = [action.to_dict() for action in batch.recoveries]
        self._write(line)

    @staticmethod
    def _write(value: dict[str, Any]) -> None:
        say_json(value)


class _Screen:
    """The live view."""

    def __init__(self, prompt: Prompt, deployment: Deployment, delay: float) -> None:
        from rich.console import Console
        from rich.live import Live

        self._prompt, self._deployment, self._delay = prompt, deployment, delay
        self._last: SamplerStep | None = None
        self._console = Console(file=sys.stdout)
        self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> _Screen:
        self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._live.__exit__(*error)
        if not self._console.is_terminal:
            self._console.print()

    def step(self, batch: Drive, step: SamplerStep) -> None:
        """Draws the draft: committed words bold, predicted ones dim."""
        import time

        self._last = step
        self._draw(batch, None)
        time.sleep(self._delay)

    def end(self, batch: Drive, decision: Decision) -> None:
        """Draws the verdict."""
        self._draw(batch, decision)

    def _draw(self, batch: Drive, decision: Decision | None) -> None:
        from sri_sdk.cli.live import frame

        deployment, step = self._deployment, self._last
        draft = self._words(batch, step)
        if decision is not None and decision.recovered is not None:
            tried = [f"{each.action}: {each.result}" for each in batch.recoveries if not each.accepted]
            said = "; ".join([_RECOVERED[decision.recovered], *tried])
            draft = [(str(batch.responses[0]), True), (f" [{said}]", False)]
        elif decision is not None and decision.withheld:
            draft = [("[withheld by policy]", False)]
        elif decision is not None and decision.own_refusal:
            draft = [*draft, (" [the model refused by itself]", False)]
        elif decision is None and deployment.config.policy.may_withhold:
            draft = [("[held back until the verdict]", False)]
        grid = deployment.settings.grid
        assert grid is not None
        sigma = sigma_so_far(batch)
        index = -1 if step is None else step.index
        picture = frame(
            self._prompt.text, draft, sigma, grid.cells, index, deployment.sampler.budget(),
            None if decision is None else decision.verdict, request=request_so_far(batch),
        )  # fmt: skip
        self._live.update(picture, refresh=True)

    def _words(self, batch: Drive, step: SamplerStep | None) -> list[tuple[str, bool]]:
        if step is None:
            return []
        from sri_sdk.cli.live import spaced

        # Token by token, so that each can say whether it is committed.
        tokens, hook, tokenizer = step.draft[0], self._deployment.hook, self._deployment.loaded.tokenizer
        try:
            pieces = spaced(hook.decode(tokenizer, tokens[:, None]), hook.decode(tokenizer, tokens[None])[0])
        except Exception:
            # A tokenizer's failure costs the text, and not the verdict.
            return [("[cannot be decoded]", False)] if not batch.texts[0] else [(batch.texts[0], True)]
        return list(zip(pieces, step.committed[0].tolist(), strict=True))
