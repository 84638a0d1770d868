"""A deployment of the toy model with a guard: random weights, so verdicts mean nothing, but are there in a moment."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_toy.detector import ToyDetector

from sri_sdk.anchors import AnchorBuilder
from sri_sdk.capture.drive import drive
from sri_sdk.config.load import load_config
from sri_sdk.fitting.build import fit_guard
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.monitor.driver import Driver
from sri_sdk.monitor.live import Live
from sri_sdk.monitor.monitor import Monitor
from sri_sdk.monitor.outlet import Outlet
from sri_sdk.monitor.reading import Told, read_monitor
from sri_sdk.monitor.spool.spool import Spool
from sri_sdk.monitor.traffic.traffic import Answered, Asked
from sri_sdk.observation import Observation, Pulse, Running
from sri_sdk.records import Prompt, Signals, Verdict
from sri_sdk.sink import Sink

TOY: dict[str, Any] = {
    "version": 1,
    "model": {"hook": "toy"},
    "sampler": {"name": "toy"},
    "tap": {"pooling": "response", "cells": 8},
    "prompts": {"dataset": "lab"},
    "judge": {"name": "lab"},
    "folds": {
        "anchors": {"split": "fit", "harmless": 12, "harmful": 12},
        "train": {"split": "fit", "harmless": 20},
        "reference": {"split": "fit", "harmless": 20},
        "calibration": {"split": "calibration", "harmless": 19},
    },
    "detector": {"name": "toy"},
    "calibrate": {"alpha": 0.05},
    "policy": {"rule": "final", "flagged": "abort", "unmonitored": "report"},
}


def prompts(count: int, start: int = 0) -> list[Prompt]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [
        Prompt(f"p{i}", letters[i % 26] * (1 + i % 5) + " " + letters[(7 * i) % 26 :][:4], "harmless")
        for i in range(start, start + count)
    ]


def asked(count: int, start: int = 0, answers: list[Answered] | None = None) -> list[Asked]:
    """Requests; what comes of them is appended to `answers`."""
    tell = (lambda _: None) if answers is None else answers.append
    return [Asked(prompt, answer=tell) for prompt in prompts(count, start)]


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """config.yaml and guard/, of the toy."""
    folder = tmp_path_factory.mktemp("monitored")
    (folder / "config.yaml").write_text(yaml.safe_dump({**TOY, "out": str(folder / "guard")}))
    deployment = Deployment.open(load_config(folder / "config.yaml"))
    grid = deployment.settings.grid
    assert grid is not None

    def run(count: int, start: int, **changes: Any) -> Any:
        settings = replace(deployment.settings, keep_states=True, **changes)
        batch = drive(deployment.hook, deployment.loaded, deployment.sampler, prompts(count, start), settings)
        for _ in batch:
            pass
        return batch.run

    builder = AnchorBuilder((grid.cells, 1, deployment.hook.hidden_size()))
    for row, trace in enumerate(run(40, 0).traces):
        label, outcome = ("harmless", "harmless") if row % 2 else ("harmful", "refusal")
        builder.add(label, outcome, grid.place(trace.phi, trace.clock), prompt_id=trace.request_id)
    anchors = builder.build(deployment.fingerprint, {"judge": "none"})

    def signals(count: int, start: int) -> Signals:
        found = run(count, start, anchors=anchors, fingerprint=deployment.fingerprint).signals
        assert found is not None
        return found

    (folder / "guard").mkdir()
    anchors.save(folder / "guard" / "anchors.npz")
    fit_guard(
        ToyDetector(), "toy", signals(60, 100), signals(60, 200), signals(99, 300), anchors=anchors,
        exporter=OnnxExporter(), alpha=0.3, target=folder / "guard" / "bundle",
    )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def deployment(toy_folder: Path) -> Deployment:
    return Deployment.open(load_config(toy_folder / "config.yaml"))


@pytest.fixture
def write_monitor(toy_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """write_monitor(**changes): the file of a monitor; what is None is left out."""

    def make(**changes: Any) -> Path:
        data = {
            "version": 1,
            "name": "toy",
            "config": str(toy_folder / "config.yaml"),
            "guard": {"path": str(toy_folder / "guard")},
            "mode": "observe",
            "audit": {"flagged": 1.0, "clear": 1.0},
            "spool": {"path": str(tmp_path / "spool.db")},
            "sinks": [{"name": "jsonl", "options": {"path": str(tmp_path / "verdicts.jsonl")}}],
        }
        path = tmp_path / "monitor.yaml"
        written = {name: value for name, value in {**data, **changes}.items() if value is not None}
        path.write_text(yaml.safe_dump(written))
        return path

    return make


class Kept(Sink):
    """Keeps everything that it is handed."""

    def __init__(self) -> None:
        super().__init__()
        self.observations: list[Observation] = []
        self.shown: list[tuple[Running, ...]] = []
        self.pulses: list[Pulse] = []

    def emit(self, verdict: Verdict) -> None:
        raise AssertionError("a monitor delivers")

    def deliver(self, observations: Any) -> None:
        self.observations += observations

    def show(self, running: Any) -> None:
        self.shown.append(tuple(running))

    def pulse(self, pulse: Pulse) -> None:
        self.pulses.append(pulse)


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def open_monitor(write_monitor: Callable[..., Path], kept: Kept, tmp_path: Path) -> Any:
    """open_monitor(**changes): a monitor whose only sink is `kept`; closed at the end of the test."""
    opened: list[Monitor] = []

    def make(sinks: dict[str, Sink] | None = None, told: Told | None = None, **changes: Any) -> Monitor:
        told = told or read_monitor(write_monitor(**changes))
        spool = Spool.open(told.settings.spool_path, sinks or {"kept": kept}, max_bytes=told.settings.spool.max_bytes)
        opened.append(Monitor(Live.open(told, "toy"), Outlet(sinks or {"kept": kept}, spool), "toy"))
        return opened[-1]

    yield make
    for monitor in opened:
        monitor.close(2.0)


@pytest.fixture
def open_driver(open_monitor: Any, deployment: Deployment) -> Callable[..., tuple[Driver, Monitor]]:
    """open_driver(**changes): a driver of the toy under such a monitor."""

    def make(**changes: Any) -> tuple[Driver, Monitor]:
        monitor = open_monitor(**changes)
        return Driver(deployment, monitor), monitor

    return make
