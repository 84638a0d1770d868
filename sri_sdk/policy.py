"""What follows from a verdict: the operator says it once, and `watch`, `drive` and the commands apply it alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field, model_validator

from sri_sdk.plugin import Config
from sri_sdk.reason_words import TAMPERING
from sri_sdk.records import RecoveryName, Rule, Verdict
from sri_sdk.recovery_plan import AuditFile, RecoveryBudget, RecoveryStep

Action = Literal["report", "abort"]
"""`report` = say so and let the generation go on; `abort` = stop it, and keep back what it has produced."""
OnAlarm = Literal["report", "abort", "recover"]
"""`recover` = stop it, and then try to end it well: see `recovery_plan.py`."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy makes of one verdict."""

    verdict: Verdict
    withheld: bool
    """Whether the response must not be shown or passed on."""
    own_refusal: bool = False
    """Whether the guard flagged what the model itself refused, whatever the policy makes of that."""
    recovered: RecoveryName | None = None
    """What answers in place of the flagged response: `remask` and `steer` = a new response, `judge` = the response
    itself, released by the judge, `refuse` = a refusal text, and the response stays withheld. None = nothing was
    recovered."""

    @property
    def request_id(self) -> str:
        """The request it is about."""
        return self.verdict.request_id


class Debounce(Config):
    """How many alarms of the online rule it takes."""

    alarms: int = Field(ge=1, le=64, description="Cells of the step grid whose score is above the threshold ...")
    of: int = Field(ge=1, le=64, description="... among so many consecutive ones.")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.alarms > self.of:
            raise ValueError(f"{self.alarms} alarms of {self.of} cells; alarms must not be more than of")
        return self


class Policy(Config):
    """What happens on a verdict. The first three have no default: the operator decides, and the file says so.

    `beyond_horizon` must be left out of a policy for guards that judge whole generations. `own_refusal` and `tampered`
    tell some verdicts from the others of their status; null treats them like those. No field changes a status but
    `debounce`, which says what an alarm is.
    """

    rule: Rule = Field(
        description="When the guard decides: final = once the generation has ended, online = each step, request = when "
        "the prompt has been read."
    )
    flagged: OnAlarm = Field(
        description="On an alarm: report = say so, abort = stop the generation, recover = stop it, and try what "
        "`recovery` lists. Only where a sampler of ours runs the loop."
    )
    unmonitored: Action = Field(
        description="When the guard cannot see: report = let the generation go on and say so (fail-open), "
        "abort = stop it (fail-closed)."
    )
    beyond_horizon: Action | None = Field(
        default=None,
        description="What happens to an answer that goes on after the last step that the guard judges: report = let it "
        "go on unjudged, and say so; abort = stop it there. Must be said of a guard with a horizon, and only of one.",
    )
    debounce: Debounce | None = Field(
        default=None,
        description="Of the rule online: one alarm is none, {alarms: 2, of: 3} asks for two within three cells. Fewer "
        "false alarms than promised, and fewer attacks found; null = one alarm is enough.",
    )
    look_every: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Of the rule online: steps from one look at the score to the next. 1 = an alarm is known with its "
        "step; 4 = up to 3 steps later, with a quarter of the calls. Where alarms stop a generation, 1 waits for the "
        "accelerator in each step, and more never does. Verdicts at the end are the same.",
    )
    own_refusal: Action | None = Field(
        default=None,
        description="On an alarm over a generation that the model itself refused: report = release the refusal and say "
        "so; null = as flagged. Only where the guard knows how a generation ended, and saw all of it.",
    )
    tampered: Action | None = Field(
        default=None,
        description="When somebody interfered with the generation (canvas_primed, canvas_rewritten): report or abort; "
        "null = as unmonitored.",
    )
    recovery: tuple[RecoveryStep, ...] = Field(
        default=(),
        max_length=16,
        description="With flagged: recover, what is tried, in order, until a response is accepted. A refusal text "
        "comes last, also where none is listed.",
    )
    budget: RecoveryBudget = Field(
        default=RecoveryBudget(), description="With flagged: recover, what one flagged generation may cost."
    )
    audit: AuditFile | None = Field(
        default=None, description="With flagged: recover, a file with every action taken; null = none is written."
    )

    @model_validator(mode="after")
    def _recovers(self) -> Self:
        if self.flagged != "recover":
            fields = type(self).model_fields
            unused = [each for each in ("recovery", "budget", "audit") if getattr(self, each) != fields[each].default]
            if unused:
                raise ValueError(
                    f"{unused[0]}: goes with flagged: recover, and flagged is {self.flagged}; leave it out"
                )
            return self
        if not self.recovery:
            raise ValueError(
                "flagged: 'recover' without recovery; list what is tried, such as [{action: steer, direction: FILE}], "
                "or choose abort"
            )
        names = [step.action for step in self.recovery]
        if "refuse" in names[:-1]:
            raise ValueError("recovery: 'refuse' ends every recovery, so nothing may follow it; move it to the end")
        again = [name for name in names if name in ("remask", "steer")]
        if self.rule == "request" and again:
            raise ValueError(
                f"recovery: {again[0]!r} mends how a generation goes, and rule 'request' judges what was asked, which "
                "stays as it is; allowed: judge, refuse"
            )
        if self.own_refusal == "abort":
            raise ValueError(
                "own_refusal: 'abort' beside flagged: recover would withhold refusals, which is what a recovery is to "
                "end in; allowed: report, or null"
            )
        return self

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.debounce is not None and self.rule != "online":
            raise ValueError(f"debounce: counts alarms of the rule online, and the rule is {self.rule}; leave it out")
        if self.look_every != 1 and self.rule != "online":
            raise ValueError(f"look_every: counts steps of the rule online, and the rule is {self.rule}; leave it out")
        if self.own_refusal is not None and self.rule == "request":
            raise ValueError(
                "own_refusal: rule 'request' judges before anything is generated, so nothing has ended; leave it out, "
                "or choose rule final or online"
            )
        if self.own_refusal == "abort" and self.flagged == "report":
            raise ValueError(
                "own_refusal: 'abort' beside flagged: report would withhold refusals and release the rest; allowed: "
                "report, or null"
            )
        if self.tampered == "report" and self.unmonitored == "abort":
            raise ValueError(
                "tampered: 'report' beside unmonitored: abort would release what somebody interfered with, and nothing "
                "else that was not seen; allowed: abort, or null"
            )
        return self

    @classmethod
    def observe(cls, rule: Rule = "final") -> Self:
        """The policy that only reports: what holds where nobody stated another one."""
        return cls(rule=rule, flagged="report", unmonitored="report", beyond_horizon="report")

    @property
    def stops_on_alarm(self) -> bool:
        """Whether an alarm ends a generation that runs; the final rule decides when nothing, or the rest, is left."""
        return self.rule != "final" and self.flagged != "report"

    @property
    def steps_late(self) -> int:
        """Most steps that an alarm which stops a generation may come after its own."""
        return self.look_every - 1

    @property
    def recovers(self) -> bool:
        """Whether flagged generations are generated again, judged or answered otherwise."""
        return self.flagged == "recover"

    @property
    def stops_at_horizon(self) -> bool:
        """Whether no answer goes on after the last step that the guard judges."""
        return self.beyond_horizon == "abort"

    @property
    def stops_when_blind(self) -> bool:
        """Whether a generation ends as soon as it is known that the guard cannot see it."""
        return self.unmonitored == "abort"

    @property
    def stops_on_tampering(self) -> bool:
        """Whether a generation ends as soon as somebody is seen to interfere with it."""
        return self.tampered == "abort" or self.stops_when_blind

    @property
    def may_withhold(self) -> bool:
        """Whether nothing of a response may be shown before its verdict."""
        return self.flagged != "report" or "abort" in (self.unmonitored, self.beyond_horizon, self.tampered)

    def while_recovering(self) -> Policy:
        """What holds while a flagged generation is generated again: the same rule, and nothing follows from it yet."""
        return Policy(
            rule=self.rule, flagged="report", unmonitored="report", beyond_horizon=self.beyond_horizon,
            debounce=self.debounce, look_every=self.look_every,
        )  # fmt: skip

    def to_recover(self, decision: Decision) -> bool:
        """Whether recovery answers in place of this response."""
        return self.recovers and decision.withheld and decision.verdict.status == "flagged"

    def decide(self, verdicts: Iterable[Verdict]) -> tuple[Decision, ...]:
        """One decision per verdict. `not_sampled` is never withheld, and `clear` only if `beyond_horizon` is abort and
        the response went on all the same."""
        return tuple(Decision(v, self._withholds(v), refused_by_itself(v)) for v in verdicts)

    def _withholds(self, verdict: Verdict) -> bool:
        if TAMPERING.intersection(verdict.reasons) and self.stops_on_tampering:
            return True
        if self._holds_unjudged(verdict):
            return True
        if verdict.status == "flagged":
            refused = self.own_refusal is not None and refused_by_itself(verdict)
            return (self.own_refusal if refused else self.flagged) != "report"
        return verdict.status == "unmonitored" and self.unmonitored == "abort"

    def _holds_unjudged(self, verdict: Verdict) -> bool:
        """Whether a response went on where it should have stopped: a part of it was judged by nobody."""
        judged, seen = verdict.judged_steps, verdict.steps_seen
        return self.stops_at_horizon and judged is not None and seen is not None and seen > judged


def refused_by_itself(verdict: Verdict) -> bool:
    """Whether a flagged generation is known to have ended in the model's own refusal.

    Never of one that was not seen whole, nor where a part of the guard could not judge: how it ended is not known then.
    """
    judged = all(part.status in ("clear", "flagged") for part in verdict.parts)
    whole = judged and not TAMPERING.intersection(verdict.reasons)
    return verdict.status == "flagged" and verdict.ended == "refusing" and whole
