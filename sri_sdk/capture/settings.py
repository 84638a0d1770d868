"""What a run measures against, and what follows from it: with a guard, or for traces only."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sri_sdk.anchors import Anchors
from sri_sdk.capture.identity import (
    MODEL_FACTS,
    request_prompt_fact,
    shown,
    template_fact,
    without_foreign_code,
)
from sri_sdk.capture.modules import foreign_code
from sri_sdk.emitter import Emitter
from sri_sdk.errors import ConfigError
from sri_sdk.fingerprint import Fingerprint
from sri_sdk.grid import StepGrid
from sri_sdk.hook import Hook
from sri_sdk.policy import Policy
from sri_sdk.pooling import USUAL
from sri_sdk.records import Rule
from sri_sdk.signal import EPS, TAU

if TYPE_CHECKING:
    from sri_sdk.scoring.guard import Guard
    from sri_sdk.scoring.scorer import Scorer

Layers = tuple[str | int, ...]
KEEPS_COMMITS = "keeps_commits"
"""In the provenance of anchors: whether the sampler of the fit kept what it had committed."""


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """What a run measures against: anchors for signals, a scorer for verdicts. Made by `watch_settings`."""

    pooling: str
    layers: Layers = ("final",)
    grid: StepGrid | None = None
    """None = traces only."""
    budget: int | None = None
    """Most steps of one generation; None = not known, and then coverage is not checked."""
    horizon: int | None = None
    """Steps that the guard judges, from the first on; it then holds for longer generations too, and is `budget`. None =
    whole generations."""
    fixed: bool = False
    """Whether a generation of the guard's profile has exactly `budget` steps: fewer mean that some were missed."""
    canvas: int | None = None
    """Response positions of the guard's profile, where its family fixes them; None = not compared."""
    keeps_commits: bool = False
    """Whether what the guard's sampler has committed stays as it is; False = not known, and nobody looks."""
    anchors: Anchors | None = None
    scorer: Scorer | None = None
    fingerprint: Fingerprint | None = None
    """Of the live model under this tap; travels with the signals."""
    accepted: tuple[str, ...] = ()
    """Soft fields that differ and were accepted by name."""
    policy: Policy = field(default_factory=Policy.observe)
    """When the guard decides, and what follows."""
    emitter: Emitter | None = None
    """Takes the verdicts out of the process; None = nobody does."""
    keep_states: bool = False
    """Keep phi in the traces; costs S * C * D floats per request. Without anchors they are always kept."""
    live: bool = False
    """Have the signal at every step, not only at the end: numbers leave the device each time, and on CUDA
    may be seen a step later. Always so online, as often as the policy looks."""
    request_layers: Layers = ()
    """What is read of the requests' own tokens, where their place in the prompt is known; empty = nothing."""
    request_tokens: int | None = None
    """How many tokens of a request count, from its end; None = all of them."""
    hold_first_token: bool = False
    """Whether the pass that reads the prompt waits for what the rule `request` makes of it."""
    tau: float = TAU
    eps: float = EPS
    stated: tuple[str, ...] = ()
    """Fields of the fingerprint that the caller states and a watch cannot see by itself."""
    system_prompt: str | None = field(default=None, repr=False)
    """As the caller states it; never stored."""
    tokenizer: Any = None
    """Reads the tokens of prompts, to check what is stated; None = nobody does."""
    foreign_code: str = ""
    """Forward hooks and replaced forwards that the guard was fitted without, for people; empty = there are none, or
    they are accepted."""

    @property
    def immediate(self) -> bool:
        """Whether a step is measured as soon as it is pooled."""
        return self.live or (self.scorer is not None and self.policy.rule == "online")

    @property
    def steps_per_look(self) -> int:
        """Steps that are measured and judged together, as they come."""
        return self.policy.look_every if self.immediate and not self.live else 1

    @property
    def steps_late(self) -> int | None:
        """Most steps that an alarm may come late; None = any number, since none stops the generation."""
        return self.policy.steps_late if self.policy.stops_on_alarm else None

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups of requests that the guard has thresholds for; empty = one threshold for all."""
        return () if self.scorer is None else self.scorer.groups

    @property
    def judges_request(self) -> bool:
        """Whether the guard decides as soon as the requests have been read."""
        return self.scorer is not None and self.policy.rule == "request"


def watch_settings(
    hook: Hook,
    guard: Guard | Path | str | None = None,
    *,
    policy: Policy | None = None,
    accept: Collection[str] = (),
    system_prompt: str | None = None,
    sampler: Mapping[str, Any] | None = None,
    emitter: Emitter | None = None,
    live: bool = False,
    pooling: str | None = None,
    layers: Layers = ("final",),
    request_layers: Layers = (),
    grid: StepGrid | None = None,
    fingerprint: Fingerprint | None = None,
    tokenizer: Any = None,
) -> WatchSettings:
    """The settings of `drive`, and what `watch` makes of its arguments.

    Args:
        hook: the model family, built on the live model, which must be the one the guard was fitted on.
        guard: a `Guard`, or the folder `sri fit` wrote; None = traces only.
        policy: when the guard decides, and what follows; None = report only, by the final rule.
        accept: soft fields of the fingerprint that may differ from the guard's.
        system_prompt: the system prompt in use, if any; compared with the guard's, never stored.
        sampler: the generation profile where we drive it; None = the caller's promise.
        emitter: takes the verdicts to sinks.
        live: have the signal at every step also with the final rule.
        pooling: without a guard: pooling profile; None = the usual one of the scheme.
        layers: without a guard: what to tap, `final` or block numbers.
        request_layers: without a guard: what to tap of the requests' own tokens; empty = nothing.
        grid: without a guard: lays progress on a step grid.
        fingerprint: of the live model, where it was computed already; None = it is read now.
        tokenizer: of the model, with which a watch checks the stated system prompt; None = it is believed.

    Raises:
        ModelMismatch: the guard was not made for this model.
        ConfigError: the arguments contradict each other.
    """
    if guard is None:
        return WatchSettings(
            pooling or USUAL[hook.scheme], layers, grid, keep_states=True, emitter=emitter, stated=("system_prompt",),
            system_prompt=system_prompt, tokenizer=tokenizer, request_layers=request_layers,
        )  # fmt: skip
    if pooling is not None or grid is not None or layers != ("final",) or request_layers:
        raise ConfigError("watch: pooling, layers and grid come with the guard; leave out those, or the guard.")
    from sri_sdk.scoring.guard import Guard

    loaded = guard if isinstance(guard, Guard) else Guard.load(guard)
    expected = loaded.anchors.fingerprint
    # What a live model cannot show (sampler, profile) is the caller's promise; what it can show is compared.
    if fingerprint is None:
        model = shown(hook, system_prompt)
        hard, soft, foreign = model.hard, model.soft, model.foreign
    else:
        hard, soft, foreign = (
            {name: fingerprint.hard[name] for name in MODEL_FACTS if name in fingerprint.hard},
            dict(fingerprint.soft),
            foreign_code(hook.model),
        )
    profile = {} if sampler is None else {"sampler": dict(sampler)}
    found = Fingerprint({**expected.hard, **hard, **profile}, soft)
    request = expected.hard.get("request")
    if request is not None:
        seen = (
            _request_as_seen(request, tokenizer, system_prompt)
            if fingerprint is None
            else fingerprint.hard.get("request")
        )
        found = replace(found, hard={**found.hard, "request": seen})
    uncovered = bool(foreign) and soft["adapter"] != expected.soft.get("adapter") and "adapter" not in accept
    if uncovered:
        # Generation goes on, and no verdict is given: see OTHER_CODE.
        found = replace(found, soft={**soft, "adapter": without_foreign_code(soft["adapter"], foreign)})
    accepted = expected.admit(found, subject=f"watch({type(hook.model).__name__})", accept=accept)
    if expected.hard["grid"]["mapping"] == "committed" and "committed" not in hook.capabilities:
        raise ConfigError(
            f"{type(hook).__name__} cannot tell which positions are committed, and this guard's step grid counts them. "
            "Fit a guard with `tap.mapping: step`."
        )
    if request is not None and "request" not in hook.capabilities:
        raise ConfigError(
            f"{type(hook).__name__} cannot tell which tokens of a prompt a pass shows (capability 'request'), and this "
            "guard reads requests. Choose another hook, or fit a guard without a section `request`."
        )
    manifest, fitted_on = loaded.manifest, expected.hard["sampler"]
    its_grid, horizon = StepGrid(**expected.hard["grid"]), expected.horizon
    _refuse_silence(horizon, policy)
    _refuse_rule(loaded, (policy or Policy.observe()).rule)
    _refuse_unknown_end(loaded, policy)
    return WatchSettings(
        pooling=expected.hard["pooling"],
        layers=tuple(expected.hard["layers"]),
        request_layers=() if request is None else tuple(request["layers"]),
        request_tokens=None if request is None else request.get("last_tokens"),
        grid=its_grid,
        budget=horizon or fitted_on.get("budget", its_grid.budget if its_grid.mapping == "step" else None),
        horizon=horizon,
        # A block-causal family fills its last block beyond the response, so its own loop may take more steps than ours.
        canvas=fitted_on.get("canvas") if hook.scheme == "masked" else None,
        fixed=bool(fitted_on.get("fixed")) and hook.block_length() is None,
        # Of the manifest, which a signature covers.
        keeps_commits=manifest.anchors.provenance.get(KEEPS_COMMITS) is True,
        anchors=loaded.anchors,
        scorer=loaded.scorer,
        fingerprint=found,
        accepted=accepted,
        policy=policy or Policy.observe(),
        emitter=emitter,
        live=live,
        tau=manifest.tau,
        eps=manifest.eps,
        stated=_stated(request is not None and tokenizer is None and fingerprint is None, driven=sampler is not None),
        system_prompt=system_prompt,
        tokenizer=tokenizer,
        foreign_code=foreign if uncovered else "",
    )


def _request_as_seen(expected: Mapping[str, Any], tokenizer: Any, system_prompt: str | None) -> dict[str, Any]:
    """What a guard that reads requests demands of prompts, as far as it is seen here; the rest is the caller's word."""
    template = expected.get("template") if tokenizer is None else template_fact(tokenizer)
    return {**expected, "template": template, "system_prompt": request_prompt_fact(system_prompt)}


def _stated(template: bool, *, driven: bool) -> tuple[str, ...]:
    """Fields that the caller states; `template` = the guard reads requests, and nobody sees their template."""
    found = ("system_prompt",) if driven else ("sampler", "system_prompt")
    return (*found, "template") if template else found


def _refuse_rule(guard: Guard, rule: Rule) -> None:
    """Rules that the guard does not have."""
    if rule not in guard.scorer.rules:
        raise ConfigError(f"policy.rule: found {rule!r}, this guard has: {', '.join(guard.scorer.rules)}.")


def _refuse_unknown_end(guard: Guard, policy: Policy | None) -> None:
    """A policy about the model's own refusals, where nobody can tell which these are."""
    if policy is not None and policy.own_refusal is not None and getattr(guard.manifest, "ended", None) is None:
        raise ConfigError(
            f"policy.own_refusal: found {policy.own_refusal!r}, and this guard does not say how a generation ended: "
            "its bundle has format 1, a horizon, or no column `sri@...`. Leave it out, or fit a guard with parts."
        )


def _refuse_silence(horizon: int | None, policy: Policy | None) -> None:
    """What comes after the horizon is judged by nobody, so somebody must have said what follows from that."""
    if horizon is not None and policy is not None and policy.beyond_horizon is None:
        raise ConfigError(
            f"policy.beyond_horizon: not said, and this guard judges the first {horizon} steps only. Say what happens "
            "to an answer that goes on: report = let it go on unjudged, abort = stop it there."
        )
