"""The table of ratios that ends a run, and what every benchmark shares."""

import os
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from paired import Row, Spread
from threadpoolctl import threadpool_limits

# One thread for torch and for numpy's BLAS: two of them on two shared cores wait for each other, and onnxruntime is
# given one as well.
torch.set_num_threads(1)
threadpool_limits(1)

ROWS: list[tuple[str, Row]] = []
LOAD: list[str] = []

Report = Callable[..., None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--tiny", action="store_true", help="bench_8b on a small model, on any machine")


@pytest.fixture
def report(request: pytest.FixtureRequest, benchmark: Any) -> Report:
    """report(measure, values, unit="x", note=""): one line of the table, from one value per round."""

    def add(measure: str, values: np.ndarray, unit: str = "x", note: str = "") -> None:
        row = Row(measure, Spread.of(np.asarray(values, dtype=np.float64)), unit, note)
        ROWS.append((request.node.path.stem, row))
        spread = row.spread
        benchmark.extra_info[measure] = {
            "median": spread.median, "low": spread.low, "high": spread.high, "n": spread.n, "unit": unit, "note": note,
        }  # fmt: skip
        # At once: whoever ends a run of an hour in between keeps what it found.
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            request.config.pluginmanager.getplugin("terminalreporter").write_line(_line(row))

    return add


def pytest_sessionstart() -> None:
    LOAD.append(_load())


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not ROWS:
        return
    write = terminalreporter.write_line
    write("")
    write(_machine())
    write(f"load average (1 min): {LOAD[0]} at the start, {_load()} at the end")
    section = None
    for name, row in ROWS:
        if name != section:
            section = name
            write("")
            write(f"{name}: median of paired rounds, 95 % bootstrap interval, n rounds")
            write("")
            write("| measure | median | 95 % | n | note |")
            write("|---|---|---|---|---|")
        write(_line(row))


def _line(row: Row) -> str:
    spread = row.spread
    low, high = _number(spread.low, row.unit), _number(spread.high, row.unit)
    return f"| {row.measure} | {_number(spread.median, row.unit)} | {low} .. {high} | {spread.n} | {row.note} |"


def _number(value: float, unit: str) -> str:
    digits = f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return f"{digits} {unit}" if unit in ("%", "ms") else f"{digits}{unit}"


def _machine() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "onnxruntime", "transformers"))
    return (
        f"{_processor()}, {os.cpu_count()} cores, one thread used; {platform.system()}, "
        f"Python {platform.python_version()}, {packages}"
    )


def _processor() -> str:
    """Family and vector units; a cloud machine's model name often says no more than that."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.machine()
    facts = dict(line.split(":", 1) for line in info.read_text().split("\n\n")[0].splitlines() if ":" in line)
    named = {key.strip(): value.strip() for key, value in facts.items()}
    units = [unit for unit in ("amx_bf16", "avx512f", "avx2") if unit in named.get("flags", "").split()]
    return f"{named.get('model name', platform.machine())} ({', '.join(units)})"


def _load() -> str:
    return f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown"
