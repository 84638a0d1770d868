"""From verdicts to observations: what follows, who audits it, and what of it is kept."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sri_sdk.monitor.settings import AuditSection, Mode
from sri_sdk.observation import Consequence, Kind, Observation, Trajectory
from sri_sdk.policy import Decision, Policy
from sri_sdk.records import Signals, Verdict

_RANDOM = random.SystemRandom()
"""Nobody who asks may tell beforehand what is watched, nor what is audited."""


def drawn(rate: float) -> bool:
    """Whether something that happens with this probability happens now."""
    return rate > 0 and (rate >= 1 or _RANDOM.random() < rate)


def applied(policy: Policy, mode: Mode) -> Policy:
    """The policy that generations run under: in the mode observe, one that only reports.

    Args:
        policy: the operator's.
        mode: of the monitor.
    """
    if mode == "enforce":
        return policy
    return Policy.observe(policy.rule).model_copy(update={"debounce": policy.debounce})


def consequence(policy: Policy, mode: Mode, decision: Decision) -> Consequence:
    """What became of a response.

    Args:
        policy: the operator's.
        mode: of the monitor.
        decision: what the policy that the generation ran under made of its verdict.
    """
    if mode == "observe":
        (would,) = policy.decide([decision.verdict])
        return "would_withhold" if would.withheld else "released"
    if decision.recovered is not None and decision.recovered != "judge":
        return "recovered"
    return "withheld" if decision.withheld else "released"


@dataclass(frozen=True, slots=True)
class Texts:
    """What was said in one generation, where the operator stores texts."""

    prompt: str | None = None
    response: str | None = None
    drafts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What observations of one monitor have in common."""

    deployment: str
    model: str
    policy: Policy
    """The operator's."""
    mode: Mode
    audit: AuditSection
    trajectories: bool

    def observed(
        self, decisions: Sequence[Decision], signals: Signals | None, *, kind: Kind = "traffic",
        tenants: Sequence[str] = (), generation_s: float | None = None, scoring_s: float | None = None,
        texts: Mapping[int, Texts] | None = None,
    ) -> list[Observation]:  # fmt: skip
        """One observation per decision.

        Args:
            decisions: of one batch, by the policy that it ran under.
            signals: of the same requests; None = there are none.
            kind: who asked.
            tenants: whose requests they are; empty = not said.
            generation_s: seconds that the batch took.
            scoring_s: of these, the seconds that its verdicts took.
            texts: row -> what was said; None = texts are not kept.
        """
        at = int(time.time() * 1000)
        return [
            self._one(
                decision, at, kind, tenants[row] if tenants else "",
                Trajectory.of(signals, row) if signals is not None and self.trajectories else None,
                generation_s, scoring_s, (texts or {}).get(row, Texts()),
            )
            for row, decision in enumerate(decisions)
        ]  # fmt: skip

    def not_sampled(self, request_ids: Sequence[str], tenants: Sequence[str] = ()) -> list[Observation]:
        """Observations of requests that were not watched."""
        unseen = [Verdict(each, "not_sampled", rule=self.policy.rule) for each in request_ids]
        return self.observed(self.policy.decide(unseen), None, tenants=tenants)

    def _one(
        self, decision: Decision, at: int, kind: Kind, tenant: str, trajectory: Trajectory | None,
        generation_s: float | None, scoring_s: float | None, texts: Texts,
    ) -> Observation:  # fmt: skip
        rate = self.audit.rate(decision.verdict.status) if kind == "traffic" else 0.0
        return Observation(
            decision.verdict, at, kind=kind, consequence=consequence(self.policy, self.mode, decision),
            deployment=self.deployment, model=self.model, tenant=tenant, audit_rate=rate, audited=drawn(rate),
            generation_s=generation_s, scoring_s=scoring_s, trajectory=trajectory, prompt=texts.prompt,
            response=texts.response, drafts=texts.drafts,
        )  # fmt: skip


def shadowed(observation: Observation, verdict: Verdict) -> Observation:
    """What a second guard says of a generation: nothing follows from it, and nobody audits it.

    Args:
        observation: what the first one says.
        verdict: of the second one.
    """
    return replace(
        Observation(verdict, observation.at), kind="shadow", deployment=observation.deployment, model=observation.model,
        tenant=observation.tenant,
    )  # fmt: skip
