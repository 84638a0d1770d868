"""Fresh canaries on the lab, and a guard that is handed on: copied without its cache, and calibrated anew."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from sri_plugin_lab.dataset import LabDataset
from sri_plugin_lab.hooks import LabDiffusionHook

from sri_sdk import registry
from sri_sdk.cli import main
from sri_sdk.config.load import load_config
from sri_sdk.errors import ConfigError
from sri_sdk.fitting.canaries import look
from sri_sdk.fitting.canary_state import STATE, Canary, State, base_hash, fresh
from sri_sdk.fitting.fit import fit
from sri_sdk.fitting.folds import text_hash
from sri_sdk.fitting.mix import bases_of
from sri_sdk.scoring.guard import Guard

from .conftest import SMALL, write_config

FOLDS = {**SMALL["folds"], "calibration": {"split": "calibration", "harmless": 60}, "test": None}
FRAME = {
    "batch_size": 10,
    "folds": FOLDS,
    "detector": {"name": "mahalanobis"},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a config and its guard."""
    folder = tmp_path_factory.mktemp("home")
    fit(load_config(write_config(folder, **FRAME)))
    return folder


def copied(home, folder, **changes):
    """The guard elsewhere, as somebody receives it: anchors, detector and bundle."""
    target = folder / "guard"
    target.mkdir()
    for name in ("anchors.npz", "detector.npz"):
        shutil.copy(home / "guard" / name, target / name)
    shutil.copytree(home / "guard" / "bundle", target / "bundle")
    return load_config(write_config(folder, **{**FRAME, **changes}))


LATER = {
    "reference": {"split": "unusual", "harmless": 20},
    "calibration": {"split": "unusual", "harmless": 60},
}
"""All that whoever receives a guard needs: harmless prompts."""


@pytest.fixture
def made_up(monkeypatch):
    """Scores without a model: what is kept, and what may be used again, does not depend on them."""

    def scored(_config, _guard, prompts, _progress):
        scores = np.random.default_rng(len(prompts)).normal(size=len(prompts))
        yield [
            Canary(prompt=text_hash(p.text), base=base_hash(p), scores={"detector": float(score)})
            for p, score in zip(prompts, scores, strict=True)
        ]

    monkeypatch.setattr("sri_sdk.fitting.canaries._generated", scored)


@pytest.mark.usefixtures("made_up")
def test_canaries_add_up_over_days_and_are_never_drawn_again(home, tmp_path):
    config, guard = copied(home, tmp_path), tmp_path / "guard"
    first, again = look(config, "test", 15, guard), look(config, "test", 20, guard)
    assert (first.scored, again.scored, again.new) == (15, 35, 20)
    kept = json.loads((guard / STATE).read_text())
    assert len({canary["prompt"] for canary in kept["canaries"]}) == 35
    texts = [p.text for p in registry.build("datasets", "lab", {}).prompts("test", "harmless", 40)]
    assert not any(text in (guard / STATE).read_text() for text in texts)
    assert look(config, "test", 0, guard).findings == again.findings, "what is kept says the same again"


@pytest.mark.usefixtures("made_up")
def test_prompts_of_a_fold_are_no_canaries(home, tmp_path):
    config = copied(home, tmp_path, folds={**FOLDS, "test": {"split": "test", "harmless": 5}})
    look(config, "test", 3, tmp_path / "guard")
    kept = json.loads((tmp_path / "guard" / STATE).read_text())["canaries"]
    prompts = registry.build("datasets", "lab", {}).prompts("test", "harmless", 8)
    assert [canary["prompt"] for canary in kept] == [text_hash(p.text) for p in prompts[5:]]


def test_a_split_without_enough_fresh_prompts_says_how_many_are_wanted(home, tmp_path, monkeypatch):
    prompts = LabDataset.prompts

    def few(self, split, label, count, **more):
        if split == "test" and count > 20:
            raise ConfigError("split 'test' has 20")
        return prompts(self, split, label, count, **more)

    monkeypatch.setattr(LabDataset, "prompts", few)
    with pytest.raises(ConfigError, match=r"canaries: 21 are wanted .* 20 are there"):
        look(copied(home, tmp_path), "test", 21, tmp_path / "guard")


def test_canaries_come_from_the_mix_that_the_calibration_stands_for_and_no_request_twice(home, tmp_path):
    mixed = {"split": "calibration", "harmless": 60, "mix": {"plain": 0.5, "wrapped": {"fiction": 0.5}}}
    config = copied(home, tmp_path, folds={**FOLDS, "calibration": mixed})
    state = State(bundle="b", rate=0.01, window=50)
    first = fresh(config, "test", 20, state)
    assert 4 <= sum(p.attack == "fiction" for p in first) <= 16
    state.canaries.extend(
        Canary(prompt=text_hash(p.text), base=base_hash(p), scores=None, reason="tap_silent") for p in first
    )
    assert not bases_of(fresh(config, "test", 20, state)) & bases_of(first)


@pytest.mark.usefixtures("made_up")
def test_a_file_of_canaries_that_is_none_and_another_rate_on_the_way_are_refused(home, tmp_path):
    config, guard = copied(home, tmp_path), tmp_path / "guard"
    look(config, "test", 2, guard)
    with pytest.raises(ConfigError, match=r"rate 0\.01 since the first canary of this bundle, found 0.2"):
        look(config, "test", 0, guard, rate=0.2)
    (guard / STATE).write_text("{}")
    with pytest.raises(ConfigError, match="not a file of canaries"):
        look(config, "test", 0, guard)


def test_unusual_traffic_is_drift_and_a_receivers_recalibration_on_it_is_the_cure(home, tmp_path, monkeypatch):
    """From the folder alone: no cache, no harmful prompt, no refusal, nothing to learn from."""
    config, guard = copied(home, tmp_path), tmp_path / "guard"
    monkeypatch.setattr(LabDiffusionHook, "plan", blind_at_first(LabDiffusionHook.plan))
    calm = look(config, "test", 20, guard)
    assert (calm.drift, calm.scored, dict(calm.unmonitored)) == (False, 10, {"hook_failed": 10})
    sri = CliRunner()
    found = sri.invoke(main, ["drift", str(tmp_path / "small.yaml"), "--split", "unusual", "--count", "40", "--fail"])
    assert found.exit_code == 12, found.output
    assert "drift: 50 canaries" in found.stdout and "10 hook_failed" in found.stdout
    assert "sri fit --recalibrate" in found.stdout
    before = Guard.load(guard)
    received = write_config(tmp_path, **{**FRAME, "folds": LATER, "out": str(guard)})
    fit(load_config(received), recalibrate=True)
    after = Guard.load(guard)
    assert after.anchors.digest == before.anchors.digest and after.manifest.digest != before.manifest.digest
    cured = sri.invoke(main, ["drift", str(received), "--split", "unusual", "--count", "20", "--json"])
    said = json.loads(cured.stdout)
    assert (said["drift"], said["scored"]) == (False, 20)
    used = json.loads((guard / STATE).read_text())
    assert len(used["used"]) == 2 * 60 and not {c["prompt"] for c in used["canaries"]} & set(used["used"])


def blind_at_first(plan):
    """The hook fails over the first batch, of ten rows, and over no other one."""
    batches = []

    def planned(self, call, run):
        if run.forwards == 1:
            batches.append(len(call.input_ids))
        if len(batches) == 1:
            raise ValueError("a pass that fits nothing")
        return plan(self, call, run)

    return planned


def test_a_config_without_prompts_to_learn_from_fits_no_guard(home, tmp_path):
    config = copied(home, tmp_path, folds=LATER)
    with pytest.raises(ConfigError, match="sri fit --recalibrate"):
        fit(config)


def test_a_fit_that_learns_still_needs_a_train_fold(tmp_path):
    folds = {name: fold for name, fold in FOLDS.items() if name != "train"}
    with pytest.raises(ConfigError, match=r"folds\.train: required"):
        load_config(write_config(tmp_path, folds=folds))
