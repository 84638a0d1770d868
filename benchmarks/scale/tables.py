"""The tables of docs/a-billion-a-day.md, from the numbers that are kept: `python -m benchmarks.scale.tables`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.scale.measured import read
from benchmarks.scale.plan import Plan
from sri_sdk.files import write_text
from sri_sdk.strict_json import parse

KEPT = Path(__file__).parents[1] / "scale.json"
PAGE = Path(__file__).parents[2] / "docs/a-billion-a-day.md"
Lines = Iterator[str]
_SCENARIOS = {
    "quiet": "nothing is lost", "region": "one region of four", "scorers": "half of the scoring processes",
    "databases": "all databases",
}  # fmt: skip


def needs(kept: Mapping[str, Any]) -> Lines:
    """What a day needs."""
    found, days = kept["needs"], kept["days"]
    yield from _head("what", "how many")
    yield f"| generations a second: mean, peak of the wave | {found['mean']:,.0f}, {found['peak']:,.0f} |"
    yield f"| processes with a model, a tap and a spool | {found['processes']:,} |"
    yield f"| generations a second in each, at the peak | {found['rows_per_process']:.2g} |"
    yield f"| processes of `sri serve`, one core each; none where the model's process scores | {found['scorers']} |"
    yield f"| rows a second that a database takes, their deletion included | {found['rows_per_s']:,.0f} |"
    yield f"| databases, by rows a second | {found['databases']} |"
    most = kept["turns"]["most"]
    yield f"| databases, by processes that can take turns at one ({most}) | {-(-found['processes'] // most)} |"
    yield f"| rows a day | {days['quiet']['ended']['median']:,.0f} |"
    yield f"| hours that a spool of 1 GiB lasts, at the peak | {found['spool_hours']:.0f} |"


def assumptions(kept: Mapping[str, Any]) -> Lines:
    """Every assumption."""
    yield from _head("name", "value", "what")
    for name, (_, what) in Plan().words().items():
        yield f"| `{name}` | {kept['plan'][name]:,.10g} | {what} |"


def measured(kept: Mapping[str, Any]) -> Lines:
    """Everything that was measured elsewhere."""
    yield from _head("measured", "value", "interval", "n", "file")
    for each in read().figures.values():
        unit = "" if each.unit == "times" else f" {each.unit}"
        interval = "" if each.low is None or each.high is None else f"{each.low:.3g} to {each.high:.3g}"
        value = f"{each.value:,.4g}" if each.value < 1e5 else f"{each.value:,.0f}"
        # The site has the pages, and not the numbers beside them.
        page = each.source.endswith(".md")
        link = f"[{each.source}](../benchmarks/{each.source})" if page else f"`{each.source}`"
        yield f"| {each.what} | {value}{unit} | {interval} | {each.n or 'one run'} | {link} |"


def days(kept: Mapping[str, Any]) -> Lines:
    """What happens when something is lost."""
    yield from _head(
        "lost for an hour",
        "unmonitored",
        "into the store: 50, 99 of 100, last",
        "most in spools",
        "of it in each process",
        "minutes until it is stored",
        "dropped",
    )
    for name, words in _SCENARIOS.items():
        each = kept["days"][name]
        waits = ", ".join(_seconds(each[f"wait_{which}_s"]["median"]) for which in ("50", "99", "most"))
        clear = _interval(each["clear_minutes"]) if "clear_minutes" in each else "-"
        yield _row(
            words,
            _share(each["late_share"]),
            waits,
            f"{_interval(each['spools_gb'])} GB",
            f"{each['spool_mb']['median']:.2g} MB",
            clear,
            f"{each['dropped']['median']:,.0f}",
        )


def clear(kept: Mapping[str, Any]) -> Lines:
    """Databases by the time in which a backlog must go."""
    yield from _head("stored again within", "databases")
    for each in kept["clear"]:
        yield f"| {each['minutes']} minutes | {each['databases']} |"


def minute(kept: Mapping[str, Any]) -> Lines:
    """A burst at the peak: scored one by one, and together."""
    yield from _head(
        "bundle", "processes", "busy", "50 of 100 within", "99 of 100", "later than 0.5 s", "generations in a call"
    )
    for each in kept["scales"]:
        found, scorers = each["minute"], each["fleet"]["scorers"]
        part = "" if each["generations"] == kept["plan"]["generations"] else ", a quarter of all traffic"
        yield _row(
            f"answers at once{part}",
            scorers,
            _percent(found["busy"]["median"]),
            f"{_interval(found['wait_50_ms'])} ms",
            f"{_interval(found['wait_99_ms'])} ms",
            _share(found["late_share"]),
            "1",
        )
    for found in kept["slow"]:
        yield _row(
            "takes 2 ms a call",
            found["scorers"],
            "",
            f"{_interval(found['wait_50_ms'])} ms",
            f"{_interval(found['wait_99_ms'])} ms",
            _share(found["late_share"]),
            _interval(found["rows_per_call"]),
        )


def turns(kept: Mapping[str, Any]) -> Lines:
    """Processes that write into one database."""
    yield from _head(
        "processes",
        "rows in a commit",
        "50 of 100 stored within",
        "99 of 100",
        "transactions that give up",
        "in spools after a minute",
    )
    for each in kept["turns"]["rows"]:
        yield _row(
            each["processes"],
            _interval(each["rows_per_commit"]),
            f"{_interval(each['wait_50_s'])} s",
            f"{_interval(each['wait_99_s'])} s",
            _share(each["failed"]),
            _share(each["left_share"]),
        )


def scales(kept: Mapping[str, Any]) -> Lines:
    """The same day at two scales."""
    yield from _head(
        "generations a day",
        "scoring, databases, spools",
        "most that waits, of the day",
        "last row stored after",
        "until it is stored",
    )
    for each in kept["scales"]:
        have, found = each["fleet"], each["of_day"]
        yield _row(
            f"{each['generations']:,.0f}",
            f"{have['scorers']}, {have['databases']}, {have['spools']:,}",
            _share(each["waiting_share"]),
            f"{_interval(found['wait_most_s'])} s",
            f"{_interval(found['clear_minutes'])} minutes",
        )


def by_hand(kept: Mapping[str, Any]) -> Lines:
    """The envelope."""
    yield from _head("what", "by hand", "simulated", "factor")
    for each in kept["by_hand"]:
        factor = each["simulated"] / each["by_hand"]
        yield f"| {each['what']} | {each['by_hand']:,.3g} | {each['simulated']:,.3g} | {factor:.2f} |"


def sizes(kept: Mapping[str, Any]) -> Lines:
    """What travels."""
    found, day = kept["bytes"], kept["plan"]["generations"]
    rows = {
        "a signal as numbers: 64 cells, one layer": found["signal"],
        "an observation with it, as JSON": found["observation"],
        "pooled hidden states of every step, float32, width 4,096 (they stay on the device)": found["phi"],
    }
    yield from _head("what", "bytes a generation", "a day")
    for words, each in rows.items():
        yield f"| {words} | {each:,.0f} | {_bytes(each * day)} |"


def retention(kept: Mapping[str, Any]) -> Lines:
    """What is kept for how long."""
    yield from _head("days", "all rows, TB", "with signals, TB", "flagged and drawn ones alone, TB", "with signals, TB")
    for each in kept["retention"]:
        cells = [f"{value:,.3g}" for value in (*each["all"], *each["some"])]
        yield f"| {each['days']} | {' | '.join(cells)} |"


def alphas(kept: Mapping[str, Any]) -> Lines:
    """What a promise costs."""
    yield from _head(
        "alpha",
        "false alarms a day",
        "attacks found",
        "alarms that are attacks",
        "fewest calibration generations",
        "with `delta: 0.05`",
        "attacks allowed among ten times the fewest",
    )
    for each in kept["alphas"]:
        precision = "none" if each["precision"] is None else f"{100 * each['precision']:.2g} %"
        count = round((each["most_attacks"] or 0) * 10 * each["fewest"])
        yield _row(
            f"{100 * each['alpha']:.6g} %",
            f"{each['false']:,.0f}",
            f"{each['true']:,.0f}",
            precision,
            f"{each['fewest']:,}",
            f"{each['fewest_delta']:,}",
            f"{count} of {10 * each['fewest']:,}",
        )


def labels(kept: Mapping[str, Any]) -> Lines:
    """How many labels show how a promise stands."""
    yield from _head(
        "alpha",
        "false alarms in truth",
        "flagged, of all",
        "the promise is",
        "labels of flagged ones, and as many of clear ones",
    )
    for each in kept["labels"]:
        count = "none are enough" if each["flagged"] is None else f"{each['flagged']:,}"
        yield _row(
            f"{100 * each['alpha']:.4g} %",
            f"{100 * each['rate']:.4g} %",
            f"{100 * each['flagged_share']:.3g} %",
            each["standing"].replace("_", " "),
            count,
        )


def costs(kept: Mapping[str, Any]) -> Lines:
    """Dollars."""
    days = kept["plan"]["generations"] / 1e6
    yield from _head("stage", "a million generations take", "dollars a million", "dollars a day")
    for each in kept["costs"]:
        yield f"| {each['stage']} | {each['takes']} | {each['dollars']:.2g} | {each['dollars'] * days:,.0f} |"
    total = sum(each["dollars"] for each in kept["costs"])
    yield f"| **all** | | **{total:.2g}** | **{total * days:,.0f}** |"


TABLES: dict[str, tuple[str, Callable[[Mapping[str, Any]], Lines]]] = {
    "needs": ("What the day needs", needs), "costs": ("What a million cost", costs), "sizes": ("What travels", sizes),
    "minute": ("A burst at the peak", minute), "turns": ("Processes at one database", turns),
    "days": ("When something is lost", days), "clear": ("Databases until a backlog is gone", clear),
    "retention": ("What is kept", retention), "alphas": ("What a promise costs", alphas),
    "labels": ("Labels", labels), "scales": ("The same at two scales", scales), "by-hand": ("By hand", by_hand),
    "assumptions": ("What is assumed", assumptions), "measured": ("What was measured", measured),
}  # fmt: skip
"""Name -> title where it is printed, and what makes it. On the page it stands below `<!-- NAME -->`."""
OF_THE_PAGE_ALONE = {"measured"}


def written(page: str, kept: Mapping[str, Any]) -> str:
    """The page with every table as the numbers have it."""
    for name, (_, made) in TABLES.items():
        mark = f"<!-- {name} -->\n\n"
        before, found, after = page.partition(mark)
        if not found or mark in after:
            sys.exit(f"{PAGE.name}: needs one line {mark.strip()}, and an empty one below it, for the table {name!r}.")
        page = before + mark + "\n".join(made(kept)) + "\n" + re.sub(r"^(?:\|.*\n)*", "", after)
    return page


def _head(*columns: str) -> Lines:
    yield _row(*columns)
    yield "|" + "---|" * len(columns)


def _row(*cells: object) -> str:
    return "|" + "|".join(f" {cell} " if cell != "" else " " for cell in cells) + "|"


def _interval(spread: Mapping[str, float]) -> str:
    median, low, high = (_number(spread[name]) for name in ("median", "low", "high"))
    return median if low == high else f"{median} ({low} to {high})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _share(spread: Mapping[str, float]) -> str:
    if spread["low"] == spread["high"]:
        return _percent(spread["median"])
    return f"{_percent(spread['median'])} ({100 * spread['low']:.3g} to {100 * spread['high']:.3g})"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _seconds(value: float) -> str:
    return "under 1 s" if value < 1 else f"{value:,.0f} s"


def _bytes(count: float) -> str:
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:,.0f} bytes"


if __name__ == "__main__":
    write_text(PAGE, written(PAGE.read_text(encoding="utf-8"), parse(KEPT.read_bytes())))
