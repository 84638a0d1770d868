"""What a monitor tells its sinks: verdicts with their circumstances, what runs right now, and how it is itself."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from sri_sdk.records import Signals, Verdict
from sri_sdk.verdict_json import read_verdict

Kind = Literal["traffic", "canary", "shadow"]
"""`traffic` = somebody asked for it; `canary` = the monitor asked, to see whether the guard still works; `shadow` =
what a second guard says of the same generation, which nothing follows from."""
CanaryKind = Literal["harmful", "harmless"]
"""`harmful` = the guard must flag it; `harmless` = its score is compared with the calibration."""
CANARY_ID = "sri-canary-"
"""Begins every request id of a canary; no request of anybody else may begin so. A monitor's kind follows."""
Consequence = Literal["released", "withheld", "would_withhold", "recovered"]
"""What became of the response. `would_withhold` = a monitor that only observes released what its policy would not have;
`recovered` = something else answered in its place."""

LOSS_MS = 3_600_000
"""Milliseconds without a further loss after which a sink is no longer losing observations: what was lost is history
then, and stays counted."""
RELOAD_CANNOT = "changed, and a reload cannot change"
"""What `Pulse.reload_failed` says where the file is right, and needs a new process."""
CANARIES_LATE = 3
"""Times that canaries must have been due without one, until they have stopped: generations of traffic may be long."""
MOST_CELLS = 1 << 16
"""Cells times columns of one trajectory that is written down and read back; more is not one of ours."""


def canary_id(kind: CanaryKind) -> str:
    """A request id for a monitor's canary; no other has it."""
    return f"{CANARY_ID}{kind}-{uuid.uuid4().hex}"


def canary_kind(request_id: str) -> CanaryKind | None:
    """The kind of a monitor's canary, by its id; None = the id does not say it."""
    kinds: tuple[CanaryKind, ...] = get_args(CanaryKind)
    return next((kind for kind in kinds if request_id.startswith(f"{CANARY_ID}{kind}-")), None)


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """The signal of one generation, cell by cell."""

    columns: tuple[str, ...]
    """Names of the C columns: `sri@final`, `request`."""
    logit: NDArray[np.float32]
    """[T, C]: sigma = sigmoid(logit); NaN = there is none."""
    length: int
    """Cells that were filled; the others repeat the last one."""

    @classmethod
    def of(cls, signals: Signals, row: int) -> Self:
        """The trajectory of one generation."""
        cells, count = signals.logit.shape[1:]
        names = signals.columns or tuple(f"sri@{i}" for i in range(count))
        length = cells if signals.lengths is None else int(signals.lengths[row])
        return cls(names, np.ascontiguousarray(signals.logit[row], dtype=np.float32), length)

    def sigma(self) -> NDArray[np.float64]:
        """[T, C] in [0, 1]: 1 = internally compliant, 0 = refusal-aligned."""
        # Half of the logit, so that no exponential overflows.
        return 0.5 * (1 + np.tanh(self.logit.astype(np.float64) / 2))

    @property
    def fits(self) -> bool:
        """Whether it has columns, and no more than `MOST_CELLS` numbers: only then is it written down."""
        return bool(self.columns) and self.logit.size <= MOST_CELLS

    def to_dict(self) -> dict[str, Any]:
        """As JSON types: the numbers are float32, little endian, row by row, in base64."""
        packed = base64.b64encode(self.logit.astype("<f4").tobytes()).decode()
        return {"columns": list(self.columns), "logit": packed, "length": self.length}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            ValueError: it is not what `to_dict` writes.
        """
        columns, packed, length = found.get("columns"), found.get("logit"), found.get("length")
        if not isinstance(columns, list) or not columns or not all(isinstance(name, str) for name in columns):
            raise ValueError("columns is not a list of names")
        if not isinstance(packed, str) or len(packed) > 8 * MOST_CELLS or type(length) is not int:
            raise ValueError("logit or length is not what it should be")
        try:
            numbers = np.frombuffer(base64.b64decode(packed, validate=True), dtype="<f4")
        except (binascii.Error, ValueError) as err:
            raise ValueError("logit is not base64 of numbers") from err
        if len(numbers) % len(columns) or not 0 <= length <= len(numbers) // len(columns):
            raise ValueError("logit does not have its columns, or length is beyond it")
        return cls(tuple(columns), numbers.reshape(-1, len(columns)).astype(np.float32), length)


@dataclass(frozen=True, slots=True)
class Observation:
    """One verdict with its circumstances.

    Sinks know one that is delivered twice by its `id`.
    """

    verdict: Verdict
    at: int
    """Milliseconds since 1970, UTC, when it was given, by the clock of the watching process, which may be wrong."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Its own, 32 hexadecimal characters: one request may have several observations."""
    kind: Kind = "traffic"
    consequence: Consequence = "released"
    deployment: str = ""
    """Name of the deployment, as its operator chose it."""
    model: str = ""
    """Name of the model, as a person would say it."""
    tenant: str = ""
    """Whose request it was; empty = not said."""
    audit_rate: float = 0.0
    """With which probability one like it is drawn for the audit sample; 0 = never, as for all but traffic."""
    audited: bool = False
    """Whether it was drawn: people are asked to say what it was."""
    generation_s: float | None = None
    """Seconds from the call to the end of its generation; None = not known."""
    scoring_s: float | None = None
    """Of these, the seconds that the verdict took after the last step."""
    trajectory: Trajectory | None = None
    """None = it has no signal, or trajectories are not kept."""
    prompt: str | None = None
    """What was asked; None unless the operator stores texts. So are the next two."""
    response: str | None = None
    drafts: tuple[str, ...] = ()
    """The response as it read after each step."""

    @property
    def request_id(self) -> str:
        """The request it is about."""
        return self.verdict.request_id

    @classmethod
    def of(cls, verdict: Verdict, at: int) -> Self:
        """A verdict of which nothing else is known; delivered twice it has the same id if `at` is the same."""
        known = uuid.uuid5(
            _NAMESPACE, f"{at}\n{verdict.request_id}\n{verdict.rule}\n{verdict.bundle}\n{verdict.status}"
        )
        return cls(verdict, at, id=known.hex)

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; what is not known or empty is left out, but for the verdict's fields.

        So is a trajectory that `from_dict` would refuse: whoever accepts the verdict must be able to hand it on.
        """
        found: dict[str, Any] = {
            "sri_observation": 1, "id": self.id, "at": self.at, "kind": self.kind, "consequence": self.consequence,
            "deployment": self.deployment, "model": self.model, "tenant": self.tenant, "audit_rate": self.audit_rate,
            "audited": self.audited, "generation_s": self.generation_s, "scoring_s": self.scoring_s,
            "trajectory": self.trajectory.to_dict() if self.trajectory is not None and self.trajectory.fits else None,
            "prompt": self.prompt, "response": self.response, "drafts": list(self.drafts),
        }  # fmt: skip
        kept = {name: each for name, each in found.items() if each not in (None, "", [])}
        return {**kept, "verdict": self.verdict.to_dict()}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Fields that this release does not know are left out.

        Raises:
            ValueError: it is not what `to_dict` writes. The message quotes nothing of it.
        """
        verdict = found.get("verdict")
        if found.get("sri_observation") != 1 or not isinstance(verdict, dict):
            raise ValueError("not an observation of format 1")
        known = {name: found[name] for name in cls.__slots__ if name in found}
        known["verdict"] = read_verdict(verdict)
        drafts = known.get("drafts", [])
        if not isinstance(drafts, list) or not all(isinstance(each, str) for each in drafts):
            raise ValueError("drafts is not a list of texts")
        known["drafts"] = tuple(drafts)
        if "trajectory" in known:
            if not isinstance(known["trajectory"], dict):
                raise ValueError("trajectory is not an object")
            known["trajectory"] = Trajectory.from_dict(known["trajectory"])
        for name, types in _TYPES.items():
            if name in known and (not isinstance(known[name], types) or (bool not in types and known[name] is True)):
                raise ValueError(f"{name} is not what it should be")
        for name, words in (("kind", Kind), ("consequence", Consequence)):
            if known.get(name, get_args(words)[0]) not in get_args(words):
                raise ValueError(f"{name} is a word that means nothing here")
        if "id" not in known or "at" not in known:
            raise ValueError("an observation without id or time")
        return cls(**known)


_NAMESPACE = uuid.UUID("6f0b3f0e-9d0c-4d7a-8a53-3b4c9a4a5d11")
_TYPES: dict[str, tuple[type, ...]] = {
    "id": (str,), "at": (int,), "kind": (str,), "consequence": (str,), "deployment": (str,), "model": (str,),
    "tenant": (str,), "audit_rate": (int, float), "audited": (bool,), "generation_s": (int, float),
    "scoring_s": (int, float), "prompt": (str,), "response": (str,),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Running:
    """One generation that is running right now, for people who look on."""

    request_id: str
    deployment: str
    started_at: int
    """Milliseconds since 1970, UTC."""
    step: int
    """Steps done."""
    steps: int | None
    """Steps it will take; None = not known."""
    sigma: tuple[float, ...] = ()
    """The signal of the last tapped layer so far, one number per filled cell."""
    cells: int = 0
    """T: cells the signal will have."""
    draft: str | None = None
    """What the response reads as now; None unless the operator stores texts, or it may be withheld yet."""
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class SinkState:
    """What became of observations for one sink since the process began; `accepted` is the sum of the others."""

    sink: str
    """Name, as the file of the deployment has it."""
    accepted: int
    delivered: int
    """Acknowledged by the sink."""
    rejected: int
    """Given up: the sink said that it will never take them."""
    dropped: int
    """Given up: no room in the spool, or it could not be written."""
    waiting: int
    """In the spool."""
    failing: str | None = None
    """What went wrong at the last try, in words without secrets; None = nothing."""
    failing_since: int | None = None
    """Since when it has failed without a success, in milliseconds since 1970, UTC; None = it does not, or not known. So
    are the next four."""
    dropped_since: int | None = None
    """When it began to lose observations: the first of those dropped with less than `LOSS_MS` between two."""
    dropped_at: int | None = None
    """When the last one was dropped."""
    rejected_since: int | None = None
    """When the sink began to refuse observations for good, told like `dropped_since`."""
    rejected_at: int | None = None
    """When the last one was refused."""

    def is_losing(self, at: int) -> bool:
        """Whether observations were dropped a moment ago, or at a time that is not known.

        Args:
            at: milliseconds by the clock of the monitor, as `Pulse.at` has them.
        """
        return self.dropped > 0 and (self.dropped_at is None or at - self.dropped_at <= LOSS_MS)


@dataclass(frozen=True, slots=True)
class Pulse:
    """How a monitor is, every few seconds. Counts begin with its process."""

    deployment: str
    at: int
    """Milliseconds since 1970, UTC."""
    started_at: int
    pid: int
    mode: Literal["observe", "enforce"]
    model: str = ""
    bundle: str = ""
    """Digest of the guard."""
    promised: float | None = None
    """Largest false-alarm rate that the guard promises."""
    generated: int = 0
    """Generations that ended, whoever asked; the sum of the next four."""
    clear: int = 0
    flagged: int = 0
    unmonitored: int = 0
    not_sampled: int = 0
    canaries: int = 0
    """Of these, the ones that the monitor asked for itself."""
    canary_missed: str | None = None
    """Why the last canary that must be flagged was not: its reason, or `clear`; None = it was, or none has run."""
    drift: str | None = None
    """Part of the guard that canaries have found to have drifted; `traffic:PART` where only clear traffic scores
    otherwise; None = none has, or nobody looks."""
    reload_failed: str | None = None
    """Why the last reload was refused, on one line; None = it was not."""
    scorer: str | None = None
    """What is wrong with where scores are made: `scorer_unavailable`, `scorer_late`, `scorer_other_guard`;
    None = nothing."""
    sinks: tuple[SinkState, ...] = ()
    canary_at: int | None = None
    """When a canary that must be flagged was flagged last, in milliseconds by the clock of `at`; None = not since the
    process began."""
    canary_every_s: float | None = None
    """Seconds between two times that such canaries are asked; None = none are set."""
    canaries_since: int | None = None
    """Since when they are asked, in milliseconds: a reload may set others; None = since the process began."""
    canaries_wanted: int | None = None
    """How many of them are asked each time, as the settings have it."""
    canaries_proven: tuple[int, int] | None = None
    """(k, n): of n prompts that were tried, the guard flagged k, which are asked from then on; None = they are still
    being looked for, or none are set."""
    drift_looked: int | None = None
    """Scores that were compared with the calibration: of harmless canaries where they are asked, else of clear traffic;
    None = nobody looks."""
    looks: tuple[str, ...] = ()
    """What is not looked at although somebody asked for it, and why, in sentences."""
    ended: bool = False
    """It was asked to end, and this is its last pulse: that nothing follows is no fault."""
    canary_missed_since: int | None = None
    """Since when `canary_missed` is not None, in milliseconds by the clock of `at`: the time of the first pulse that
    said so; None = it is None, or not known. So are the next four."""
    drift_since: int | None = None
    """Of `drift`."""
    reload_failed_since: int | None = None
    """Of `reload_failed`."""
    scorer_since: int | None = None
    """Of `scorer`."""
    looks_since: int | None = None
    """Since when `looks` is not empty."""
    scoring: Literal["process", "local", "remote", ""] = ""
    """Where scores are made, as the settings have it; empty = not said."""

    @property
    def needs_restart(self) -> bool:
        """Whether the last reload was refused since only another process can have what was changed."""
        return RELOAD_CANNOT in (self.reload_failed or "")

    @property
    def canary_stopped(self) -> int | None:
        """Since when no canary was flagged although several were due, in milliseconds; None = it is not so.

        All times are by the clock of the monitor, so that a wrong clock changes nothing.
        """
        if self.canary_every_s is None:
            return None
        begun = self.started_at if self.canaries_since is None else self.canaries_since
        last = max(begun, self.canary_at or begun)
        return last if self.at - last > CANARIES_LATE * self.canary_every_s * 1000 else None
