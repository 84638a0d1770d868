"""What the estimate takes from the other benchmarks, each with its file, n and interval.

Where a benchmark keeps numbers as JSON they are read from there. Where it only has a page, the number stands here
beside the words of that page, and a test looks them up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sri_sdk.strict_json import parse

FOLDER = Path(__file__).parents[1]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that was measured."""

    what: str
    value: float
    unit: str
    source: str
    """File below `benchmarks/`."""
    n: str = ""
    """How often, and what the interval is of; empty = one run."""
    low: float | None = None
    high: float | None = None
    quote: str = ""
    """Words of the page, where there is no JSON."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What the simulation and the money are made of."""

    figures: Mapping[str, Figure]
    serve_us: Mapping[int, Floats]
    """Generations in a request -> processor microseconds of `sri serve` per request, one number a round."""
    call_us: Mapping[int, Floats]
    """Generations in a call in process -> processor microseconds, one number a call."""
    slow_call_ms: float
    """Of a bundle whose call takes long, whatever its rows; as `benchmarks/serving/batching.py` makes it."""
    handler_us: Floats
    """Of a request that is scored together with others, one number a round: what is left when the call is shared."""
    commit_shape: Mapping[str, Floats]
    """Database -> how long commits of 100 take beside their mean, one number a commit."""

    def __getitem__(self, name: str) -> float:
        return self.figures[name].value

    def commit_s(self, database: str, slower: float) -> tuple[float, float]:
        """Seconds of an empty commit, and of one more row: a line through commits of 1 and 100.

        Args:
            database: which one.
            slower: times as long as a commit of 100 takes in a store that is large; an empty one takes as long.
        """
        one, many = self[f"{database}_1"] / 1e3, 100 * self[f"{database}_100"] / 1e3
        empty = one - (many - one) / 99
        return empty, (slower * many - empty) / 100

    def rows_per_s(self, database: str, slower: float) -> float:
        """Rows a second that one database takes in batches of 100, the deletion of as many included."""
        return 1e3 / (self[f"{database}_100"] * slower * (1 + self[f"{database}_delete"]))


def read(folder: Path = FOLDER) -> Measured:
    """Everything, from the files beside this folder."""
    serving, samples = _json(folder, "serving.json"), _json(folder, "scale-samples.json")
    stored, batches = _json(folder, "store.json"), _json(folder, "store-batches.json")
    pages = _json(folder, "store-dashboard.json")
    serve = {rows: _column(serving["cost"], "ours", batch=rows) for rows in (1, 32)}
    cheap = _column(serving["batching"], "batched", bundle="cheap")
    call = {int(rows): np.array(times) for rows, times in samples["scoring_us"].items()}
    commits = {name: np.array(each["commits_ms"]) for name, each in samples["stores"].items()}
    figures = {each.name: each.figure for each in _found(serving, stored, batches, pages, samples, serve, call)}
    return Measured(
        figures={**figures, **_QUOTED}, serve_us=serve, call_us=call, slow_call_ms=2.0, handler_us=1e6 / cheap,
        commit_shape={name: each / each.mean() for name, each in commits.items()},
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Named:
    name: str
    figure: Figure


def _found(
    serving: Any,
    stored: Any,
    batches: Any,
    pages: Any,
    samples: Any,
    serve: Mapping[int, Floats],
    call: Mapping[int, Floats],
) -> Sequence[_Named]:
    made = []
    for rows, times in call.items():
        made.append(_Named(f"call_{rows}", Figure(
            f"`Scorer.score` in the model's process, {rows} at once", float(np.median(times)) / rows, "µs a generation",
            "scale-samples.json", f"n = {len(times)} calls; 1 to 99 of 100",
            *(float(each) / rows for each in np.quantile(times, [0.01, 0.99])),
        )))  # fmt: skip
    for rows, times in serve.items():
        made.append(_Named(f"serve_{rows}", Figure(
            f"`sri serve`, {rows} in a request", float(np.median(times)) / rows, "µs a generation", "serving.json",
            f"n = {len(times)} rounds; range", float(times.min()) / rows, float(times.max()) / rows,
        )))  # fmt: skip
    triton = {rows: _column(serving["triton"], "triton", batch=rows) for rows in (1, 32)}
    for rows, times in triton.items():
        made.append(_Named(f"triton_{rows}", Figure(
            f"Triton, the same graph, {rows} in a request", float(np.median(times)) / rows, "µs a generation",
            "serving.json", f"n = {len(times)} rounds; range", float(times.min()) / rows, float(times.max()) / rows,
        )))  # fmt: skip
    sizes = stored["sizes"]
    made += [
        _Named("row_bytes", Figure("a row of the store, with indexes", stored["bytes_per_row"], "bytes", "store.json",
                                   f"{stored['rows']:,} rows")),
        _Named("row_signal_bytes", Figure("the same with a signal of 64 cells and 2 columns",
                                          sizes["trajectory of 64 cells and 2 columns"], "bytes", "store.json",
                                          "10,000 rows")),
        _Named("large_100", Figure("rows a second into a SQLite store of ten million, in batches of 100",
                                   stored["commits"]["batch_100"], "a second", "store.json")),
        _Named("large_1", Figure("the same one by one", stored["commits"]["batch_1"], "a second", "store.json")),
    ]  # fmt: skip
    for database, words in _WORDS.items():
        for size, key in ((1, "single_ms"), (100, "batched_ms")):
            spread = batches["databases"][database][key]
            made.append(_Named(f"{database}_{size}", Figure(
                f"{words}, a small store, in batches of {size}", spread["median"], "ms a row", "store-batches.json",
                f"n = {spread['n']} rounds; 95 %", spread["low"], spread["high"],
            )))  # fmt: skip
    beside = {
        "delete": ("delete_beside_insert", "deleting rows beside storing as many"),
        "show": ("show_beside_one", "what runs right now, beside a commit of one row"),
        "pulse": ("pulse_beside_one", "a pulse, beside a commit of one row"),
    }
    for database, each in samples["stores"].items():
        for name, (key, words) in beside.items():
            made.append(_Named(f"{database}_{name}", Figure(
                f"{words}, {_WORDS[database]}", each[key]["median"], "times", "scale-samples.json",
                f"n = {each[key]['n']} rounds; 95 %", each[key]["low"], each[key]["high"],
            )))  # fmt: skip
    slowest = max(page["median_ms"] for page in pages["pages"].values())
    made.append(_Named("dashboard", Figure(
        "slowest page of the dashboard over ten million rows", slowest, "ms",
        "store-dashboard.json", f"median of {pages['rounds']}",
    )))  # fmt: skip
    return made


_WORDS = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
_QUOTED = {
    "tap_smol_8": Figure("the tap, SmolLM2-135M, 8 at once, one thread", 0.0034, "of a generation", "README.md",
                         "n = 6 rounds; 95 %", 0.0034, 0.0034, "0.34 % (0.34 to 0.34)"),
    "tap_smol_1": Figure("the same, one at a time", 0.006, "of a generation", "README.md", "n = 6 rounds; 95 %", 0.0059,
                         0.0063, "0.60 % (0.59 to 0.63)"),
    "tap_causal": Figure("the tap, causal model of 110M, one at a time", 0.00521, "of a generation", "README.md",
                         "n = 20 rounds; 95 %", 0.00508, 0.00534, "0.521 % (0.508 to 0.534)"),
    "tap_diffusion": Figure("the tap, diffusion model of 110M, one at a time", 0.00135, "of a generation", "README.md",
                            "n = 20 rounds; 95 %", 0.00107, 0.00165, "0.135 % (0.107 to 0.165)"),
    "observation_bytes": Figure("an observation with a signal of 64 cells, as JSON", 933, "bytes", "spool.md",
                                quote="| bytes of an observation | 933 |"),
    "spool_bytes": Figure("the same while it waits in a spool", 1042, "bytes", "spool.md",
                          quote="| bytes of the file per observation that waits | 1,042 |"),
    "spool_in": Figure("into one spool", 1750, "a second", "spool.md",
                       quote="| on disk per second, put without waiting | 1,750 |"),
    "spool_out": Figure("out of one spool, after an outage", 5100, "a second", "spool.md",
                        quote="| delivered per second to a sink that was down, of what waited | 5,100 |"),
    "spool_put": Figure("one `put` into the spool", 561, "µs", "spool.md",
                        quote="| microseconds of one `put` | 561 |"),
    "swap": Figure("harmless canaries until other weights are found", 3, "canaries", "monitor_drift.md",
                   "200 runs; median, 95 % of runs", 3, 4, "| 0 | 200 of 200 runs | 3 | 4 | 4 |"),
    "shift": Figure("the same for a shift by half a spread", 96, "canaries", "README.md",
                    "100 streams; median, 80 % of streams", 42, 176, "| 98 of 100 | 96 (42 to 176) |"),
    "serve_mib": Figure("memory of a process of `sri serve` after 100,000 requests", 98.9, "MiB", "serving.md",
                        quote="| 97.9, 98.9 |"),
}  # fmt: skip


def _column(rows: Any, name: str, **wanted: Any) -> Floats:
    return np.array([row[name] for row in rows if all(row[key] == value for key, value in wanted.items())])


def _json(folder: Path, name: str) -> Any:
    return parse((folder / name).read_bytes())
