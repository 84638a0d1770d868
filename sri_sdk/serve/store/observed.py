"""What operators ask the store, and what they get: verdicts with their circumstances, counts, labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from sri_sdk.observation import Consequence, Kind, Observation, Pulse
from sri_sdk.records import Status

LabelWord = Literal["benign", "attack"]
"""What a person says that a generation was, whatever the guard said of it."""
LABELS: tuple[LabelWord, ...] = ("benign", "attack")
"""The words; their place is the number that the database has."""


@dataclass(frozen=True, slots=True)
class LabelEntry:
    """One thing that a person said of one observation. The last one of an observation counts."""

    observation_id: str
    key: str
    """The request id, or its keyed hash where the store hashes ids."""
    at: int
    """Milliseconds since 1970, UTC, by the clock of the process that stored it."""
    label: LabelWord
    by: str
    """Who said so."""
    note: str


@dataclass(frozen=True, slots=True)
class Observed:
    """One observation as the store has it. Verdicts that `sri serve` was handed are observations of kind `traffic`,
    released, with their source as the deployment.
    """

    seq: int
    """Rises with every commit, and is never used again."""
    received_at: int
    """Milliseconds since 1970, UTC, when it was stored."""
    observation: Observation
    """Its `request_id` is the keyed hash where the store hashes ids, unless it was asked for by the id itself."""
    label: LabelWord | None = None
    """The last that anybody said; None = nobody has."""
    labels: tuple[LabelEntry, ...] = ()
    """All that anybody said, the oldest first; of `observation` only."""


@dataclass(frozen=True, slots=True)
class StreamQuery:
    """Which observations a page has. None = all; several fields = those that fit all of them."""

    before: int | None = None
    """Only those with smaller numbers: `StreamPage.next`. None = from the newest."""
    limit: int = 50
    """Most on one page, 1 to 1,000."""
    status: Status | None = None
    reason: str | None = None
    """The most important reason code of the verdict; empty = it has none."""
    kind: Kind | None = None
    deployment: str | None = None
    bundle: str | None = None
    """Digest of the guard, whole."""
    model: str | None = None
    consequence: Consequence | None = None
    unlabelled: bool = False
    """True = only those that were drawn for the audit sample and that nobody has labelled."""
    label: LabelWord | Literal["any"] | None = None
    tenant: str | None = None
    since_ms: int | None = None
    """Given at this time or later; milliseconds since 1970, UTC."""
    until_ms: int | None = None
    """Given before it."""
    id: str | None = None
    """The id of an observation or of a request, or how it begins; of hashed request ids only the whole id. More than
    1,000 that begin alike are not all found."""
    trajectories: bool = False
    """Whether rows come with their trajectories; texts never do."""


@dataclass(frozen=True, slots=True)
class StreamPage:
    """Observations, the newest first."""

    rows: tuple[Observed, ...]
    next: int | None
    """Pass it as `before` to go on; None = there are no others. There may be others although `rows` is not full, or
    empty: a page looks at a limited number of rows."""


class HourCount(NamedTuple):
    """How many observations of one hour, or of several, have the same circumstances."""

    hour_ms: int
    """Its begin; milliseconds since 1970, UTC."""
    deployment: str
    bundle: str
    """Empty = not known. So are the model and the reason."""
    model: str
    kind: Kind
    status: Status
    reason: str
    consequence: Consequence
    audit_rate: float
    generations: int
    drawn: int
    """Of these, the ones in the audit sample."""
    benign: int
    """Of the drawn ones, those that are labelled so now."""
    attack: int
    gone: int
    """Of the drawn ones, those that were deleted before anybody labelled them: nobody will."""


class LatencyCount(NamedTuple):
    """How many verdicts on traffic took about as long."""

    hour_ms: int
    deployment: str
    over_s: float
    """Seconds after the last step: more than this, but for the first bucket, which has everything faster too."""
    to_s: float
    """And at most this; infinite for the last bucket."""
    generations: int


class Stratum(NamedTuple):
    """Traffic whose audit sample was drawn alike: what a false-alarm rate is estimated from."""

    status: Status
    audit_rate: float
    """With which probability each was drawn."""
    generations: int
    drawn: int
    benign: int
    """Of the drawn ones, those labelled so; labels of others do not count here."""
    attack: int
    gone: int
    """Drawn, and deleted before anybody labelled them."""


class ScorePoint(NamedTuple):
    """One score, for pictures."""

    at: int
    """Milliseconds since 1970, UTC."""
    status: Status
    """Of this part."""
    part: str
    """Name of the part; empty = the whole guard."""
    score: float
    """Higher = more suspicious, in its detector's unit."""
    threshold: float | None


class Process(NamedTuple):
    """One process of a deployment: replicas share its name."""

    heard_at: int
    """When its last pulse was kept, in milliseconds since 1970 by the clock of whoever wrote it into the store."""
    pulse: Pulse
    """The last."""
    missing: bool = False
    """It fell silent within the last day while another one lives, was not asked to end, and none was started since in
    its place."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What filters may ask for: every value that the store has ever seen, sorted."""

    deployments: tuple[str, ...]
    bundles: tuple[str, ...]
    models: tuple[str, ...]
    statuses: tuple[str, ...]
    reasons: tuple[str, ...]
    kinds: tuple[str, ...]
    consequences: tuple[str, ...]
