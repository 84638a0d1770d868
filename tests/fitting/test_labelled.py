"""Labelled attacks from a config: which prompts they are, which count, and which detectors learn from them."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from sri_plugin_detectors.few_label import FewLabelDetector
from sri_plugin_detectors.mahalanobis import MahalanobisDetector
from sri_plugin_lab.dataset import LabDataset

from sri_sdk.config.folds import TrainFold
from sri_sdk.config.load import load_config
from sri_sdk.errors import ConfigError
from sri_sdk.fitting.collect import Collected
from sri_sdk.fitting.fit import fit
from sri_sdk.fitting.folds import draw_folds
from sri_sdk.fitting.labelled import LabelledAttacks, draw_labelled, label
from sri_sdk.fitting.parts import Part, fit_parts
from sri_sdk.records import Prompt, Signals

from .conftest import SMALL, write_config

TRAIN = {"split": "fit", "harmless": 20}
ATTACKS = {"flip": 8, "suffix": 3}


def folds(**train):
    return {**SMALL["folds"], "train": {**TRAIN, **train}}


def problems(tmp_path: Path, **changes):
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump({**SMALL, "out": "out", **changes}))
    try:
        load_config(path)
    except ConfigError as err:
        return [problem.removeprefix(f"{path}: ") for problem in err.problems]
    return []


FEW = {"name": "few-label"}
PARTS = {"known": {"detector": "few-label"}, "odd": {"detector": "mahalanobis"}}
ENOUGH = {**SMALL["folds"], "calibration": {"split": "calibration", "harmless": 39}}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"folds": folds(attacks=ATTACKS)}, "nothing learns from them: autoencoder ignores labels. Leave them out, or"),
        ({"folds": folds(attacks=ATTACKS)}, "learns from labelled attacks: few-label, logistic"),
        ({"detector": FEW}, "detector.name: 'few-label' learns from labelled attacks, and folds.train.attacks names"),
        ({"detector": None, "parts": PARTS, "folds": ENOUGH}, "parts.known.detector: 'few-label'"),
        ({"detector": FEW, "folds": folds(attacks={"flip": 4})}, "folds.train.attacks: found 4 in all, at least 5"),
        ({"detector": FEW, "folds": folds(attacks={"flp": 9})}, "folds.train.attacks.flp: unknown attack"),
        ({"detector": FEW, "folds": folds(attacks=ATTACKS, label_by="judge")}, "folds.train.label_by: "),
    ],
)
def test_labels_without_a_taker_and_a_taker_without_labels_are_refused_in_words(tmp_path: Path, changes, says) -> None:
    whole = {name: value for name, value in {**SMALL, **changes}.items() if value is not None}
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump({**whole, "out": "out"}))
    with pytest.raises(ConfigError) as refused:
        load_config(path)
    assert any(says in problem for problem in refused.value.problems), refused.value.problems


@pytest.mark.parametrize("name", ["few-label", "logistic"])
def test_a_detector_that_takes_labels_may_be_given_some(tmp_path: Path, name) -> None:
    assert not problems(tmp_path, detector={"name": name}, folds=folds(attacks=ATTACKS))


def test_labelled_attacks_are_made_of_requests_that_nothing_else_is_made_of(tmp_path: Path) -> None:
    """The anchors take the first harmful requests of the same split, and each attack others."""
    config = load_config(write_config(tmp_path, detector=FEW, folds=folds(attacks=ATTACKS)))
    drawn = draw_folds(LabDataset(), config.folds, seed=config.seed)
    assert [p.attack for p in drawn.labelled] == ["flip"] * 8 + ["suffix"] * 3
    bases = [p.base for p in drawn.labelled]
    others = {p.base or p.id for name, prompts in drawn.named().items() if name != "labelled" for p in prompts}
    assert len(set(bases)) == 11 and not others & set(bases)


class Small(LabDataset):
    """Ten prompts of each kind."""

    def prompts(self, split, label, count, *, attack=None):
        return super().prompts(split, label, min(count, 10), attack=attack)


def test_too_few_free_requests_are_named_attack_by_attack() -> None:
    fold = TrainFold(split="fit", harmless=5, attacks={"flip": 6, "suffix": 6})
    says = r"folds.train.attacks.suffix: 6 harmful prompts are wanted .* and 4 are there"
    with pytest.raises(ConfigError, match=says):
        draw_labelled(Small(), fold, [])


def collected(outcomes):
    prompts = tuple(
        Prompt(f"p{i}", f"text {i}", "harmful", ("flip", "suffix")[i % 2], f"b{i}") for i in range(len(outcomes))
    )
    logit = np.random.default_rng(0).normal(size=(len(outcomes), 4, 2)).astype(np.float32)
    return Collected(prompts, Signals(tuple(p.id for p in prompts), logit, logit, {}), tuple(outcomes))


def test_an_attack_counts_by_its_outcome_or_by_its_request() -> None:
    found = collected(["harmful", "refusal"] * 6)
    fold = TrainFold(split="fit", harmless=5, attacks={"flip": 6, "suffix": 6})
    assert str(label(found, fold)) == "6 of 12 attacks are learnt from (flip 6 of 6, suffix 0 of 6)"
    by_request = label(found, fold.model_copy(update={"label_by": "request"}))
    assert by_request.counts() == {"flip": {"used": 6, "seen": 6}, "suffix": {"used": 6, "seen": 6}}


def test_too_few_attacks_that_succeed_stop_the_fit_and_are_counted() -> None:
    fold = TrainFold(split="fit", harmless=5, attacks={"flip": 6, "suffix": 6})
    with pytest.raises(ConfigError, match=r"4 of 12 attacks are learnt from \(flip 4 of 6, suffix 0 of 6\)"):
        label(collected(["harmful", "other"] * 4 + ["refusal"] * 4), fold)


def test_only_detectors_that_take_labels_see_the_attacks() -> None:
    """And of these only the ones that count."""
    train, tried = collected(["harmless"] * 30).signals, collected(["harmful", "other"] * 6)
    attacks = LabelledAttacks(tried.signals, np.arange(12) % 2 == 0, {})
    names = ("sri@0", "sri@final")
    few, plain = FewLabelDetector(), MahalanobisDetector()
    fit_parts(
        [Part("few", few, "few-label", ("sri@final",), "x", 0.5), Part("all", plain, "mahalanobis", names, "x", 0.5)],
        train, names, attacks,
    )  # fmt: skip
    values = np.concatenate([train.logit, tried.signals.logit[::2]])[:, :, 1:]
    own = FewLabelDetector().fit(values, np.repeat([0, 1], [30, 6]))
    assert few.score(values).tolist() == own.score(values).tolist()
    assert plain.score(train.logit).tolist() == MahalanobisDetector().fit(train.logit).score(train.logit).tolist()


@pytest.mark.slow
def test_a_fit_learns_from_labelled_attacks_and_says_how_many(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path, detector=FEW, folds=folds(attacks={"flip": 12, "second-language": 12})))
    fitted = fit(config)
    assert fitted.attacks is not None and fitted.attacks.counted.sum() >= 5
    again = fit(config, recalibrate=True)
    assert again.attacks is None and "labelled" not in again.collected
