"""The tables of benchmarks/recovery.md, from what is kept.

    python -m benchmarks.recovery.tables benchmarks/recovery.json [--write benchmarks/recovery.md]

Tables stand between marks on the page; `--write PAGE` puts them there.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sri_sdk.files import write_text
from sri_sdk.metrics.rates import exact_rate
from sri_sdk.strict_json import parse

BEGIN, END = "<!-- tables: from recovery.json -->", "<!-- end of tables -->"
SHARES = (0.01, 0.1)
"""Attack shares that passes are averaged at."""


def percent(k: int, n: int) -> str:
    """A share with its exact interval, in per cent, and its n."""
    if not n:
        return "none"
    found = exact_rate("", k, n)
    return f"{100 * k / n:.1f} ({100 * found.low:.1f} to {100 * found.high:.1f}; n = {n:,})"


def averaged(action: Mapping[str, Any], share: float) -> float:
    """Extra forward passes per request where this share of the traffic are attacks."""
    harmless, attacks = action["harmless"], action["attacks"]
    of_attacks = attacks["flagged"] / attacks["n"] * action["forwards_per_flag"] if attacks["n"] else 0.0
    return float((1 - share) * harmless["forwards"] / harmless["n"] + share * of_attacks)


def tables(kept: Mapping[str, Any]) -> str:
    """All of them."""
    heads = (
        ("model", "action", "rule", "end in refusal, %", "harmful", "harmless", "garbled", "nothing to open"),
        ("model", "action", "harmless flagged, %", "changed, %", "passes per flag", "per request, 1 % attacks", "10 %"),
        ("model", "done to all traffic", "changed, %", "refused, %", "garbled, % (without)", "passes per request"),
        ("model", "tried on the prompts for choices", "end in refusal, %", "harmful", "harmless", "garbled"),
    )
    *made, tried = ([_line(head), "|" + "---|" * len(head)] for head in heads)
    for model, found in kept.items():
        for action in found["actions"].values():
            for lines, cells in zip(made, _cells(action), strict=True):
                lines.append(_line((model, action["candidate"], *cells)))
        for each in found["choices"]:
            others = (str(each[name]) for name in ("harmful", "harmless", "garbled"))
            tried.append(_line((model, each["name"], percent(each["refusal"], each["n"]), *others)))
    return "\n\n".join(map("\n".join, (*made, tried)))


def _cells(action: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    ends, harmless, every = action["ends"], action["harmless"], action["everybody"]
    others = (str(ends[name]) for name in ("harmful", "harmless", "garbled", "nothing"))
    return (
        (action["rule"], percent(ends["refusal"], ends["n"]), *others),
        (
            *(percent(harmless[name], harmless["n"]) for name in ("flagged", "changed")),
            f"{action['forwards_per_flag']:.1f}",
            *(f"{averaged(action, share):.2f}" for share in SHARES),
        ),
        (
            *(percent(every[name], every["n"]) for name in ("changed", "refused")),
            f"{percent(every['garbled'], every['n'])} ({every['unguarded_garbled']})",
            f"{every['forwards']:.1f}",
        ),
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def written(page: str, kept: Mapping[str, Any]) -> str:
    """A page with the tables between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables(kept)}\n\n{END}{after}"


def main() -> None:
    """Prints them, or writes them into a page."""
    options = argparse.ArgumentParser()
    options.add_argument("kept", type=Path)
    options.add_argument("--write", type=Path)
    given = options.parse_args()
    kept = parse(given.kept.read_bytes())
    if given.write is None:
        print(tables(kept))
    else:
        write_text(given.write, written(given.write.read_text(encoding="utf-8"), kept))


if __name__ == "__main__":
    main()
