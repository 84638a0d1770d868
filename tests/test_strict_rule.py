"""The strict rule's page shows the numbers that are kept beside it, and its config holds to what was fixed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from sri_sdk.config.load import load_evaluation
from sri_sdk.strict_json import parse

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "benchmarks/strict-rule.md").read_text(encoding="utf-8")
KEPT = parse((ROOT / "benchmarks/strict-rule.json").read_bytes())


def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("strict_tables", ROOT / "benchmarks/strict_tables.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_every_number_on_the_page_is_one_that_was_kept() -> None:
    made = tables()
    assert "\n".join(made.strict_table(KEPT)) in PAGE
    for guard in ("paper", "asked", "asked-many"):
        assert "\n".join(made.wrapper_table(KEPT, guard)) in PAGE


@pytest.mark.parametrize(
    ("page", "alarms", "guards"),
    [
        (
            "README.md",
            ("plain", "unusual", "role-play"),
            ("paper", "nearest-neighbours", "asked-plain", "asked", "asked-many"),
        ),
        (
            "docs/which-detector.md",
            ("unusual", "role-play"),
            (
                "autoencoder", "mahalanobis", "nearest-neighbours", "gaussian-mixture", "one-class-svm",
                "isolation-forest", "hesitation", "asked-plain", "asked", "both",
            ),
        ),
    ],
)  # fmt: skip
def test_other_pages_repeat_the_numbers_of_the_rule_as_they_were_kept(
    page: str, alarms: tuple[str, ...], guards: tuple[str, ...]
) -> None:
    made, text = tables(), (ROOT / page).read_text(encoding="utf-8").replace("**", "")
    missing = [guard for guard in guards if f"| {made.short_row(KEPT, guard, alarms)} |" not in text]
    assert not missing, "\n".join(f"{guard}: | {made.short_row(KEPT, guard, alarms)} |" for guard in missing)


def test_no_wrapper_of_the_verdict_stands_in_the_fit_of_a_guard_that_is_judged_by_it() -> None:
    config = load_evaluation(ROOT / "configs/lab-strict.yaml")
    assert config.strict is not None
    verdict = set(config.strict.attacks)
    folds = (config.folds.train, config.folds.reference, config.folds.calibration)
    mixes = [fold.mix for fold in folds if fold.mix is not None]
    assert not any(verdict & set(mix.wrapped) for mix in mixes)
    for guard in config.guards.values():
        if guard.map is not None:
            assert not verdict & set(config.maps[guard.map].attacks)
        assert all(attack not in config.maps[each].attacks for attack, each in guard.left_out.items())


def test_cells_of_harm_and_ways_of_asking_of_the_verdict_are_not_those_of_the_fit() -> None:
    parts = load_evaluation(ROOT / "configs/lab-strict.yaml").prompts.options["subsets"]
    assert not set(parts["fit-known"]["cells"]) & set(parts["test-new"]["cells"])
    assert not set(parts["unusual-known"]["frames"]) & set(parts["unusual-new"]["frames"])
