"""The benchmarks that run elsewhere, or for long, do run: small, or on made-up numbers."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The script, which is no module of a package."""
    known = set(sys.modules)
    monkeypatch.syspath_prepend(str(HERE))
    import scale_of_cost

    yield scale_of_cost
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(HERE)):
            del sys.modules[name]


@pytest.mark.slow
def test_the_benchmark_for_a_gpu_runs_on_a_small_model(tmp_path: Path) -> None:
    kept = tmp_path / "found.json"
    command = ["-m", "pytest", str(HERE), "--benchmark-only", "-k", "8b", "--tiny"]
    # It is no worker of the tests: pytest-benchmark measures nothing in one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    done = subprocess.run(
        [sys.executable, *command, f"--benchmark-json={kept}"], env=environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    ways = json.loads(kept.read_text())["benchmarks"]
    assert len(ways) == 3, "eager, compiled, and with CUDA graphs"
    for found in ways:
        measures = {name.partition(": ")[2]: value for name, value in found["extra_info"].items()}
        assert measures.keys() == {"paired", "per step", "inside the tap", "waits per step that the watch adds"}
        assert measures["paired"]["n"] == 3 and measures["waits per step that the watch adds"]["median"] < 1


def test_a_straight_line_is_found_with_its_intervals_and_a_bend_is_said(scale: Any) -> None:
    noise = np.random.default_rng(0).normal(1, 0.01, size=(20, 4))
    sizes = np.array([1, 2, 4, 8])
    straight, bent = (
        scale.fit({int(size): list(column) for size, column in zip(sizes, (costs * noise).T, strict=True)})
        for costs in (5 + 2 * sizes, 1 + sizes**2)
    )
    assert straight["slope"]["low"] < 2 < straight["slope"]["high"] and straight["n"] == 20
    assert straight["base"]["low"] < 5 < straight["base"]["high"] and straight["off"] < 0.02
    memory = {"with": 2**20, "without": 0, "vectors": 2**20, "resident": {"50": 2**20}, "big": vars(scale.BIG)}
    asked = {"usual": vars(scale.Size()), "shared": vars(scale.SHARED)}
    page = scale.page({"asked": asked, "time": {"steps": straight, "rows": bent}, "memory": memory})
    assert "| steps | 1: 7" in page and "yes, off by" in page
    assert "no: steeper as it grows (3 then 6 then 12 ms each)" in page


def test_a_run_that_was_interrupted_goes_on_behind_its_last_whole_stage(
    scale: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def grown(name: str, values: tuple[int, ...], _folder: Path) -> dict[int, Any]:
        ran.append(name)
        if len(ran) == 2:
            raise KeyboardInterrupt
        return {value: lambda value=value: float(value) for value in values}

    monkeypatch.setattr(scale, "grown", grown)
    monkeypatch.setattr(scale, "in_threads", lambda folder: grown("threads", scale.THREADS, folder))
    monkeypatch.setattr(scale.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, stdout=b"{}"))
    state = tmp_path / "state.json"
    with pytest.raises(KeyboardInterrupt):
        scale.measure(6, 0.0, state)
    found = scale.measure(6, 0.0, state)
    assert ran == ["steps", "rows", *list(scale.GROWTH)[1:], "threads"]
    assert all(stage["n"] == 6 for stage in found["time"].values())
    # Other sizes or rounds are another run.
    scale.measure(7, 0.0, state)
    assert ran[-len(scale.GROWTH) - 1 :] == [*scale.GROWTH, "threads"]


def test_a_thread_that_fails_fails_the_measure(scale: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        scale.together(lambda: 1 / 0, 2)


@pytest.mark.usefixtures("scale")
def test_made_up_signals_have_the_columns_of_the_fingerprint_or_one_without_any() -> None:
    from guards import made_up_fingerprint, made_up_signals

    assert made_up_signals(2, 1).logit.shape == (2, 32, 1)
    printed = made_up_fingerprint(8).to_dict()
    printed["hard"]["layers"] = [0, 1, "final"]
    assert made_up_signals(2, 1, printed).logit.shape == (2, 32, 3)
