"""Every mistake an operator can make is one line that says what to do, a non-zero exit, and nothing half written."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from sri_plugin_lab.dataset import LabDataset

from sri_sdk.cli import main
from sri_sdk.errors import ScoringError
from sri_sdk.records import Prompt
from sri_sdk.scoring.scorer import Scorer
from sri_sdk.scoring.signal_files import write_signals
from tests.fitting.conftest import SMALL


def refused(*arguments: object) -> str:
    """Runs `sri`, and returns the one line it refuses with."""
    done: Result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert done.exit_code == 1, (done.exit_code, done.output)
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    assert done.stdout == ""
    return lines[0]


@pytest.fixture
def signals_file(tmp_path: Path, make_signals):
    """Writes signals, changed as the test likes."""

    def write(change=lambda signals: signals) -> Path:
        path = tmp_path / "signals.npz"
        write_signals(path, change(make_signals(5, 77)))
        return path

    return write


def test_a_flipped_byte_in_any_file_of_a_bundle(guard_copy: Path, signals_file) -> None:
    signals = signals_file()
    for file in sorted((guard_copy / "bundle").iterdir()):
        whole = file.read_bytes()
        damaged = bytearray(whole)
        damaged[len(whole) // 2] ^= 1
        file.write_bytes(damaged)
        line = refused("score", guard_copy / "bundle", signals)
        assert "digest" in line or "manifest" in line
        file.write_bytes(whole)


def test_signals_of_another_length(fitted, signals_file) -> None:
    path = signals_file(lambda s: replace(s, sigma=s.sigma[:, :16], logit=s.logit[:, :16]))
    line = refused("score", fitted.path, path)
    assert "[5, 16, 1]" in line and "32" in line


def test_signals_of_states_of_another_width(fitted, signals_file) -> None:
    def widen(signals):
        hard = {**signals.fingerprint["hard"], "hidden_size": 4096}
        return replace(signals, fingerprint={**signals.fingerprint, "hard": hard})

    line = refused("score", fitted.path, signals_file(widen))
    assert "hidden_size is 4096" in line and "64" in line and "sri fit" in line


def test_signals_of_another_model(fitted, signals_file) -> None:
    def other(signals):
        hard = {**signals.fingerprint["hard"], "weights_digest": "e" * 64}
        return replace(signals, fingerprint={**signals.fingerprint, "hard": hard})

    assert "weights_digest" in refused("score", fitted.path, signals_file(other))


def test_signals_that_do_not_say_what_made_them(fitted, signals_file) -> None:
    line = refused("score", fitted.path, signals_file(lambda s: replace(s, fingerprint=None)))
    assert "--unverified" in line


def config(folder: Path, **changes: object) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**SMALL, "out": str(folder / "guard"), **changes}))
    return path


@pytest.mark.parametrize("command", [("fit",), ("run",), ("config", "check")])
def test_an_unknown_key(tmp_path: Path, command) -> None:
    line = refused(*command, config(tmp_path, detecter={"name": "autoencoder"}))
    assert "config.yaml: detecter" in line and "Did you mean 'detector'?" in line


def test_an_unknown_plugin(tmp_path: Path) -> None:
    line = refused("fit", config(tmp_path, detector={"name": "autoencodr"}))
    assert "detector.name" in line and "Did you mean 'autoencoder'?" in line


def test_overlapping_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def same_everywhere(self, split, label, count, *, attack=None):
        return [Prompt(f"{split}-{label}-{i}", f"{label} {i}", label) for i in range(count)]

    monkeypatch.setattr(LabDataset, "prompts", same_everywhere)
    done = CliRunner().invoke(main, ["fit", str(config(tmp_path))])
    assert done.exit_code == 1 and "also stand in" in done.stderr and "Traceback" not in done.stderr
    assert all(line.startswith("error: folds:") for line in done.stderr.splitlines())
    assert not (tmp_path / "guard").exists()


def test_signals_that_are_not_finite_are_unmonitored_and_their_neighbours_are_judged(fitted, signals_file) -> None:
    def spoil(signals):
        sigma = signals.sigma.copy()
        sigma[0, 3], sigma[1, 4], sigma[2, 5] = np.nan, np.inf, -np.inf
        return replace(signals, sigma=sigma)

    done = CliRunner().invoke(main, ["score", str(fitted.path), str(signals_file(spoil))])
    assert done.exit_code == 0
    assert done.stdout.count("unmonitored") == 4 and done.stdout.count("non_finite_signal") == 3
    assert "3 unmonitored" in done.stdout.splitlines()[-1]


def test_a_bundle_that_is_not_there(tmp_path: Path, signals_file) -> None:
    assert "not a bundle folder" in refused("score", tmp_path / "nothing", signals_file())


def test_a_guard_without_its_anchors(guard_copy: Path, tmp_path: Path) -> None:
    (guard_copy / "anchors.npz").unlink()
    shutil.move(guard_copy, tmp_path / "lost")
    assert "anchors.npz" in refused("run", config(tmp_path), "--guard", tmp_path / "lost")


def test_a_guards_folder_given_for_its_bundle(fitted, signals_file) -> None:
    line = refused("score", fitted.path.parent, signals_file())
    assert "a guard's folder" in line and str(fitted.path) in line and "remove" not in line


@pytest.mark.parametrize("out", ["config.yaml", "config.yaml/guard", "/proc/guard"])
def test_an_out_folder_that_cannot_be_written_is_found_before_anything_is_generated(tmp_path: Path, out: str) -> None:
    path = config(tmp_path, out=str(tmp_path / out))
    assert str(tmp_path / out) in refused("fit", path) or out.startswith("/proc")


def test_a_config_of_control_characters(tmp_path: Path) -> None:
    path = tmp_path / "bin.yaml"
    path.write_bytes(b"\x00\x01")
    assert "bin.yaml" in refused("config", "check", path)


def test_signals_that_are_not_there(fitted, tmp_path: Path) -> None:
    assert "does not exist" in refused("score", fitted.path, tmp_path / "nope.npz")


@pytest.mark.parametrize("ids", [("a",), ("a", "b", "c", "d", "e", "f"), ("a", "a", "b", "c", "d")])
def test_ids_that_do_not_name_the_rows(fitted, make_signals, ids) -> None:
    """One id for five rows must not drop four of them."""
    with pytest.raises(ScoringError, match="each row an id of its own"):
        Scorer.open(fitted.path).score(replace(make_signals(5, 77), ids=ids))


def test_the_first_alarm_of_a_file_is_a_step_and_not_a_cell(fitted, make_signals) -> None:
    scorer = Scorer.open(fitted.path)
    assert scorer.manifest.grid["budget"] == scorer.manifest.grid["cells"] == 32
    assert [scorer._step(cell) for cell in (0, 5, 31)] == [0, 5, 31]
    halved = scorer.manifest.model_copy(update={"grid": {"mapping": "step", "cells": 32, "budget": 48}})
    scorer.manifest = halved
    assert [scorer._step(cell) for cell in (0, 5, 31)] == [1, 8, 47]
