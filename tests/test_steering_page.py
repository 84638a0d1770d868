"""The page of steering shows the numbers that are kept beside it, and its config holds to what was fixed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sri_sdk.config.load import load_evaluation
from sri_sdk.strict_json import parse

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "benchmarks/steering.md").read_text(encoding="utf-8")
KEPT = parse((ROOT / "benchmarks/steering.json").read_bytes())


def rate(k: int, n: int) -> dict[str, Any]:
    return {"name": "", "k": k, "n": n, "low": max(0.0, k / n - 0.1), "high": min(1.0, k / n + 0.1), "value": k / n}


MADE_UP: dict[str, Any] = {
    "block": 2, "place": "post+1", "length": 3.123456789, "least": 0.2, "rule": "...",
    "runs": [
        {"kind": "ablate", "name": "everywhere", "prompts": "harmful", "refused": rate(1, 10), "done": rate(8, 10),
         "before": rate(10, 10), "note": ""},
    ],
    "claims": [
        {"name": "ablation-refusal", "says": "it does", "counts": "refused", "expected": True, "found": "reproduced",
         "difference": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 10},
         "one": rate(10, 10), "other": rate(1, 10), "note": ""},
        {"name": "before-request", "says": "", "counts": "refused", "expected": False, "found": "reproduced",
         "difference": None, "one": None, "other": None, "note": "none there"},
    ],
    "spots": [
        {"block": 2, "place": "post+1", "kl": 0.01, "ablated": 0.05, "added": 0.9, "out": None, "refused": None},
        {"block": 2, "place": "pre-1", "kl": 0.01, "ablated": 0.85, "added": 0.1, "out": "x", "refused": None},
        {"block": 2, "place": "pre-3", "kl": 0.01, "ablated": 0.95, "added": 0.1, "out": "x", "refused": None},
    ],
    "first_tokens": {"harmful": 0.97, "harmless": 0.01}, "validation": {"harmful": 8, "harmless": 8},
    "spectrum": {"pairs": 8, "first": 0.74, "chance_without": 0.28, "chance_with": 0.66},
    "guards": [
        {"guard": "asked", "reads": "hidden states", "ablated_harm": rate(7, 8), "attacked_harm": rate(0, 5),
         "ablated_harmful": rate(7, 10), "plain_harmful": rate(9, 10), "ablated_harmless": rate(0, 10),
         "plain_harmless": rate(0, 10), "unscored": 0},
    ],
    "notes": {"transfer-from-x": "not run"},
}  # fmt: skip


def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("steering_tables", ROOT / "benchmarks/steering_tables.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_the_page_is_made_of_what_was_kept() -> None:
    assert tables().filled(PAGE, KEPT) == PAGE


def test_the_words_around_the_numbers_stay() -> None:
    made = tables()
    text = made.filled(PAGE, {"diffusion": MADE_UP})
    assert text.partition(made.BEGIN)[0] == PAGE.partition(made.BEGIN)[0]
    assert made.filled(text, KEPT) == PAGE


def test_every_number_stands_where_it_belongs() -> None:
    text = tables().page({"diffusion": MADE_UP})
    assert "| `ablation-refusal` | **reproduced**: +90.0 (+80.0 to +95.0; n = 10) |" in text
    assert "| `before-request` | **reproduced**: no direction there |" in text
    assert "| Ablated: everywhere | harmful | 10.0 (0.0 to 20.0; n = 10); 80.0 |" in text
    assert "| model | block | pre-3 | pre-1 | post+1 |" in text and "| diffusion | 2 | 95.0 | 85.0 | **5.0** |" in text
    assert "| `asked` | diffusion | 87.5 (77.5 to 97.5; n = 8) | 0.0 (0.0 to 10.0; n = 5) |" in text
    assert "* diffusion, `transfer-from-x`: not run" in text


def test_a_model_that_lacks_a_row_has_a_dash_and_no_zero() -> None:
    fewer = {**MADE_UP, "claims": MADE_UP["claims"][:1], "runs": [], "spots": MADE_UP["spots"][:1]}
    text = tables().page({"diffusion": MADE_UP, "causal": fewer})
    assert "| `before-request` | **reproduced**: no direction there | – |" in text
    assert "| causal | 2 | – | – | **5.0** |" in text


def test_a_quick_look_is_not_kept() -> None:
    made = tables()
    model = {"name": "diffusion", "steering": MADE_UP}
    with pytest.raises(ValueError, match="quick look at 8"):
        made.condensed({"limit": 8, "models": [model]})
    with pytest.raises(ValueError, match="no model"):
        made.condensed({"limit": None, "models": [{"name": "diffusion", "steering": None}]})
    assert made.condensed({"limit": None, "models": [model]})["diffusion"]["length"] == 3.12346


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="numbers"):
        tables().filled("# Steering\n", KEPT)


def test_the_config_is_what_the_page_says() -> None:
    config = load_evaluation(ROOT / "configs/lab-steering.yaml")
    section = config.steering
    assert section is not None
    assert list(config.models) == ["diffusion", "diffusion-2", "causal"] and config.seed == 0
    assert (config.folds.test.harmless, config.folds.test.harmful) == (500, 500)
    assert (section.direction.harmless, section.direction.harmful) == (128, 128)
    assert (section.direction.validation.harmless, section.direction.validation.harmful) == (64, 64)
    assert section.direction.split == "fit" and config.folds.test.split == "test"
    assert (section.sweep, section.least, section.random.mean_of) == (200, 0.2, 5)
    assert all(config.attacks[name].count == 500 for name in (section.language, *section.prompts) if name)
    assert config.calibrate.alpha == 0.01 and config.folds.calibration.harmless == 800


def test_every_claim_of_the_page_is_one_that_is_measured() -> None:
    source = (ROOT / "sri_sdk/evaluation/steering.py").read_text(encoding="utf-8")
    rules = PAGE.partition(tables().BEGIN)[0]
    rows = [line for line in rules.splitlines() if line.startswith("| `")]
    named = {line.split("`")[1].removesuffix("...") for line in rows if line.count("|") == 5}
    assert len(named) == 11
    assert all(f'"{name}"' in source or f'"{name}{{' in source for name in named), named
