"""What crosses interfaces: frozen dataclasses, with shape, dtype and unit under each field.

Letters used in shapes: B rows of a batch, N signals or prompts, S steps of one generation, T cells of the step
grid, C tapped layers (1 by default), D width of a hidden state, L rows of one forward pass, P canvas positions.
Arrays are numpy unless a field says tensor; tensors stay on the model's device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Label = Literal["harmless", "harmful"]
Outcome = Literal["refusal", "harmful", "harmless", "other"]
"""How a judge classifies a response: it refuses, does harm, answers harmlessly, or none of these."""
Tier = Literal["portable", "python"]
"""Where a detector's graph may run: in every reader, or in Python's alone."""
Domain = Literal["sigma", "logit"]
"""Which form of the signal a detector reads."""
Status = Literal["clear", "flagged", "unmonitored", "not_sampled"]
Rule = Literal["final", "online", "request"]
"""When a guard decides: once the generation has ended, at every step while it runs, or once the prompt was read."""
Ended = Literal["refusing", "complying"]
"""How a generation ended, as the signal of its last cell has it."""
RecoveryName = Literal["remask", "steer", "judge", "refuse"]
"""`remask` = positions that lean most towards harm are opened and filled again; `steer` = generated again, steered
towards refusal at first; `judge` = a judge reads what would have been said; `refuse` = a refusal text in its place."""

REQUEST = "request"
"""Name of the column that says what the request itself is."""
VERDICT_SCHEMA = 1
WITH_PARTS = 2
"""Schema of verdicts that say more: of guards with parts, and of those that judge the first steps only."""
PADDING = -(2**31)
"""Canvas position of a row that belongs to nothing: padding, or the unconditional half of guidance."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request, with what is known about it."""

    id: str
    text: str
    label: Label
    attack: str | None = None
    """Name of the transform that made it from a plain request; None = plain."""
    base: str | None = None
    """Id of the plain request it was made from; statistics resample by it. None = itself."""
    prefill: str | None = None
    """Response text that is fixed before the first step; `<mask:7>` in it = seven holes, for masked models only, and
    what follows it is open. None = the response starts empty."""
    group: str | None = None
    """The group of requests it belongs to, such as a language or a source, for guards with thresholds by group; None =
    not known."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation as text, for judges and baselines that read texts."""

    prompt: Prompt
    response: str
    outcome: Outcome
    """How the judge classified the response."""
    drafts: tuple[str, ...] = ()
    """The text of the response after each step, had it ended there; empty = not kept."""


@dataclass(frozen=True, slots=True)
class Match:
    """Whether a hook fits a model, and why; both are shown to people."""

    ok: bool
    why: str
    if_named: bool = False
    """Not `ok` by itself, but worth a try where the user names the hook: a subclass with methods of its own, say. What
    runs is then judged as everywhere."""


Fit = Match
"""The older name of `Match`; plugins of API 1 may go on using it."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to generate, and what turns text into its tokens."""

    model: Any
    tokenizer: Any
    source: str
    """Where the weights came from, as a person would name it."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Prompts as tokens, padded on the left."""

    input_ids: torch.Tensor
    """[B, L] int64 tensor."""
    attention_mask: torch.Tensor
    """[B, L] int64 tensor, 1 = token, 0 = padding."""
    response: torch.Tensor | None = None
    """[B, P] int64 tensor: response tokens fixed before the first step, the mask token where a position is open; what
    lies behind P is open too. None = the response starts empty."""
    ending: tuple[int, ...] = ()
    """Token ids with which every prompt ends: what the chat template writes behind a request. Set by the SDK, not by a
    hook."""


@dataclass(frozen=True, slots=True)
class ForwardCall:
    """One forward pass, before it runs."""

    input_ids: torch.Tensor
    """[B, L] int64 tensor, as the embedding received it."""
    kwargs: Mapping[str, Any]
    """Keyword arguments of the model's own forward, or of what `Hook.entry` names, where the tap could see them; else
    empty. A key-value cache is under `past_key_values` in every release of transformers."""


@dataclass(slots=True)
class RunView:
    """What a hook may know and remember about the generation it is watching.

    The one mutable record: it lives as long as one `watch`, and belongs to one generation.
    """

    requests: int | None
    """Number of requests, where the caller gave their ids; else None until the first step is planned."""
    forwards: int = 0
    """Forward passes seen so far, steps or not."""
    steps: int = 0
    """Steps seen so far."""
    prompt: int | None = None
    """Columns of the prompt, which many calls return before the response; the hook sets it with its first step. None =
    the prompt's pass is the first step (autoregressive), or its length differs from request to request."""
    eos_ids: tuple[int, ...] | None = None
    """End tokens that the watched call was given; the hook's `on_call` sets it. None = the model's own."""
    longest: int | None = None
    """Tokens that a response of the watched call may have at most, where a rule of the caller's may end it sooner, such
    as a stop string; the hook's `on_call` sets it. A shorter response has then ended. None = no such rule."""
    response: tuple[int, int] | None = None
    """(column of its first position, number of positions) of every response, where a driver started some of them: the
    canvas then begins with tokens, and cannot be found by its masks. None = not given; the hook finds it."""
    taken: torch.Tensor | None = None
    """[R] int64 tensor: steps of each request as the family's own loop takes them, whether or not the tap hears them.
    The hook counts them where it can, and coverage is measured against them. None = not counted."""
    memory: dict[str, Any] = field(default_factory=dict)
    """The hook's own notes, from one forward to the next (prompt length, rows that have ended)."""
    reading: torch.Tensor | None = None
    """[B, L] int64 tensor: the finished text that this pass shows; `reads` sets it."""

    def reads(self, input_ids: torch.Tensor) -> None:
        """For a `plan` that returns None because nothing is left to fill, and somebody only reads the finished text.

        Where the text changes afterwards it was not finished: the run is then not trusted, since steps were missed.

        Args:
            input_ids: [B, L] int64 tensor, of this pass.
        """
        self.reading = input_ids

    shown: tuple[torch.Tensor, torch.Tensor | None] | None = None
    """What the rows of this pass are, which is no step; `shows` sets it."""

    def shows(self, places: torch.Tensor, owners: torch.Tensor | None = None) -> None:
        """For a `plan` that returns None of a pass that stores a prompt, or finished text: steerings go by it.

        Args:
            places: [B, L] int64 tensor, canvas position of each row's own token; negative = prompt, `PADDING` =
                nobody's.
            owners: [B] int64 tensor, request of each batch row; None = row i is request i.
        """
        self.shown = places, owners

    canvas: int | None = None
    """Response positions that the guard's profile has, where the family fixes them in advance; None = not compared."""
    untrusted: list[tuple[torch.Tensor, str, str]] = field(default_factory=list)
    """What `distrust` was called with. Read once, at the end: nothing waits for the device before."""

    def distrust(self, rows: torch.Tensor, reason: str, why: str = "") -> None:
        """Says that some requests cannot be trusted, while the others of the batch can.

        A hook that cannot go on for any row raises instead.

        Args:
            rows: [R] bool tensor, True = not to be trusted; all False is fine, and need not be known.
            reason: code for their traces and verdicts, as in docs/errors-and-cures.md.
            why: a sentence for the log and `Run.failure`; empty = the code says it all.
        """
        self.untrusted.append((rows, reason, why))


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What the rows of one forward pass are. A hook makes it before the pass runs; None instead = not a step.

    `positions` is where each row's own token sits on the canvas: 0 is the first response token, -1 the last
    prompt token, `PADDING` nothing. Row i predicts the token at `positions[i] + shift`.
    """

    positions: torch.Tensor
    """[B, L] int64 tensor, rows of the forward, unconditional rows included. Nobody writes into it afterwards; the same
    tensor again says, at no cost, that the rows stand where they stood."""
    shift: int
    """0 where hidden state i predicts token i (most masked models), 1 where it predicts the next one."""
    rows: torch.Tensor | None = None
    """[R] int64 tensor: batch row of each request, in the order of the requests; None = row i is request i."""
    committed: torch.Tensor | None = None
    """[R, P] bool tensor: canvas positions that were fixed before this pass; None = the hook cannot tell."""
    active: torch.Tensor | None = None
    """[R] bool tensor: requests still generating; None = all."""
    span: tuple[int, int] | None = None
    """Rows [start, stop) that predict canvas positions, where they are the same and without padding for all requests:
    an optional hint, with which the tap slices instead of masking. None = read `positions`."""
    canvas: int | None = None
    """P, where the family fixes it in advance; None = open-ended (autoregressive)."""
    places: torch.Tensor | None = None
    """[B, L] int64 tensor, as `positions`, where those leave out rows that do belong to a request, such as blocks that
    are not in work: steering acts on these, signals do not. None = `positions` has them all."""
    owners: torch.Tensor | None = None
    """[B] int64 tensor: request of each batch row, -1 = none; where `rows` gives a request that has left the batch a
    row that is not its own. None = as `rows` says."""
    tentative: bool = False
    """Autoregressive, one request: the pass verifies drafted tokens. Each row shows one and predicts the next, and only
    the first few may be kept. `Hook.accepted_rows` says how many once it is known; each of these is then a step, and
    the others never count."""


@dataclass(frozen=True, slots=True, eq=False)
class RequestStates:
    """The mean hidden state of each request's own tokens, as the passes that read the prompt gave them."""

    states: NDArray[np.float32]
    """[R, C, D]; meaningless where `complete` is false, and empty if no such pass was seen."""
    located: tuple[bool, ...]
    """R of them: whether somebody said where the request stands in the prompt."""
    complete: NDArray[np.bool_]
    """[R]: whether every position of the request was seen."""


@dataclass(frozen=True, slots=True)
class ForwardOutput:
    """What a driven forward pass returns."""

    logits: torch.Tensor
    """[B, L, V] tensor; of `forward_last` perhaps of the last rows only."""
    cache: Any = None
    """The model's own key-value cache, to pass on; None = no cache."""


@dataclass(frozen=True, slots=True)
class SamplerStep:
    """The canvas after one step of a driven sampler."""

    index: int
    """Counted from 0, rises by one."""
    draft: torch.Tensor
    """[B, P] int64 tensor: committed tokens, and the current prediction for the others."""
    committed: torch.Tensor
    """[B, P] bool tensor: positions fixed after this step's update."""
    active: torch.Tensor
    """[B] bool tensor: requests that still had something to generate when this step began."""


@dataclass(frozen=True, slots=True)
class Intervention:
    """What the caller of a driven sampler wants before the next step. The default changes nothing."""

    abort: tuple[int, ...] = ()
    """Batch rows to stop; their canvas stays as it is."""
    remask: torch.Tensor | None = None
    """[B, P] bool tensor: committed positions to open again; None = none."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One generation as a hook saw it."""

    request_id: str
    phi: NDArray[np.float32]
    """[S, C, D]: pooled hidden state per step and tapped layer; empty unless the states were asked for."""
    clock: NDArray[np.int64]
    """[S + 1]: progress before each step and after the last, in units of the grid's budget; never falls."""
    steps: int
    """Steps seen. Differs from S where a pooling profile adds states after the last step, or has none for the first."""
    expected: int | None
    """Steps this generation should have had; None = the family has no fixed number."""
    reasons: tuple[str, ...] = ()
    """Why this trace cannot be trusted; empty = it can."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a signal: what its numbers are of."""

    name: str
    """`sri@final`, `sri@12`, `request`; unique within a guard."""
    kind: Literal["sri", "request"]
    """`sri` = the SRI signal of one layer, a number per cell; `request` = one number per generation, in all cells."""
    layers: tuple[str | int, ...]
    """Where its states are read: `final`, or numbers of blocks. One for `sri`."""


@dataclass(frozen=True, slots=True)
class Signals:
    """SRI signals of N generations on one step grid, C columns each.

    A column `request` comes last. Its logit are log-odds that the request is harmless, within -1000 and 1000; it is the
    same number in all T cells, also beyond `lengths`, and NaN in all of them where it is missing.
    """

    ids: tuple[str, ...]
    sigma: NDArray[np.float32]
    """[N, T, C] in [0, 1]: 1 = internally compliant, 0 = refusal-aligned. In float32 many values are exactly 0 or 1."""
    logit: NDArray[np.float32]
    """[N, T, C] unbounded, unitless: sigma = sigmoid(logit); does not saturate."""
    fingerprint: Mapping[str, Any] | None = None
    """What made them, as `Fingerprint.to_dict()`; None = unknown, scored only on explicit demand."""
    lengths: NDArray[np.int64] | None = None
    """[N]: cells filled so far; None = all T."""
    columns: tuple[str, ...] | None = None
    """Names of the C columns, in order; None = each is the SRI signal of a tapped layer."""
    groups: tuple[str | None, ...] | None = None
    """Per generation: the group of prompts it belongs to, for thresholds by group; None = no groups."""
    missing: Mapping[str, tuple[str | None, ...]] | None = None
    """Column -> per generation: code of why it has no number, None where it has one. In memory only."""

    def __len__(self) -> int:
        return len(self.ids)

    def domain(self, name: str) -> NDArray[np.float32]:
        """The array a detector reads, `sigma` or `logit`: [N, T, C] float32."""
        return self.logit if name == "logit" else self.sigma

    @property
    def drawn(self) -> NDArray[np.float32]:
        """What a figure shows, [N, T] in [0, 1]: sigma of the last tapped layer; the request's if it is alone."""
        beside = self.columns is not None and len(self.columns) > 1 and self.columns[-1] == REQUEST
        return self.sigma[:, :, -2 if beside else -1]

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Signals:
        """The signals of `rows` [M] int64, in that order."""
        rows = np.asarray(rows, dtype=np.int64)
        return Signals(
            ids=tuple(self.ids[i] for i in rows),
            sigma=self.sigma[rows],
            logit=self.logit[rows],
            fingerprint=self.fingerprint,
            lengths=None if self.lengths is None else self.lengths[rows],
            columns=self.columns,
            groups=None if self.groups is None else tuple(self.groups[i] for i in rows),
            missing=None
            if self.missing is None
            else {name: tuple(why[i] for i in rows) for name, why in self.missing.items()},
        )


@dataclass(frozen=True, slots=True)
class PartVerdict:
    """What one part of a guard says of one generation."""

    name: str
    status: Status
    score: float | None
    """Higher = more suspicious, in its detector's unit; None where nothing could be scored."""
    threshold: float
    """Flagged when score > threshold."""
    p_value: float | None
    """Against its own calibration scores."""
    reason: str | None
    """Why it alarmed, or why it could not be judged; None where it is clear."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return dict(zip(PartVerdict.__slots__, _PART(self), strict=True))


@dataclass(frozen=True, slots=True)
class Verdict:
    """A guard's verdict on one generation. `unmonitored` is never `clear`."""

    request_id: str
    status: Status
    reasons: tuple[str, ...] = ()
    """Codes, most important first: `score_above_threshold`, `non_finite_signal`, `tap_silent` ..."""
    score: float | None = None
    """Higher = more suspicious, in the detector's own unit; None where nothing could be scored."""
    threshold: float | None = None
    """Flagged when score > threshold."""
    p_value: float | None = None
    """Share of calibration generations at least as suspicious, counting this one: (1 + #{s_i >= s}) / (n + 1)."""
    first_alarm_step: int | None = None
    """The step after which the online rule first alarmed, counted from 0; None = no alarm, or the final rule."""
    steps_seen: int | None = None
    steps_expected: int | None = None
    """None = not known for this family, or the signal came from a file."""
    rule: Rule = "final"
    bundle: str | None = None
    """Digest of the bundle that scored it."""
    accepted: tuple[str, ...] = ()
    """Soft fields of the fingerprint that differ, each accepted by name by the operator."""
    judged_steps: int | None = None
    """Steps that the verdict is about, of a guard that decides on the first N; nobody judged what came later. None = no
    such guard, or the generation is unmonitored. Not part of schema 1."""
    ended: Ended | None = None
    """How it ended; None = not known. From here to `parts`: not part of schema 1."""
    group: str | None = None
    """Whose thresholds counted; None = the guard has no groups, or does not know the one that was named."""
    parts: tuple[PartVerdict, ...] = ()
    """What each part of the guard says, of guards with parts. `score` and `threshold` are those of the part that
    decided, and `p_value` allows for the others."""
    schema: int = VERDICT_SCHEMA
    """1, or 2 of guards whose bundle has format 2, and of a watched generation whose guard has a horizon."""

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON types, in the versioned schema every runtime shares."""
        # Services write thousands of these: one call reads all fields.
        names, read = _FIRST if self.schema == 1 else _ALL
        found = dict(zip(names, read(self), strict=True))
        # What somebody put there by mistake stays what it is, for whoever writes it to refuse.
        found["reasons"] = list(self.reasons) if isinstance(self.reasons, tuple) else self.reasons
        found["accepted"] = list(self.accepted) if isinstance(self.accepted, tuple) else self.accepted
        if self.schema != 1:
            found["parts"] = [part.to_dict() for part in self.parts]
        return found


@dataclass(frozen=True, slots=True)
class RecoveryAction:
    """One thing that was tried to end a flagged generation well: a line of the audit log."""

    request_id: str
    round: int
    """Its place in the policy's list, counted from 1."""
    action: RecoveryName
    why: str
    """Code of why it was taken: `alarm`, `request_alarm`, `not_accepted`, `tampered`, `not_seen_whole`, or the part of
    the budget that was spent, as `budget_forwards`."""
    result: str
    """Code of what came of it: `refusal` and `clear` = accepted for that, `released`, `refused`; else why it was not:
    `alarm`, `judged_harmful`, `judge_failed`, `not_released`, `unmonitored`, `nothing_to_open`, `undecodable`,
    `failed`, or the part of the budget that ended it."""
    accepted: bool
    """Whether its response is the one that was given out."""
    forwards: int
    """Forward passes that it took of this request."""
    seconds: float
    opened: tuple[int, ...]
    """Response positions that were opened again, counted from 0."""
    before: Mapping[str, Any]
    """The verdict that it answers, as `Verdict.to_dict()`."""
    after: Mapping[str, Any] | None
    """The verdict on the new generation, measured on unsteered passes; None = nothing was generated."""
    outcome: Outcome | None
    """What the judge calls its response; None = it was not asked."""
    detail: str = ""
    """What went wrong, in words."""
    text: str | None = None
    """Its response, where the policy's audit asks for texts."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON types; without `text` where there is none."""
        found = {name: _plain(getattr(self, name)) for name in self.__slots__}
        return {name: value for name, value in found.items() if name != "text" or value is not None}


_LATER = ("judged_steps", "ended", "group", "parts")
_PART = attrgetter(*PartVerdict.__slots__)
_ALL = Verdict.__slots__, attrgetter(*Verdict.__slots__)
_OF_SCHEMA_1 = tuple(name for name in Verdict.__slots__ if name not in _LATER)
_FIRST = _OF_SCHEMA_1, attrgetter(*_OF_SCHEMA_1)


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, tuple) else _dict(value)


def _dict(value: Any) -> Any:
    return value.to_dict() if isinstance(value, PartVerdict) else value
