"""Labelled traffic in a fit: as good as attacks of the dataset, and refused where it was measured otherwise."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from sri_sdk.config.load import load_config
from sri_sdk.errors import ConfigError, ModelMismatch
from sri_sdk.fitting.fit import Fitted, fit
from sri_sdk.fitting.observed import joined
from sri_sdk.records import Signals
from sri_sdk.scoring.signal_files import write_signals

from .conftest import SMALL, write_config
from .test_labelled import FEW, folds

DRAWN = {"flip": 12, "second-language": 12}


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    folder = tmp_path_factory.mktemp("drawn")
    return fit(load_config(write_config(folder, detector=FEW, folds=folds(attacks=DRAWN))))


def of_traffic(taught: Fitted, rows: np.ndarray | None = None) -> Signals:
    """The attacks that the first fit learnt from, as a watch would have measured them."""
    attacks = taught.attacks
    assert attacks is not None
    return attacks.signals.take(np.flatnonzero(attacks.counted) if rows is None else rows)


def observing(tmp_path: Path, attacks: Signals, harmless: Signals | None = None) -> Fitted:
    write_signals(tmp_path / "attacks.npz", attacks)
    observed = {"attacks": str(tmp_path / "attacks.npz")}
    if harmless is not None:
        write_signals(tmp_path / "harmless.npz", harmless)
        observed["harmless"] = str(tmp_path / "harmless.npz")
    return fit(load_config(write_config(tmp_path, detector=FEW, folds=folds(observed=observed))))


@pytest.mark.slow
def test_labelled_traffic_teaches_what_the_same_attacks_of_a_dataset_teach(taught: Fitted, tmp_path: Path) -> None:
    signals = of_traffic(taught)
    again = observing(tmp_path, signals)
    assert again.attacks is not None and str(again.attacks).startswith(f"{len(signals)} of {len(signals)} attacks")
    calibration = taught.collected["calibration"].signals
    first, second = taught.guard.scorer.score(calibration), again.guard.scorer.score(calibration)
    assert [v.score for v in first] == [v.score for v in second]


@pytest.mark.slow
def test_what_people_call_benign_is_learnt_as_harmless(taught: Fitted, tmp_path: Path) -> None:
    benign = taught.collected["test"].signals.take(range(4))
    found = observing(tmp_path, of_traffic(taught), benign)
    calibration = taught.collected["calibration"].signals
    first, second = taught.guard.scorer.score(calibration), found.guard.scorer.score(calibration)
    assert [v.score for v in first] != [v.score for v in second]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"anchors": "0" * 64}, "measured with other anchors"),
        ({"hard": {}}, "observed.attacks"),
        (None, "does not say what made its signals"),
    ],
    ids=["anchors", "model", "unsigned"],
)
def test_traffic_of_another_guard_is_refused(taught: Fitted, tmp_path: Path, change: dict | None, says: str) -> None:
    signals = of_traffic(taught)
    other = None if change is None else {**(signals.fingerprint or {}), **change}
    with pytest.raises(ModelMismatch, match=says):
        observing(tmp_path, replace(signals, fingerprint=other))


def test_too_few_attacks_are_refused_before_anything_is_generated(taught: Fitted, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="3 attacks, at least 5 are needed"):
        observing(tmp_path, of_traffic(taught, np.arange(3)))
    assert not list((tmp_path / "out").glob("cache/*"))


def test_a_file_that_is_missing_and_a_section_without_files_are_refused_by_the_check(tmp_path: Path) -> None:
    for observed, says in (({"attacks": "none.npz"}, "is not a file; write it with"), ({}, "names no file")):
        path = tmp_path / "a.yaml"
        path.write_text(yaml.safe_dump({**SMALL, "out": "out", "detector": FEW, "folds": folds(observed=observed)}))
        with pytest.raises(ConfigError, match=says):
            load_config(path)


def test_signals_of_other_shapes_are_not_joined() -> None:
    one = Signals(("a",), np.zeros((1, 4, 1), np.float32), np.zeros((1, 4, 1), np.float32))
    other = Signals(("b",), np.zeros((1, 5, 1), np.float32), np.zeros((1, 5, 1), np.float32))
    with pytest.raises(ModelMismatch, match="cannot be learnt from together"):
        joined(one, other)
