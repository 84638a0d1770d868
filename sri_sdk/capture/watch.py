"""Watch: the user's own generate call, untouched, under observation."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from sri_sdk.capture.choose import choose_hook
from sri_sdk.capture.conclude import INTERRUPTED
from sri_sdk.capture.identity import model_circumstances, model_facts
from sri_sdk.capture.pool import USUAL
from sri_sdk.capture.recorder import Layers, WatchSettings
from sri_sdk.capture.run import Run
from sri_sdk.capture.tap import tap_of
from sri_sdk.errors import ConfigError, did_you_mean
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.grid import StepGrid
from sri_sdk.hook import Hook
from sri_sdk.records import Rule
from sri_sdk.scoring.guard import Guard


@contextmanager
def watch(
    model: Any,
    guard: Guard | Path | str | None = None,
    *,
    hook: Hook | str | None = None,
    request_ids: Sequence[str] | None = None,
    rule: Rule = "final",
    abort: bool = False,
    accept: Collection[str] = (),
    system_prompt: str | None = None,
    pooling: str | None = None,
    layers: Layers = ("final",),
    grid: StepGrid | None = None,
) -> Iterator[Run]:
    """Watches one generation of a model.

        with sri_sdk.watch(model, guard="out/lab", request_ids=["r1"]) as run:
            model.generate(**inputs)
        print(run.verdicts)

    The tokens are the same, bit for bit, with and without it. Forward passes of other threads and tasks are not
    heard. A run whose tap never fired is `unmonitored`, never `clear`.

    The guard's sampler and generation profile cannot be read off a running model: generate with the profile that
    the guard was fitted on. What can be seen is checked: architecture, width, config, weights, number of steps. Where a
    family stops when it likes, only its output tells whether every step was seen. A watch reads it off the model's own
    methods; what a function returned that takes the model is handed to `run.returned(...)`, else a generation shorter
    than the budget is `unmonitored` (`end_not_seen`). Greedy decoding and sampling are supported; beam search and
    assisted decoding are not, since their rows are not requests.

    A thread that the block starts has a context of its own: call `watch` inside the thread, or copy the context.

    Args:
        model: the loaded model.
        guard: a `Guard`, or the folder `sri fit` wrote; None = collect traces only.
        hook: a hook, or its plugin name; None = the installed hook that fits.
        request_ids: one per row of the batch, for verdicts and traces; None = "0", "1" ...
        rule: `final` decides at the end, `online` at every step.
        abort: raise `GenerationAborted` at the pass after the first alarm. The whole batch stops. Online rule only.
        accept: soft fields of the fingerprint that may differ from the guard's.
        system_prompt: the system prompt in use, if any; compared with the guard's, never stored.
        pooling: without a guard: pooling profile; None = `response` (masked) or `predicting` (autoregressive).
        layers: without a guard: what to tap, `final` or block numbers.
        grid: without a guard: lays progress on a step grid.

    Yields:
        The run; its `traces`, `signals` and `verdicts` are there when the block has ended.

    Raises:
        ModelMismatch: no hook fits, or the guard was not made for this model.
        ConfigError: the arguments contradict each other.
        GenerationAborted: with `abort`, at the pass after an alarm.
    """
    if abort and rule != "online":
        raise ConfigError("watch: abort=True needs rule='online'; the final rule decides when nothing is left to stop.")
    if rule not in get_args(Rule):
        raise ConfigError(
            f"watch: rule {rule!r}; allowed: {', '.join(get_args(Rule))}.{did_you_mean(rule, get_args(Rule))}"
        )
    if guard is not None and (pooling is not None or grid is not None or layers != ("final",)):
        raise ConfigError("watch: pooling, layers and grid come with the guard; leave out those, or the guard.")
    if not isinstance(hook, Hook | str | None):
        raise ConfigError(f"watch: hook {hook!r}; pass a plugin's name, or a hook on the model: hook=MyHook(model).")
    if isinstance(request_ids, str) or len(set(request_ids or ())) != len(request_ids or ()):
        raise ConfigError(f"watch: request_ids {request_ids!r}; pass a list with one id per row, each only once.")
    if type(model).__name__ == "DataParallel":
        raise ConfigError(
            "watch: DataParallel runs copies of the model in threads of its own, which no watch hears. Spread the "
            "model over GPUs with a device_map, or use DistributedDataParallel, and watch in each process."
        )
    family = hook if isinstance(hook, Hook) else choose_hook(model, hook)
    if family.model is not model:
        raise ConfigError("watch: the hook was built on another model object, and would hear nothing of this one.")
    settings = (
        without_guard(family, pooling, layers, grid)
        if guard is None
        else with_guard(family, guard, rule=rule, abort=abort, accept=accept, system_prompt=system_prompt)
    )
    run, tap = Run(family, settings, request_ids), tap_of(model)
    try:
        with tap.installed(family, run), tap.owned_by(run):
            yield run
    except BaseException:
        run.fail(INTERRUPTED)
        raise
    finally:
        run.finish()


def without_guard(hook: Hook, pooling: str | None, layers: Layers, grid: StepGrid | None) -> WatchSettings:
    """Traces only."""
    return WatchSettings(pooling or USUAL[hook.scheme], layers, grid, keep_states=True)


def with_guard(
    hook: Hook, guard: Guard | Path | str, *, rule: Rule, abort: bool = False, accept: Collection[str] = (),
    system_prompt: str | None = None, sampler: Mapping[str, Any] | None = None, live: bool = False,
) -> WatchSettings:  # fmt: skip
    """Signals and verdicts: the tap follows the guard's fingerprint, and the live model must match it.

    `sampler` is the generation profile where we drive it; None = the caller's promise. For the rest see `watch`.
    """
    loaded = guard if isinstance(guard, Guard) else Guard.load(guard)
    expected = loaded.anchors.fingerprint
    # What a live model cannot show (sampler, profile) is the caller's promise; what it can show is compared.
    shown = {**model_facts(hook), **({} if sampler is None else {"sampler": dict(sampler)})}
    found = Fingerprint({**expected.hard, **shown}, model_circumstances(hook, system_prompt))
    accepted = expected.admit(found, subject=f"watch({type(hook.model).__name__})", accept=accept)
    if expected.hard["grid"]["mapping"] == "committed" and "committed" not in hook.capabilities:
        raise ConfigError(
            f"{type(hook).__name__} cannot tell which positions are committed, and this guard's step grid counts them. "
            "Fit a guard with `tap.mapping: step`."
        )
    manifest, grid = loaded.manifest, StepGrid(**expected.hard["grid"])
    return WatchSettings(
        pooling=expected.hard["pooling"],
        layers=tuple(expected.hard["layers"]),
        grid=grid,
        budget=expected.hard["sampler"].get("budget", grid.budget if grid.mapping == "step" else None),
        # A block-causal family fills its last block beyond the response, so its own loop may take more steps than ours.
        canvas=expected.hard["sampler"].get("canvas") if hook.scheme == "masked" else None,
        fixed=bool(expected.hard["sampler"].get("fixed")) and hook.block_length() is None,
        anchors=loaded.anchors,
        scorer=loaded.scorer,
        fingerprint=found,
        accepted=accepted,
        rule=rule,
        abort=abort,
        live=live,
        tau=manifest.tau,
        eps=manifest.eps,
    )
