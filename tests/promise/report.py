"""The tables of docs/guarantees.md, from the stored counts.

python -m tests.promise.report            # prints all of them
python -m tests.promise.report --write    # writes them into the page, between its marks
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sri_sdk.bundle.manifest_v2 import ALL
from tests.promise.cases import ANY, CASES
from tests.promise.judge import TOGETHER, Bound, Planted, Tried, bounds, by_group, planted, repeated, tried
from tests.promise.pool import FIRST, SECOND

HERE = Path(__file__).parent
RESULTS, OTHERS = HERE / "results.json", HERE / "others.json"
PAGE = HERE.parents[1] / "docs/guarantees.md"


def tables(found: Mapping[str, Any], others: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Name of the mark -> Markdown."""
    made, redraws = tried(found), found["redraws"]
    shown = {
        "rates": _rates(made, redraws),
        "delta": _delta([each for each in made if each.line.delta is not None], redraws),
        "whole": _whole(bounds(found)),
        "groups": _groups(found),
        "planted": _planted(planted(found)),
        "again": _again(found),
        "splits": _table(
            ["detector", "group", "generations", "p"],
            [[e["detector"], e["group"], " and ".join(map(str, e["n"])), _p(e["p_value"])] for e in found["splits"]],
        ),
    }
    return shown if others is None else {**shown, "others": _others(others)}


def written(page: str, found: Mapping[str, str]) -> str:
    """The page with these tables between `<!-- promise: NAME -->` and `<!-- /promise -->`."""
    for name, table in found.items():
        page, count = re.subn(
            rf"(<!-- promise: {name} -->\n).*?(<!-- /promise -->)", lambda m, table=table: m[1] + table + m[2], page,
            flags=re.DOTALL,
        )  # fmt: skip
        assert count == 1, f"the page has {count} places for the table {name!r}"
    return page


def results() -> Any:
    """The stored results."""
    return json.loads(RESULTS.read_text("utf-8"))


def stored() -> dict[str, str]:
    """The tables of the stored results."""
    return tables(results(), json.loads(OTHERS.read_text("utf-8")))


def _rates(made: list[Tried], redraws: int) -> str:
    cells: dict[tuple[Any, ...], dict[str, Tried]] = {}
    for each in made:
        if each.line.delta is None:
            cells.setdefault((each.case, each.line.alpha, each.line.rule, each.line.part, each.alpha), {})[
                each.line.group
            ] = each
    rows = []
    for (case, _, rule, part, alpha), by in cells.items():
        whole = by.get(TOGETHER) or by[ALL]
        rows.append(
            [_case(case), f"`{rule}`", part, _percent(alpha), str(whole.n)]
            + [_rate(by[group]) if group in by else "" for group in (FIRST, SECOND)]
            + [_rate(whole), f"{100 * whole.found.inside:.3g} %", _p(min(each.found.p_value for each in by.values()))]
        )
    head = [
        "guard", "rule", "part", "promised", "n", FIRST, SECOND, "all", f"of {redraws} inside 95 % of the law",
        "smallest p",
    ]  # fmt: skip
    return _table(head, rows)


def _again(found: Mapping[str, Any]) -> str:
    rate, low, high, said = repeated(found)
    return (
        f"{len(found['again']):,} further redraws of *one detector* with other seeds, rule `final` alone, give "
        f"{_digits(rate)} % ({_digits(low)} to {_digits(high)}) at a promised 1 %, p = {_p(said.p_value)}.\n"
    )


def _delta(made: Iterable[Tried], redraws: int) -> str:
    rows = [
        [
            _case(each.case), f"`{each.line.rule}`", each.line.part,
            "all" if each.line.group in (ALL, TOGETHER) else each.line.group, _percent(each.alpha), str(each.rank),
            _rate(each), f"{round(each.broke * redraws)} of {redraws}", f"{100 * each.may_break:.2g} %",
            _p(each.found.p_value),
        ]
        for each in made
        if each.line.group != TOGETHER
    ]  # fmt: skip
    head = ["guard", "rule", "part", "group", "alpha", "rank", "rate", "redraws above alpha", "the law says", "p"]
    return _table(head, rows)


def _whole(made: Iterable[Bound]) -> str:
    rows = [
        [_case(each.case), f"`{each.rule}`" if each.rule != ANY else each.rule, each.group, _percent(each.alpha),
         f"{_digits(each.rate)} % ({_digits(each.low)} to {_digits(each.high)})"]
        for each in made
        if each.delta is None
    ]  # fmt: skip
    return _table(["guard", "rule", "group", "promised", "some part alarms"], rows)


def _groups(found: Mapping[str, Any]) -> str:
    (case,) = [case for case in CASES if ALL in case.sizes]
    shown = by_group(found)
    rows = []
    for rule in ("final", "online"):
        of = f"{rule}|{next(iter(case.detectors))}|{ALL}|0.01|-"
        rows.append([f"`{rule}`", *(f"{_digits(shown[of, group])} %" for group in (FIRST, SECOND))])
    return _table(["rule", FIRST, SECOND], rows)


def _planted(made: Iterable[Planted]) -> str:
    best: dict[tuple[str, str, str], Planted] = {}
    for each in made:
        # What is the same at every length needs no threshold per length.
        if each.line.alpha != 0.01 or (each.line.part, each.fault) == ("asked", "a threshold per length"):
            continue
        at = each.case, each.fault, each.line.part
        if at not in best or each.p_value < best[at].p_value:
            best[at] = each
    rows = [
        [each.fault, each.line.part, f"`{each.line.rule}`", each.line.group, f"{_digits(each.expected)} %",
         f"{_digits(each.rate)} %", _p(each.p_value)]
        for each in sorted(best.values(), key=lambda each: (each.case, each.fault, each.line.part))
    ]  # fmt: skip
    return _table(["planted fault", "detector or part", "rule", "group", "the law", "realised", "p"], rows)


def _others(others: Mapping[str, Any]) -> str:
    rows = [
        [f"{each['library']} {each['version']}", each["asked"], str(each["compared"]), each["found"]]
        for each in others["compared"]
    ]
    return _table(["library", "what", "compared", "outcome"], rows)


def _case(name: str) -> str:
    return name.replace("-", " ")


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _digits(share: float) -> str:
    return f"{100 * share:.3f}" if share < 0.1 else f"{100 * share:.1f}"


def _rate(each: Tried) -> str:
    return f"{_digits(each.rate)} % ({_digits(max(0.0, each.low))} to {_digits(each.high)})"


def _p(value: float) -> str:
    return "< 0.0002" if value < 2e-4 else f"{value:.2g}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(row) + " |\n" for row in lines)


def markdown(found: Mapping[str, Any]) -> str:
    """All tables of a run, with their names."""
    return "\n".join(f"{name}\n\n{table}" for name, table in tables(found).items())


def main() -> None:
    """See the module."""
    found = stored()
    if "--write" in sys.argv[1:]:
        PAGE.write_text(written(PAGE.read_text("utf-8"), found), encoding="utf-8")
    else:
        print("\n".join(f"{name}\n\n{table}" for name, table in found.items()))


if __name__ == "__main__":
    main()
