"""The strict rule's numbers, from the results of `sri eval configs/lab-strict.yaml`, as JSON to keep and as tables.

    python benchmarks/strict_tables.py out/lab-strict/results.json [MORE...] [--keep benchmarks/strict-rule.json]
    python benchmarks/strict_tables.py benchmarks/strict-rule.json

Several files are models of one config that were evaluated one by one. What is kept are rates of the rule `final`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sri_sdk.strict_json import parse, write

MISSING = "–"


def condensed(results: Mapping[str, Any]) -> dict[str, Any]:
    """Model -> guard -> what the strict rule says of it, and each wrapper."""
    found: dict[str, Any] = {}
    for model in results["models"]:
        guards = {}
        for guard in model["guards"]:
            (strict,) = [row for row in guard["strict"] if row["rule"] == "final"]
            guards[guard["name"]] = {
                "removed": _rate(strict["removed"]),
                "by_attack": {name: _rate(rate) for name, rate in strict["by_attack"].items()},
                "alarms": {row["name"] or row["kind"]: _rate(row["rate"]) for row in strict["false_alarms"]},
                "against": strict["against"] and {k: strict["against"][k] for k in ("value", "low", "high", "n")},
                "wrappers": {
                    row["attack"]: {
                        "twins": _rate(row["twins"]), "removed": _rate(row["removed"]),
                        "auroc": row["auroc_requests"] and _area(row["auroc_requests"]),
                    }
                    for row in guard["wrappers"]
                    if row["rule"] == "final"
                },
            }  # fmt: skip
        found[model["name"]] = guards
    return found


def _rate(rate: Mapping[str, Any]) -> dict[str, Any]:
    return {key: rate[key] for key in ("k", "n", "low", "high")}


def _area(area: Mapping[str, Any]) -> dict[str, Any]:
    return {key: round(area[key], 4) for key in ("value", "low", "high")} | {
        "n": [area["positives"], area["negatives"]]
    }


def percent(rate: Mapping[str, Any]) -> str:
    """A rate with its interval, in per cent."""
    if not rate["n"]:
        return MISSING
    return f"{100 * rate['k'] / rate['n']:.1f} ({100 * rate['low']:.1f} to {100 * rate['high']:.1f})"


def strict_table(models: Mapping[str, Any]) -> list[str]:
    """One row per guard and model."""
    lines = [
        "| guard | model | attacks removed, % | n | plain, % | `unusual`, % | role play, harmless, % | minus the "
        "paper's, points |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for guard in dict.fromkeys(name for guards in models.values() for name in guards):
        for at, (model, guards) in enumerate(models.items()):
            if (row := guards.get(guard)) is None:
                continue
            gap, alarms = row["against"], row["alarms"]
            minus = (
                MISSING
                if gap is None
                else f"{100 * gap['value']:+.1f} ({100 * gap['low']:+.1f} to {100 * gap['high']:+.1f})"
            )
            cells = [percent(row["removed"]), f"{row['removed']['n']:,}"]
            cells += [percent(alarms[key]) for key in ("plain", "unusual", "role-play")]
            lines.append(f"| {f'`{guard}`' if not at else ''} | {model} | {' | '.join(cells)} | {minus} |")
    return lines


def short_row(models: Mapping[str, Any], guard: str, alarms: tuple[str, ...]) -> str:
    """`45 (1.4; 14) | 75 (1.7; 5)`: removed, and these false alarms, per model, in per cent."""
    cells = []
    for guards in models.values():
        row = guards[guard]
        shares = (_short(row["alarms"][key], 1 if key == "plain" else 0) for key in alarms)
        cells.append(f"{_short(row['removed'], 0)} ({'; '.join(shares)})")
    return " | ".join(cells)


def _short(rate: Mapping[str, Any], digits: int) -> str:
    return f"{100 * rate['k'] / rate['n']:.{digits}f}"


def wrapper_table(models: Mapping[str, Any], guard: str) -> list[str]:
    """One row per wrapper: removed, false alarms in it, and the area within it, per model."""
    lines = [f"| wrapper | {' | '.join(models)} |", f"|---|{'---|' * len(models)}"]
    names = dict.fromkeys(name for guards in models.values() for name in guards[guard]["wrappers"])
    for name in names:
        cells = []
        for guards in models.values():
            row = guards[guard]["wrappers"].get(name)
            if row is None:
                cells.append(MISSING)
                continue
            removed, twins = row["removed"], row["twins"]
            share = f"{100 * removed['k'] / removed['n']:.0f} % of {removed['n']}" if removed["n"] else "none succeeds"
            area = f"{row['auroc']['value']:.3f}" if row["auroc"] else MISSING
            cells.append(f"{share}; {100 * twins['k'] / twins['n']:.0f} %; {area}")
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Reads, keeps and prints."""
    options = argparse.ArgumentParser()
    options.add_argument("results", type=Path, nargs="+")
    options.add_argument("--keep", type=Path)
    options.add_argument("--wrappers", nargs="*", default=["paper", "asked", "asked-many"])
    given = options.parse_args()
    models: dict[str, Any] = {}
    for path in given.results:
        found = parse(path.read_bytes())
        models |= condensed(found) if "models" in found else found
    if given.keep is not None:
        given.keep.write_text(write(models, indent=1) + "\n", encoding="utf-8")
    print("\n".join(strict_table(models)))
    for guard in given.wrappers:
        print(f"\n{guard}\n\n" + "\n".join(wrapper_table(models, guard)))


if __name__ == "__main__":
    main()
