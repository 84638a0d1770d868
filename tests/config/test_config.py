"""Configs: one right file, and every way to get it wrong."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from sri_sdk import registry
from sri_sdk.config.load import load_config
from sri_sdk.errors import ConfigError

RIGHT: dict[str, Any] = {
    "version": 1,
    "model": {"hook": "lab-diffusion"},
    "sampler": {"name": "low-confidence"},
    "tap": {"pooling": "response"},
    "prompts": {"dataset": "lab"},
    "folds": {
        "anchors": {"split": "fit", "harmless": 100, "harmful": 100},
        "train": {"split": "fit", "harmless": 300},
        "reference": {"split": "fit", "harmless": 100},
        "calibration": {"split": "calibration", "harmless": 199},
        "test": {"split": "test", "harmless": 200, "harmful": 100},
    },
    "judge": {"name": "lab"},
    "detector": {"name": "autoencoder"},
    "policy": {"rule": "final", "flagged": "report", "unmonitored": "report"},
    "out": "out/lab",
}


def written(tmp_path: Path, **changes: Any) -> Path:
    """The right config with some values replaced; `tap__pooling="x"` reaches one level down."""
    data = copy.deepcopy(RIGHT)
    for where, value in changes.items():
        *parents, last = where.split("__")
        inner = data
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value
    file = tmp_path / "lab.yaml"
    file.write_text(yaml.safe_dump(data))
    return file


def problems(file: Path) -> list[str]:
    """What `load_config` finds, without the file name that leads every line."""
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert all(problem.startswith(f"{file}: ") for problem in caught.value.problems)
    return [problem.removeprefix(f"{file}: ") for problem in caught.value.problems]


def test_a_right_file_loads_with_its_defaults(tmp_path: Path) -> None:
    config = load_config(written(tmp_path))
    assert config.tap.layers == ("final",)
    assert (config.calibrate.alpha, config.export.name, config.batch_size) == (0.01, "onnx", 64)


def test_an_unknown_key_is_answered_with_the_closest_one(tmp_path: Path) -> None:
    (problem,) = problems(written(tmp_path, tap__poling="response"))
    assert problem.startswith("tap.poling: unknown key; allowed: pooling, layers")
    assert problem.endswith("Did you mean 'pooling'?")


def test_a_sink_that_does_not_exist_or_has_wrong_options_is_named_by_its_number(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    sinks = [{"name": "jsonl", "options": {"path": "a", "rotate": 1}}, {"name": "jason", "options": {}}]
    file.write_text(yaml.safe_dump({**RIGHT, "sinks": sinks}))
    rotate, jason = problems(file)
    assert rotate.startswith("sinks.0.options.rotate: unknown key; allowed: path")
    assert jason.startswith("sinks.1.name: sinks plugin 'jason' is not installed") and "'jsonl'" in jason


def test_a_missing_policy_is_never_filled_in(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(yaml.safe_dump({**RIGHT, "policy": {"rule": "final", "flagged": "report"}}))
    assert problems(file) == ["policy.unmonitored: required, but missing"]


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    found = problems(
        written(
            tmp_path,
            batch_sise=1,
            seed=-1,
            tap__pooling="predicting",
            tap__layers=["final", "last"],
            detector__name="autoencodr",
            sampler__options={"stepz": 3},
            judge={"nme": "lab"},
            calibrate={"alpha": 0.0001},
            folds__test__split="tset",
        )
    )
    paths = [problem.partition(": ")[0] for problem in found]
    assert sorted(set(paths)) == sorted(
        [
            "batch_sise", "seed", "tap.layers.1", "detector.name", "sampler.options.stepz", "judge.name", "judge.nme",
            "calibrate.alpha", "folds.test.split",
        ]
    )  # fmt: skip


def test_a_key_written_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text("version: 1\nseed: 0\ntap:\n  cells: 3\n  cells: 4\nseed: 1\n")
    assert problems(file) == [
        "line 5: key 'cells' is written twice, first on line 4",
        "line 6: key 'seed' is written twice, first on line 2",
    ]


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.getcwd []", "!!python/name:os.system", "!secret x"])
def test_tags_are_refused_and_nothing_is_executed(tmp_path: Path, tag: str) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(f"version: 1\nout: {tag}\n")
    (problem,) = problems(file)
    assert problem.startswith("line 2: ")
    assert "only plain YAML data is read, remove the tag" in problem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "must be a mapping of keys to values, found nothing"),
        ("- 1\n", "must be a mapping of keys to values, found list"),
        ("a: [1\nb: 2", "line 2: not YAML"),
        ("a: b: c", "line 1: not YAML"),
        ("? [1, 2]\n: 3\n", "line 1: keys must be text, found [1, 2]"),
        ("version: 1\nyes: 3\n", "line 2: yes: some YAML readers take it for a boolean"),
    ],
)
def test_a_file_that_is_no_config_is_named_as_such(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(text)
    assert any(expected in problem for problem in problems(file))


def test_sections_of_the_wrong_shape_are_problems_not_crashes(tmp_path: Path) -> None:
    wrong = [None, "lab", 3, [], {"dataset": None}, {"train": None}, "", {"name": None}, True, 1.5]
    shapes = dict(zip(RIGHT, wrong, strict=True))
    paths = {problem.partition(".")[0].partition(":")[0] for problem in problems(written(tmp_path, **shapes))}
    assert paths == set(RIGHT)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in problems(tmp_path / "nowhere.yaml")[0]


@pytest.mark.parametrize(
    ("section", "key", "kind"),
    [
        ("model", "hook", "hooks"), ("sampler", "name", "samplers"), ("prompts", "dataset", "datasets"),
        ("judge", "name", "judges"), ("detector", "name", "detectors"), ("export", "name", "exporters"),
    ],
)  # fmt: skip
def test_an_unknown_plugin_is_named_with_what_is_installed(tmp_path: Path, section: str, key: str, kind: str) -> None:
    (problem,) = problems(written(tmp_path, **{f"{section}__{key}": "nonesuch"}))
    assert problem.startswith(f"{section}.{key}: {kind} plugin 'nonesuch' is not installed; installed: ")


def test_a_wrong_plugin_option_is_found_without_building_the_plugin(tmp_path: Path) -> None:
    found = problems(written(tmp_path, model__hook="toy", model__options={"seed": -3, "sede": 1}))
    assert found[0].startswith("model.options.seed: ")
    assert found[1] == "model.options.sede: unknown key; allowed: seed. Did you mean 'seed'?"


def test_an_alpha_below_one_in_n_plus_one_is_refused_naming_n(tmp_path: Path) -> None:
    (problem,) = problems(written(tmp_path, calibrate={"alpha": 0.004}))
    assert "0.004 cannot be met with n = 199" in problem
    assert "folds.calibration.harmless to at least 249" in problem
    load_config(written(tmp_path, calibrate={"alpha": 0.005}))


def test_a_delta_takes_more_calibration_prompts(tmp_path: Path) -> None:
    (problem,) = problems(written(tmp_path, calibrate={"alpha": 0.01, "delta": 0.05}))
    assert "folds.calibration.harmless to at least 299" in problem
    load_config(written(tmp_path, calibrate={"alpha": 0.01, "delta": 0.05}, folds__calibration__harmless=299))


def test_a_share_of_attacks_takes_more_calibration_prompts(tmp_path: Path) -> None:
    (problem,) = problems(written(tmp_path, calibrate={"alpha": 0.005, "contamination": 0.1}))
    assert "up to 10 % of them may be attacks (calibrate.contamination)" in problem
    assert "folds.calibration.harmless to at least 222" in problem
    load_config(written(tmp_path, calibrate={"alpha": 0.005, "contamination": 0.1}, folds__calibration__harmless=222))


def test_folds_that_are_too_small_whatever_the_model_answers_are_found_before_it_is_loaded(tmp_path: Path) -> None:
    small = {"folds__anchors__harmless": 3, "folds__anchors__harmful": 1, "folds__reference__harmless": 19}
    found = problems(written(tmp_path, **small, folds__train__harmless=15))
    assert [problem.partition(",")[0] for problem in found] == [
        "folds.anchors.harmless: found 3", "folds.anchors.harmful: found 1", "folds.reference.harmless: found 19",
        "folds.train.harmless: found 15",
    ]  # fmt: skip
    enough = {"folds__anchors__harmless": 4, "folds__anchors__harmful": 4, "folds__reference__harmless": 20}
    load_config(written(tmp_path, **enough, folds__train__harmless=16))


@pytest.mark.parametrize("name", ["autoencoder", "logistic", "toy"])
def test_what_a_detector_says_it_needs_is_what_its_fit_needs(name: str) -> None:
    detector = registry.build("detectors", name)
    signals = np.random.default_rng(0).random((detector.fewest, 4, 1), dtype=np.float32)
    detector.fit(signals)


def test_pooling_must_suit_the_hooks_scheme(tmp_path: Path) -> None:
    (problem,) = problems(written(tmp_path, tap__pooling="predicting"))
    assert problem == (
        "tap.pooling: 'predicting' does not suit LabDiffusionHook, whose scheme is masked; allowed: response, generated"
    )
    found = problems(written(tmp_path, model__hook="lab-causal", sampler__name="autoregressive"))
    assert found[0].startswith("tap.pooling: 'response' does not suit LabCausalHook, whose scheme is autoregressive")


def test_what_the_hook_cannot_tell_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sri_plugin_toy.hook import ToyHook

    monkeypatch.setattr(ToyHook, "capabilities", frozenset({"phi"}))
    found = problems(written(tmp_path, model__hook="toy", tap={"pooling": "generated", "mapping": "committed"}))
    assert [problem.partition(": ")[0] for problem in found] == ["tap.pooling", "tap.mapping"]


def test_the_sampler_must_drive_the_hooks_scheme(tmp_path: Path) -> None:
    (problem,) = problems(written(tmp_path, sampler__name="autoregressive"))
    assert problem.startswith("sampler.name: AutoregressiveSampler drives autoregressive models")


def test_a_guard_needs_an_exporter_that_writes_bundles(tmp_path: Path) -> None:
    (problem,) = problems(written(tmp_path, export__name="triton"))
    assert problem.startswith("export.name: TritonExporter writes no bundle, and a guard needs one; fit with exporter")


def test_split_and_attack_must_exist_in_the_dataset(tmp_path: Path) -> None:
    found = problems(written(tmp_path, folds__train__split="tets", folds__test__attacks={"nonesuch": 5}))
    assert found[0].startswith("folds.train.split: unknown split 'tets'; dataset 'lab' has: ")
    assert found[1].startswith("folds.test.attacks.nonesuch: unknown attack; dataset 'lab' has: ")


def test_soft_fields_are_accepted_by_name_only(tmp_path: Path) -> None:
    (problem,) = problems(written(tmp_path, accept=["dtpye"]))
    assert problem.endswith("Did you mean 'dtype'?")


def test_a_config_never_changes_after_loading(tmp_path: Path) -> None:
    config = load_config(written(tmp_path))
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 1  # type: ignore[misc]
