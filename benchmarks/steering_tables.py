"""What steering does to the embedded models, from the results of `configs/lab-steering.yaml`: JSON, and a page.

    python benchmarks/steering_tables.py out/lab-steering/results.json      # keeps both
    python benchmarks/steering_tables.py                                    # the page anew, from what was kept

The page's own words are above and below its two marks; what stands between them is made here.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sri_sdk.report.steering_tables import KINDS
from sri_sdk.strict_json import parse, write

HERE = Path(__file__).parent
KEPT, PAGE = HERE / "steering.json", HERE / "steering.md"
BEGIN, END = "<!-- numbers -->", "<!-- /numbers -->"
MISSING = "–"
NOTHING = "Nothing was measured yet: `make steer`."
FLAGGED = {
    "ablated_harm": "harm, ablated",
    "attacked_harm": "harm, attacked",
    "ablated_harmful": "harmful prompts, ablated",
    "plain_harmful": "harmful prompts, as it is",
    "ablated_harmless": "harmless, ablated",
    "plain_harmless": "harmless, as it is",
}
"""Share of the guard table -> what it is called."""


def condensed(results: Mapping[str, Any]) -> dict[str, Any]:
    """Model -> what steering did to it; numbers with six digits, so that the file can be read.

    Raises:
        ValueError: the run was a quick look, or no model was steered.
    """
    if results["limit"] is not None:
        raise ValueError(f"a quick look at {results['limit']} prompts per group is nothing to keep; run `make steer`")
    found = {model["name"]: _rounded(model["steering"]) for model in results["models"] if model["steering"]}
    if not found:
        raise ValueError("no model of these results was steered")
    return found


def page(kept: Mapping[str, Any]) -> str:
    """What stands between the marks."""
    if not kept:
        return NOTHING
    parts = [claims(kept), effects(kept), guards(kept), candidates(kept), notes(kept)]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def claims(kept: Mapping[str, Any]) -> list[str]:
    """One claim a row."""
    by_model = {model: {claim["name"]: claim for claim in found["claims"]} for model, found in kept.items()}
    names = dict.fromkeys(name for found in by_model.values() for name in found)
    rows = [[f"`{name}`", *(_verdict(found.get(name)) for found in by_model.values())] for name in names]
    return ["### Claims", "", *_table(["claim", *kept], rows)]


def effects(kept: Mapping[str, Any]) -> list[str]:
    """One way of steering a row: refused, and answered with harm, in per cent."""
    by_model = {model: {_run(run): run for run in found["runs"]} for model, found in kept.items()}
    names = dict.fromkeys(name for found in by_model.values() for name in found)
    rows = []
    for kind, name, prompts in names:
        cells = []
        for found in by_model.values():
            run = found.get((kind, name, prompts))
            cells.append(MISSING if run is None else f"{_share(run['refused'])}; {_percent(run['done'])}")
        rows.append([f"{KINDS[kind]}: {name}", prompts, *cells])
    head = ["steering", "prompts", *(f"{model}: refused; harm, %" for model in kept)]
    return ["### Effects", "", *_table(head, rows)]


def guards(kept: Mapping[str, Any]) -> list[str]:
    """One guard and model a row: shares flagged, in per cent."""
    rows = [
        [f"`{guard['guard']}`", model, *(_share(guard[key]) for key in FLAGGED)]
        for model, found in kept.items()
        for guard in found["guards"]
    ]
    return ["### Guards without the refusal direction", "", *_table(["guard", "model", *FLAGGED.values()], rows)]


def candidates(kept: Mapping[str, Any]) -> list[str]:
    """Refusing first tokens left under ablation: blocks and models are rows, places columns."""
    places = dict.fromkeys(spot["place"] for found in kept.values() for spot in found["spots"])
    ordered = sorted(places, key=_place)
    rows = []
    for model, found in kept.items():
        at = {(spot["block"], spot["place"]): spot for spot in found["spots"]}
        for block in sorted({spot["block"] for spot in found["spots"]}):
            cells = [_spot(at.get((block, place)), found) for place in ordered]
            rows.append([model, str(block), *cells])
    shares = "; ".join(
        f"{model} {100 * found['first_tokens']['harmful']:.1f} %, n = {found['validation']['harmful']}"
        for model, found in kept.items()
    )
    return [
        "### Where the direction can be read", "",
        "Share of refusing tokens among the first ones on harmful validation prompts, in per cent, under ablation. "
        f"Without: {shares}. Bold: taken.", "", *_table(["model", "block", *ordered], rows),
    ]  # fmt: skip


def notes(kept: Mapping[str, Any]) -> list[str]:
    """What was not measured, and how one-dimensional the difference is."""
    lines = []
    for model, found in kept.items():
        spectrum = found["spectrum"]
        lines.append(
            f"* {model}: the first singular value has {100 * spectrum['first']:.0f} % of the difference "
            f"({spectrum['pairs']} pairs); pairs of harmless prompts give {100 * spectrum['chance_without']:.0f} %, of "
            f"harmful ones {100 * spectrum['chance_with']:.0f} %."
        )
        lines += [f"* {model}, `{name}`: {why}" for name, why in found["notes"].items()]
    return ["### Beside the claims", "", *lines]


def filled(text: str, kept: Mapping[str, Any]) -> str:
    """The page with what was kept between its marks.

    Raises:
        ValueError: the page lacks a mark.
    """
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE}: has no {BEGIN} or no {END}")
    return f"{head}{BEGIN}\n{page(kept)}\n{END}{tail}"


def _run(run: Mapping[str, Any]) -> tuple[str, str, str]:
    return run["kind"], run["name"], run["prompts"]


def _verdict(claim: Mapping[str, Any] | None) -> str:
    if claim is None:
        return MISSING
    gap = claim["difference"]
    if gap is None:
        return f"**{claim['found']}**: no direction there"
    low, high = 100 * gap["low"], 100 * gap["high"]
    return f"**{claim['found']}**: {100 * gap['value']:+.1f} ({low:+.1f} to {high:+.1f}; n = {gap['n']})"


def _spot(spot: Mapping[str, Any] | None, found: Mapping[str, Any]) -> str:
    if spot is None:
        return MISSING
    shown = f"{100 * spot['ablated']:.1f}"
    return f"**{shown}**" if (spot["block"], spot["place"]) == (found["block"], found["place"]) else shown


def _place(name: str) -> int:
    """Order in the text: `pre-2`, `pre-1`, `post+0`."""
    return int(name.removeprefix("pre")) if name.startswith("pre") else int(name.removeprefix("post+"))


def _share(rate: Mapping[str, Any]) -> str:
    if not rate["n"]:
        return "no cases"
    return f"{_percent(rate)} ({100 * rate['low']:.1f} to {100 * rate['high']:.1f}; n = {rate['n']})"


def _percent(rate: Mapping[str, Any]) -> str:
    return f"{100 * rate['k'] / rate['n']:.1f}" if rate["n"] else MISSING


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main() -> None:
    """Keeps results, and writes the page."""
    options = argparse.ArgumentParser()
    options.add_argument("results", type=Path, nargs="?")
    given = options.parse_args()
    if given.results is not None:
        made = condensed(parse(given.results.read_bytes()))
        KEPT.write_text(write(made, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), parse(KEPT.read_bytes())), encoding="utf-8")


if __name__ == "__main__":
    main()
