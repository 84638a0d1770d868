"""What steering did, as tables: claims, effects, guards against ablation, and the candidates behind the direction.

The page and the Markdown file show the same ones.
"""

from __future__ import annotations

import math

from sri_sdk.metrics.cells import DASH, Cell, Table, called, keys, rate_cell, share
from sri_sdk.metrics.results import Evaluation, ModelResult
from sri_sdk.metrics.steering import Claim, SteeringResult
from sri_sdk.report.strict_tables import points

KINDS = {
    "unsteered": "Not steered",
    "ablate": "Ablated",
    "add": "Added",
    "place": "Ablated, read before the request",
    "steps": "Ablated in some steps",
    "layers": "Ablated in some blocks",
    "positions": "Ablated at some positions",
    "blocks": "Ablated in a part of the response",
    "language": "Ablated across languages",
    "transfer": "Another model's, ablated",
    "random": "Random directions, ablated",
    "prompt": "Not steered, attacked",
}
"""Kind of a run -> what it is called."""


def steered(evaluation: Evaluation) -> list[tuple[ModelResult, SteeringResult]]:
    """The models that were steered, with what was found."""
    return [(model, model.steering) for model in evaluation.models if model.steering is not None]


def claims(evaluation: Evaluation) -> Table:
    """One claim a row, one model a column: the verdict, and the difference that it rests on."""
    models = steered(evaluation)
    by_model = [{claim.name: claim for claim in found.claims} for _, found in models]
    says = {claim.name: claim.says for _, found in models for claim in found.claims}
    rows = tuple(
        (Cell(says[name], note=name), *(_verdict(each.get(name)) for each in by_model)) for name in keys(by_model)
    )
    least = _number(100 * next((found.least for _, found in models), math.nan))
    note = (
        "Differences of two shares of the same prompts, in points, with 95 % intervals that resample prompts. "
        f"Reproduced: at least {least} points, and an interval above 0. Not reproduced: an interval that lies "
        f"below {least} points. Where a claim says that an effect is absent, the other way round. Unclear: "
        "neither, or there was too little to move. A dash: the paper claims nothing of such a model."
    )
    columns = ("Claim", *(called(model.name) for model, _ in models))
    return Table("steering-claims", "Claims of arXiv 2512.24143", columns, rows, note if rows else "")


def effects(model: ModelResult, name: str = "steering-effects") -> Table:
    """One way of steering a row: refusals, answers that do harm, and refusals of the same prompts without it."""
    rows = tuple(
        (
            Cell(f"{KINDS.get(run.kind, called(run.kind))}: {called(run.name)}"), Cell(called(run.prompts)),
            rate_cell(run.refused), rate_cell(run.done), rate_cell(run.before),
        )
        for run in (model.steering.runs if model.steering is not None else ())
    )  # fmt: skip
    columns = ("Steering", "Prompts", "Refused", "Answered with harm", "Refused without it")
    return Table(name, f"Effects of steering: {called(model.name)}", columns, rows, texts=frozenset({1}))


def guards(model: ModelResult, name: str = "steering-guards") -> Table:
    """One guard a row, as it ships: what it flags of the model without its refusal direction, and as it is."""
    rows = tuple(
        (
            Cell(called(each.guard), note=f"{each.unscored} generations not scored" if each.unscored else ""),
            *(
                rate_cell(rate)
                for rate in (
                    each.ablated_harm, each.attacked_harm, each.ablated_harmful, each.plain_harmful,
                    each.ablated_harmless, each.plain_harmless,
                )
            ),
        )
        for each in (model.steering.guards if model.steering is not None else ())
    )  # fmt: skip
    columns = (
        "Guard", "Harm, ablated", "Harm, attacked", "Harmful prompts, ablated", "Harmful prompts, as it is",
        "False alarms, ablated", "False alarms, as it is",
    )  # fmt: skip
    note = (
        "Shares flagged, at the threshold that ships. Every guard was fitted on the model as it is. Harm, ablated: "
        "harmful answers to plain harmful prompts once the refusal direction is gone. Harm, attacked: successful "
        "attacks on the model as it is."
    )
    return Table(
        name, f"Guards without the refusal direction: {called(model.name)}", columns, rows, note if rows else ""
    )


def candidates(model: ModelResult, name: str = "steering-candidates") -> Table:
    """One block and place a row: what chose the direction."""
    found = model.steering
    rows = tuple(
        (
            Cell(f"block {spot.block}, {spot.place}"), Cell(_number(spot.kl)), Cell(share(spot.ablated)),
            Cell(share(spot.added)), rate_cell(spot.refused), Cell(spot.out or "best of its side"),
        )
        for spot in (found.spots if found is not None else ())
    )  # fmt: skip
    columns = (
        "Candidate",
        "KL, nats",
        "Refusing tokens, ablated",
        "Refusing tokens, added",
        "Refused, ablated",
        "Why not",
    )
    note = "" if found is None else (
        f"On {found.validation.get('harmful', 0)} harmful and {found.validation.get('harmless', 0)} harmless "
        f"validation prompts. Refusing tokens: share among the first ones; without steering {_share(found, 'harmful')} "
        f"on harmful and {_share(found, 'harmless')} on harmless prompts. Taken: block {found.block}, {found.place}."
    )  # fmt: skip
    title = f"Where the direction was read: {called(model.name)}"
    return Table(name, title, columns, rows, note if rows else "", frozenset({5}))


def _share(found: SteeringResult, label: str) -> str:
    return share(found.first_tokens.get(label, math.nan))


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else DASH


def _verdict(claim: Claim | None) -> Cell:
    if claim is None:
        return Cell(DASH)
    gap = claim.difference
    if gap is None or not math.isfinite(gap.value):
        why = "no direction there" if gap is None else "no cases"
        return Cell(claim.found, remark=why, note=claim.note)
    moved = f"{points(gap.value)} points, {points(gap.low)} to {points(gap.high)}"
    return Cell(claim.found, moved, f"n = {gap.n:,}", note=claim.note)
