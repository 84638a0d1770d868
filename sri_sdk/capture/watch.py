"""Watch: the user's own generate call, untouched, under observation."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from sri_sdk.capture.choose import choose_hook
from sri_sdk.capture.conclude import INTERRUPTED
from sri_sdk.capture.request import Span
from sri_sdk.capture.run import Run
from sri_sdk.capture.settings import Layers, WatchSettings, watch_settings
from sri_sdk.capture.tap import tap_of
from sri_sdk.edit_flows import refuse_moving_tokens
from sri_sdk.emitter import Emitter
from sri_sdk.errors import ConfigError, did_you_mean
from sri_sdk.grid import StepGrid
from sri_sdk.hook import Hook
from sri_sdk.policy import Policy
from sri_sdk.records import Rule
from sri_sdk.scoring.guard import Guard
from sri_sdk.sink import Sink


@contextmanager
def watch(
    model: Any,
    guard: Guard | Path | str | None = None,
    *,
    hook: Hook | str | None = None,
    request_ids: Sequence[str] | None = None,
    rule: Rule = "final",
    abort: bool = False,
    policy: Policy | None = None,
    sinks: Emitter | Sequence[Sink] = (),
    accept: Collection[str] = (),
    system_prompt: str | None = None,
    tokenizer: Any = None,
    pooling: str | None = None,
    layers: Layers = ("final",),
    grid: StepGrid | None = None,
    request_spans: Sequence[Span | None] | None = None,
    groups: Sequence[str | None] | None = None,
    hold_first_token: bool = False,
) -> Iterator[Run]:
    """Watches one generation of a model.

        with sri_sdk.watch(model, guard="out/lab", request_ids=["r1"]) as run:
            model.generate(**inputs)
        print(run.verdicts)

    A guard with a horizon judges the first steps of a generation, whatever its length, and says so as soon as they are
    done: `run.verdicts` is there while the rest is generated. What follows them is up to the policy.

    The tokens are the same, bit for bit, with and without it. Forward passes of other threads and tasks are ignored
    and counted. A run whose tap never fired is `unmonitored`, never `clear`.

    A running model does not show the guard's sampler and generation profile: generate with the profile that the guard
    was fitted on. A watch checks what it can see: architecture, width, config, weights, number of steps. Where a family
    decides itself when to stop, only its output shows whether every step was seen. A watch reads that output from the
    model's own methods; if you generate with a function that takes the model, pass its result to `run.returned(...)`,
    otherwise a generation shorter than the budget is `unmonitored` (`end_not_seen`). Greedy decoding and sampling are
    supported; beam search and assisted decoding are not, since their rows are not requests.

    A thread that the block starts has a context of its own: call `watch` inside the thread, or copy the context.

    Args:
        model: the loaded model.
        guard: a `Guard`, or the folder `sri fit` wrote; None = collect traces only.
        hook: a hook, or its plugin name; None = the installed hook that fits.
        request_ids: one per row of the batch, for verdicts and traces; None = "0", "1" ...
        rule: `final` decides at the end, `online` at every step, `request` when the prompt has been read.
        abort: raise `GenerationAborted` at the pass after the first alarm. The whole batch stops. Not with `final`.
        policy: when the guard decides and what follows, in place of `rule` and `abort`. What it makes of each request
            stands in `run.decisions`; keeping a withheld response back is the caller's part, since the tokens are the
            caller's. Where it stops a generation that is still running, `GenerationAborted` is raised as above.
        sinks: where verdicts go: an `Emitter`, or sinks that stay open afterwards and are the caller's to close. They
            never delay or break the generation.
        accept: soft fields of the fingerprint that may differ from the guard's.
        system_prompt: the system prompt in use, if any; compared with the guard's, never stored.
        tokenizer: of the model. With it the watch looks for the system prompt in the tokens; a batch without it, or
            with one that was not stated, is `unmonitored` (`other_system_prompt`). None = what you state is believed,
            and `run.stated` says so.
        pooling: without a guard: pooling profile; None = `response` (masked) or `predicting` (autoregressive).
        layers: without a guard: what to tap, `final` or block numbers.
        grid: without a guard: lays progress on a step grid.
        request_spans: one per row of the batch, columns (start, stop) of the request's tokens in its prompt, padding on
            the left counted; None in a row = not located. `run.request` holds their means. For guards that read
            requests, and without a guard. None = they are found by the tokenizer, where a prompt is one user turn in
            the chat template and the guard has such a column; for longer conversations see `sri_sdk.request_spans`.
        groups: one per row of the batch, for guards with thresholds by group: what your service knows of the request,
            such as its language or source. Never what a requester may choose: the largest threshold would be theirs for
            the asking. A row of None, or of a group that the guard does not know, is judged by the largest threshold,
            and its verdict says `unknown_group`.
        hold_first_token: with the rule `request`, decide inside the first step's pass, before it gives the logits that
            the first token is drawn from. By then `run.alarms` names what is flagged; a policy that stops it raises
            `GenerationAborted` there, so a streamer was given nothing. The pass waits for the device and the scorer.
            Without, the generation is stopped at the second pass, when a first token is out.

    Yields:
        The run; its `traces`, `signals` and `verdicts` are there when the block has ended.

    Raises:
        ModelMismatch: no hook fits, the guard was not made for this model, or the model inserts and deletes tokens.
        ConfigError: the arguments contradict each other.
        GenerationAborted: with `abort` or a policy that stops generations, at the pass after an alarm, or after the
            last step that the guard judges.
    """
    if policy is not None and (rule != "final" or abort):
        raise ConfigError("watch: rule and abort come with the policy; leave out those, or the policy.")
    if abort and rule == "final":
        raise ConfigError(
            "watch: abort=True needs rule='online' or 'request'; the final rule decides when nothing is left to stop."
        )
    if rule not in get_args(Rule):
        raise ConfigError(
            f"watch: rule {rule!r}; allowed: {', '.join(get_args(Rule))}.{did_you_mean(rule, get_args(Rule))}"
        )
    if not isinstance(hook, Hook | str | None):
        raise ConfigError(f"watch: hook {hook!r}; pass a plugin's name, or a hook on the model: hook=MyHook(model).")
    if isinstance(request_ids, str) or len(set(request_ids or ())) != len(request_ids or ()):
        raise ConfigError(f"watch: request_ids {request_ids!r}; pass a list with one id per row, each only once.")
    if request_spans is not None and request_ids is not None and len(request_spans) != len(request_ids):
        raise ConfigError(
            f"watch: {len(request_spans)} request_spans for {len(request_ids)} request_ids; pass one of each per row."
        )
    rules = rule if policy is None else policy.rule
    if hold_first_token and (rules != "request" or guard is None):
        raise ConfigError(
            f"watch: hold_first_token with {'no guard' if guard is None else f'rule {rules!r}'}; it needs a guard and "
            "the rule 'request', the only one that has decided by then. Leave it out, or change the rule."
        )
    if type(model).__name__ == "DataParallel":
        raise ConfigError(
            "watch: DataParallel runs copies of the model in threads of its own, which no watch reaches. Spread the "
            "model over GPUs with a device_map, or use DistributedDataParallel, and watch in each process."
        )
    family = hook if isinstance(hook, Hook) else choose_hook(model, hook)
    if family is hook and not hook.follows_moves:
        refuse_moving_tokens(model)
    if family.model is not model:
        raise ConfigError("watch: the hook was built on another model object, and would see nothing of this one.")
    if policy is None:
        policy = _policy(rule, abort)
    if policy.recovers:
        raise ConfigError(
            "watch: the policy says flagged: recover, and a generation that is recovered is generated again, which "
            "takes a sampler of ours: use sri_sdk.drive or `sri run`. Under watch, choose flagged: abort, which stops "
            "the batch."
        )
    if not isinstance(sinks, Emitter):
        sinks = Emitter(sinks)
    settings = watch_settings(
        family, guard, policy=policy, accept=accept, system_prompt=system_prompt, emitter=sinks, pooling=pooling,
        layers=layers, grid=grid, tokenizer=tokenizer,
        request_layers=() if request_spans is None or guard is not None else layers,
    )  # fmt: skip
    if hold_first_token:
        settings = replace(settings, hold_first_token=True)
    if request_spans is not None and not settings.request_layers:
        raise ConfigError("watch: request_spans: this guard reads no requests; leave them out.")
    if groups is not None:
        check_groups(groups, settings, request_ids)
    run, tap = Run(family, settings, request_ids, request_spans=request_spans, groups=groups), tap_of(model)
    try:
        with tap.installed(family, run), tap.owned_by(run):
            yield run
    except BaseException:
        run.fail(INTERRUPTED)
        raise
    finally:
        run.finish()


@lru_cache(maxsize=8)
def _policy(rule: Rule, abort: bool) -> Policy:
    """What `rule` and `abort` mean; a policy checks itself when it is made, which each watch would pay for again."""
    return Policy(rule=rule, flagged="abort" if abort else "report", unmonitored="report", beyond_horizon="report")


def check_groups(groups: Sequence[str | None], settings: WatchSettings, request_ids: Sequence[str] | None) -> None:
    """Refuses groups that are not one name per row, or that the guard has no thresholds for.

    Raises:
        ConfigError: they are not, or it has not.
    """
    if isinstance(groups, str) or not all(isinstance(group, str | None) for group in groups):
        raise ConfigError(f"watch: groups {groups!r}; pass a list with one name per row, None where it is not known.")
    if request_ids is not None and len(groups) != len(request_ids):
        raise ConfigError(f"watch: {len(groups)} groups for {len(request_ids)} request_ids; pass one of each per row.")
    if not settings.groups:
        raise ConfigError(
            "watch: groups: this guard has one threshold for all requests, or there is no guard; leave them out, or "
            "fit one with folds.calibration.groups."
        )


def without_guard(hook: Hook, pooling: str | None, layers: Layers, grid: StepGrid | None) -> WatchSettings:
    """The older name of `watch_settings` without a guard, for plugins' own tests."""
    return watch_settings(hook, pooling=pooling, layers=layers, grid=grid)
