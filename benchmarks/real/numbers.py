"""What is kept of an evaluation of the published model: counts, rates and areas with n and intervals. No text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.real.model import FILE, SHA256
from benchmarks.real.sources import PACKAGES
from sri_sdk.metrics.rates import exact_rate

FORMAT = 1
FACTS = ("Judge", "Seed", "Config digest", "sri-sdk", "torch", "transformers", "numpy", "onnxruntime", "Quick look")
"""Of the facts of an evaluation, those without a path."""
ELSEWHERE = "elsewhere-"
"""How the names of the sets begin that come from corpora no fit has seen."""

Numbers = dict[str, Any]


def condensed(
    results: Mapping[str, Any], minutes: Mapping[str, Any] | None = None, speed: Mapping[str, Any] | None = None,
    by_set: Mapping[str, Any] | None = None,
) -> Numbers:  # fmt: skip
    """The numbers of one evaluation, ready to be kept.

    Args:
        results: `results.json` of `sri eval`, with one model.
        minutes: stage -> wall-clock and processor minutes; None = not known.
        speed: what `benchmarks.real.speed --json` measured; None = it did not run.
        by_set: what `benchmarks.real.by_set` counted; None = it did not run.
    """
    (model,) = results["models"]
    return {
        "format": FORMAT,
        "facts": {name: results["facts"][name] for name in FACTS if name in results["facts"]},
        "alpha": results["alpha"],
        "weights": {"file": FILE, "sha256": SHA256[:16]},
        "packages": {package.name: package.version for package in PACKAGES},
        "minutes": minutes,
        "speed": speed,
        "by_set": by_set,
        "generations": dict(model["counts"]),
        "refused": {
            "own": rate(model["refused_harmless"]),
            "harmful": rate(model["refused_harmful"]),
            **{each["name"]: rate(each["refused"]) for each in model["harmless_sets"]},
        },
        "plain_success": rate(model["plain_success"]),
        "attacks": {
            each["name"]: {"success": rate(each["success"]), "refused": rate(each["refused"]), "note": each["note"]}
            for each in model["attacks"]
        },
        "guards": {guard["name"]: _guard(guard) for guard in model["guards"]},
        "maps": {name: _map(found) for name, found in model["request_maps"].items()},
        "counters": {
            name: sum(found[name]["k"] for found in model["counters"].values() if name in found)
            for name in sorted({name for found in model["counters"].values() for name in found})
        },
    }


def _guard(guard: Mapping[str, Any]) -> Numbers:
    """One guard by its rule `final`."""
    (strict,) = [row for row in guard["strict"] if row["rule"] == "final"]
    wrappers = [row for row in guard["wrappers"] if row["rule"] == "final"]
    sets = {name: rate(found) for name, found in guard["harmless_sets"].items()}
    return {
        "rule": guard["threshold_rule"],
        "auroc": area(strict["auroc"]),
        "unscored": guard["unscored"],
        "ships": {
            "removed": rate(strict["removed"]),
            "unattacked": rate(guard["flagged"]["answered_harmful"]),
            "own": rate(guard["false_alarm"]),
            "sets": sets,
            "elsewhere": pooled(found for name, found in sets.items() if name.startswith(ELSEWHERE)),
            "twins": rate(strict["twins"]),
            "against": strict["against"] and {key: strict["against"][key] for key in ("value", "low", "high", "n")},
            "by_wrapper": {
                row["attack"]: {"removed": rate(row["removed"]), "twins": rate(row["twins"])} for row in wrappers
            },
        },
        "areas": {row["attack"]: area(row["auroc_requests"]) for row in wrappers},
        "realised": {f"{each['allowed']:g}": realised(each) for each in (strict["moved"], *strict["realised"])},
    }


def realised(found: Mapping[str, Any]) -> Numbers:
    """A guard with its threshold set on the own traffic of the test fold."""
    if found["removed"] is None:
        return {"note": found["note"]}
    sets = {name.removeprefix("set "): rate(each) for name, each in found["false_alarms"].items() if name[:4] == "set "}
    twins = {name.removeprefix("twin "): each for name, each in found["false_alarms"].items() if name[:5] == "twin "}
    return {
        "removed": rate(found["removed"]),
        "unattacked": rate(found["unattacked"]),
        "sets": sets,
        "elsewhere": pooled(each for name, each in sets.items() if name.startswith(ELSEWHERE)),
        "twins": rate(found["twins"]),
        "by_wrapper": {
            name: {"removed": rate(each), "twins": rate(twins.get(name))} for name, each in found["by_attack"].items()
        },
    }


def _map(found: Mapping[str, Any]) -> Numbers:
    """What a map was fitted on, and how it tells prompts apart that it had not seen."""
    return {
        "prompts": {kind: dict(counts) for kind, counts in found["prompts"].items()},
        "held_out": {kind: area(each) for kind, each in found["held_out"].items()},
        "shrinkage": found["shrinkage"],
    }


def rate(found: Mapping[str, Any] | None) -> Numbers | None:
    """k, n and the interval; None = not measured, or of nothing."""
    return {key: found[key] for key in ("k", "n", "low", "high")} if found and found["n"] else None


def area(found: Mapping[str, Any] | None) -> Numbers | None:
    """An area under the curve with its interval and both counts; None = not measured."""
    if found is None:
        return None
    made = {key: round(found[key], 4) for key in ("value", "low", "high")}
    return made | {"n": [found["positives"], found["negatives"]]}


def pooled(rates: Iterable[Mapping[str, Any] | None]) -> Numbers | None:
    """Several sets of different prompts as one, with its exact interval."""
    found = [each for each in rates if each is not None]
    return rate(exact_rate("", sum(each["k"] for each in found), sum(each["n"] for each in found)).to_dict())
