"""The figures of steering: where directions were read, and where ablating one matters."""

from __future__ import annotations

import re

from sri_sdk.metrics.cells import called, keys
from sri_sdk.metrics.results import Evaluation
from sri_sdk.report import charts
from sri_sdk.report.drawing import Drawing, Panel
from sri_sdk.report.steering_tables import steered

SWEPT = {"steps": "steps", "layers": "", "positions": "positions:", "blocks": "response,"}
"""Kinds of runs that restrict an ablation -> the word before their names."""
COMPARED = {"ablate": "its own", "place": "its own,", "language": "language,", "transfer": "", "random": "random,"}
"""Kinds of runs that ablate one direction or another."""


def where_read(evaluation: Evaluation) -> Drawing:
    """Blocks by places of the template: what is left of refusing first tokens under ablation."""
    models = steered(evaluation)
    # The same columns for all: what one model lacks is half of what there is to see.
    places = sorted(keys([spot.place] for _, found in models for spot in found.spots), key=_in_text)
    panels, rows = [], 1
    for model, found in models:
        blocks = sorted({spot.block for spot in found.spots})
        at = {(spot.block, spot.place): spot.ablated for spot in found.spots}
        values = [[at.get((block, place)) for place in places] for block in blocks]
        if values:
            named = [f"block {block}" for block in blocks]
            panels.append(Panel(charts.value_map(values, named, places), called(model.name)))
            rows = max(rows, len(blocks))
    longest = max(map(len, places), default=0)
    return Drawing(
        "Where the refusal direction can be read",
        "Tables coloured by share, one per model: blocks by places of the chat template; numbers below.",
        tuple(panels),
        # Names of places may stand upright.
        0.8 + 0.3 * rows + 0.1 * min(20, longest),
        "Share of refusing tokens among the first ones on harmful prompts, in percent, once the direction that was "
        "read there is ablated; less = it takes refusals away. pre: before the request, post: behind it. Hatched: the "
        "two kinds of prompts do not differ there.",
        columns=3,
    )


def _in_text(place: str) -> tuple[bool, int, str]:
    """Sorts places in the order of the text: `pre-2`, `pre-1`, `post+0`; others behind them, by name."""
    found = re.fullmatch(r"(?:pre|post)([+-][0-9]{1,9})", place)
    return found is None, int(found[1]) if found else 0, place


def where_it_matters(evaluation: Evaluation) -> Drawing:
    """Refusals of harmful prompts that are left where the direction is ablated in a part of the model or the text."""
    return _refused(
        evaluation,
        "Where ablation matters: harmful prompts still refused",
        SWEPT,
        "Harmful prompts refused while the direction is ablated in these steps, blocks, positions or parts of the "
        "response alone, with 95 % intervals. Left: the place matters.",
    )


def whose_direction(evaluation: Evaluation) -> Drawing:
    """Refusals that are left under one direction or another."""
    return _refused(
        evaluation,
        "Whose direction: harmful prompts still refused",
        COMPARED,
        "Harmful prompts refused while a direction is ablated everywhere, with 95 % intervals: its own, one read "
        "before the request, one made in another language or in another model, and random ones.",
    )


def _refused(evaluation: Evaluation, title: str, kinds: dict[str, str], caption: str) -> Drawing:
    models = steered(evaluation)
    rates = [
        {
            f"{kinds[run.kind]} {called(run.name)}".strip(): run.refused
            for run in found.runs
            if run.kind in kinds and run.prompts == "harmful"
        }
        for _, found in models
    ]
    names = keys(rates)
    panels = tuple(
        Panel(charts.dots([(name, each.get(name)) for name in names]), called(model.name))
        for (model, _), each in zip(models, rates, strict=True)
    )
    alt = f"{title}: dot charts, one per model, with intervals; numbers below."
    return Drawing(title, alt, panels if names else (), 0.7 + 0.34 * len(names), caption, same_rows=True)
