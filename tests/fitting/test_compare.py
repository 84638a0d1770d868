"""Detectors side by side on one config: one failure is nobody else's, nothing is chosen, nothing is hidden."""

import json
from pathlib import Path

import pytest
from sri_plugin_detectors.mahalanobis import MahalanobisDetector

from sri_sdk import registry
from sri_sdk.config.load import load_config
from sri_sdk.errors import ConfigError, PluginNotFound
from sri_sdk.fitting.compare import candidates, compare, compared_on
from sri_sdk.fitting.fit import fit
from sri_sdk.metrics.comparison import WARNING, Compared, Comparison, tables
from sri_sdk.metrics.rates import exact_rate
from sri_sdk.report.comparison import text, write_comparison

from .conftest import SMALL, write_config

ATTACKED = {**SMALL["folds"], "train": {"split": "fit", "harmless": 20, "attacks": {"flip": 8}}}


def test_what_a_detector_lacks_is_said_before_anything_is_generated(tmp_path: Path) -> None:
    ready, missing = candidates(load_config(write_config(tmp_path)))
    assert {"autoencoder", "mahalanobis", "logistic"} <= {part.name for part in ready}
    assert "a section `request` adds it" in missing["request"]
    assert "folds.train.attacks names none" in missing["few-label"]
    assert all(part.share == 1 for part in ready)


def test_what_the_config_says_of_its_own_detector_holds_and_the_others_have_their_defaults(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path, tap={**SMALL["tap"], "layers": [0, "final"]}, detector={
        "name": "autoencoder", "options": {"epochs": 7}, "columns": ["sri@0"]}))  # fmt: skip
    own, other = candidates(config, ["mahalanobis", "autoencoder"])[0]
    assert (own.detector.config.epochs, own.columns) == (7, ("sri@0",))
    assert other.columns == ("sri@0", "sri@final")


def test_labelled_attacks_in_the_config_let_a_detector_that_needs_them_take_part(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path, folds=ATTACKED, detector={"name": "logistic"}))
    assert [part.name for part in candidates(config, ["few-label"])[0]] == ["few-label"]


def test_a_name_that_is_not_installed_stops_the_comparison_with_what_may_be_meant(tmp_path: Path) -> None:
    with pytest.raises(PluginNotFound, match="mahalanobis"):
        candidates(load_config(write_config(tmp_path)), ["mahalanobi"])


def test_without_a_test_fold_or_a_detector_nothing_begins(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"folds\.test: required to compare"):
        compare(load_config(write_config(tmp_path, folds={**SMALL["folds"], "test": None})))
    with pytest.raises(ConfigError, match="no detector can be fitted: request: it reads request"):
        compare(load_config(write_config(tmp_path)), ["request"])


class Explodes(MahalanobisDetector):
    """A plugin with a bug of its own."""

    def fit(self, signals, labels=None):
        raise ZeroDivisionError("one over nothing")


@pytest.mark.slow
def test_a_comparison_uses_the_generations_of_the_fit_and_leaves_the_guard_alone(tmp_path: Path, monkeypatch) -> None:
    config = load_config(write_config(tmp_path, detector={"name": "logistic"}))
    fitted = fit(config)
    digest = fitted.guard.manifest.digest
    build = registry.build

    def spoilt(kind, name, options):
        return Explodes() if name == "hesitation" else build(kind, name, options)

    monkeypatch.setattr(registry, "build", spoilt)
    said: list[tuple[str, int, int]] = []
    found = compare(config, ["logistic", "mahalanobis", "hesitation"], lambda *at: said.append(at))
    assert [each.name for each in found.detectors] == ["logistic", "mahalanobis"]
    assert found.missing == {"hesitation": "ZeroDivisionError: one over nothing"}
    assert ("detectors", 3, 3) in said
    own, results = found.detectors[0], fitted.results
    assert results is not None and own.auroc == results.auroc
    stated = {rate.name: rate for rate in results.rates}
    assert own.rates == tuple(stated[rate.name] for rate in own.rates)
    assert own.threshold == fitted.guard.manifest.rules["final"].value
    write_comparison(found, Path(config.out))
    assert fit(config).guard.manifest.digest == digest


def test_a_fit_says_when_its_test_fold_was_used_to_compare(tmp_path: Path) -> None:
    found = Comparison((row("a"), row("b")), {}, {"test": 40}, 0.05, None, test_digest="d")
    write_comparison(found, tmp_path)
    assert compared_on(tmp_path, "d") == 2
    assert compared_on(tmp_path, "of other prompts") == 0
    (tmp_path / "compare.json").write_text("{")
    assert compared_on(tmp_path, "d") == compared_on(tmp_path / "nowhere", "d") == 0


def row(name: str, flagged: int = 12) -> Compared:
    rates = (
        exact_rate("false_alarm:final", 1, 40), exact_rate("flagged:final:successful_attack", flagged, 20),
        exact_rate("flagged:final:success:flip", flagged, 20), exact_rate("flagged:final:harmless:plain", 1, 30),
        exact_rate("flagged:final:harmless:flip", 0, 10), exact_rate("flagged:final:refused_harmless", 0, 0),
    )  # fmt: skip
    return Compared(name, ("sri@final",), "ignored", rates, None, 0, 1.5, 0.2, 71.0, 5400)


def test_every_share_stands_with_its_interval_and_n_and_the_warning_in_every_form(tmp_path: Path) -> None:
    found = Comparison((row("b"), row("a", 20)), {"few-label": "no | labels"}, {"test": 40}, 0.05, None)
    written = text(found)
    assert "| b | 2.5 % (0.1 to 13.2; 1 of 40) | 60.0 % (36.1 to 80.9; 12 of 20) |" in written.replace("\u00a0", " ")
    assert WARNING in written and r"few-label: no \| labels" in written
    # No row is moved to the top, and none is marked: the table does not choose.
    assert written.index("| b |") < written.index("| a |")
    assert json.loads(json.dumps(found.to_dict()))["warning"] == WARNING
    flagged = tables(found)[1]
    assert flagged.columns == ("Detector", "successful attack", "attack flip", "harmless, plain", "harmless, flip")
    paths = write_comparison(found, tmp_path)
    assert [path.name for path in paths] == ["compare.json", "compare.md", "compare.html"]
    page = paths[2].read_text()
    assert "used the test fold up" in page and "60.0 %" in page
