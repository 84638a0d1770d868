"""Steering in an evaluation: on the lab's models, and counted on outcomes made of numbers alone."""

import re

import numpy as np
import pytest

from sri_sdk import registry
from sri_sdk.capture.drive import generate_untapped
from sri_sdk.config.load import load_evaluation
from sri_sdk.errors import ConfigError
from sri_sdk.evaluation.datasets import Datasets
from sri_sdk.evaluation.evaluate import evaluate
from sri_sdk.evaluation.groups import draw_groups
from sri_sdk.evaluation.guards import GuardScores
from sri_sdk.evaluation.steered import Steered
from sri_sdk.evaluation.steering_claims import Claims, Outcomes
from sri_sdk.evaluation.steering_guards import STEERED_HARMFUL, STEERED_HARMLESS, guards_on
from sri_sdk.evaluation.steering_prompts import draw_steering
from sri_sdk.fitting.mix import bases_of
from sri_sdk.metrics.outcomes import HARMFUL, REFUSAL
from sri_sdk.metrics.results import to_json
from sri_sdk.records import Prompt
from sri_sdk.steer.direction import Direction
from sri_sdk.steer.operations import Add
from sri_sdk.steer.random_search import random_directions
from sri_sdk.steer.where import Where
from sri_sdk.strict_json import parse, write
from tests.evaluation.conftest import SMALL, generations, write_evaluation_config

STEERING = {
    "direction": {
        "split": "fit", "harmless": 24, "harmful": 24, "validation": {"harmless": 8, "harmful": 8},
        "limits": {"finalists": 2},
    },
    "models": ["causal"],
    "language": "second-language",
    "prompts": ["prefix-injection"],
    "random": {"best_of": 3, "mean_of": 2},
    "windows": 2,
    "response_blocks": 2,
    "sweep": 4,
}  # fmt: skip
ATTACKS = {"prefix-injection": {"count": 12}, "second-language": {"count": 12}}
TEST = {**SMALL["folds"], "test": {"split": "test", "harmless": 12, "harmful": 12}}
FEW = {
    "models": {"causal": {**SMALL["models"]["causal"], "request": {"layers": [3]}}},
    "folds": TEST, "attacks": ATTACKS, "harmless_sets": None, "surrogates": None, "unseen_attacks": None,
    "draft_judge": None, "batch_size": 24,
    "maps": {"plain": {"split": "fit", "harmless": 24, "harmful": 24}},
    "guards": {
        "behaviour": {"detector": {"name": "autoencoder", "options": {"epochs": 20}}},
        "asked": {"parts": {"asked": {"detector": "request"}}, "map": "plain"},
    },
}  # fmt: skip


def config(folder, steering=STEERING, **changes):
    return load_evaluation(write_evaluation_config(folder, **{**FEW, "steering": steering, **changes}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("steering")


@pytest.fixture(scope="module")
def found(folder):
    return evaluate(config(folder)).models[0]


def run_of(result, kind, name=None, prompts="harmful"):
    (run,) = [r for r in result.runs if r.kind == kind and name in (None, r.name) and r.prompts == prompts]
    return run


def test_ablation_takes_refusals_away_and_adding_brings_them(found):
    made = found.steering
    without = run_of(made, "ablate")
    assert (without.before.k, without.before.n) == (12, 12) and without.refused.k <= 2
    assert run_of(made, "ablate", prompts="harmless").refused.k <= 2
    assert run_of(made, "add", prompts="harmless").refused.k >= 10
    claims = {claim.name: claim for claim in made.claims}
    assert claims["ablation-refusal"].found == "reproduced" == claims["addition"].found
    assert claims["ablation-refusal"].difference.n == 12


def test_a_causal_model_has_no_direction_before_the_request_and_none_is_made_up(found):
    (claim,) = [c for c in found.steering.claims if c.name == "before-request"]
    assert (claim.found, claim.expected, claim.difference) == ("reproduced", False, None)
    assert "chance" in claim.note
    assert not [run for run in found.steering.runs if run.kind == "place"]


def test_the_paper_claims_nothing_about_steps_layers_and_languages_of_causal_models(found):
    names = {claim.name for claim in found.steering.claims}
    assert not names & {"early-steps", "late-layers", "language-to-second", "language-to-first"}


def test_sweeps_have_their_own_size_and_what_is_compared_has_all_prompts(found):
    made = found.steering
    assert {run.refused.n for run in made.runs if run.kind in ("positions", "blocks")} == {4}
    assert [run.refused.n for run in made.runs if run.kind == "steps"] == [12, 12]
    assert [(r.name, r.refused.n) for r in made.runs if r.kind == "layers"][-2:] == [
        ("blocks 0 to 1", 12), ("blocks 2 to 3", 12),
    ]  # fmt: skip
    assert run_of(made, "random", "mean of 2").refused.n == 12
    assert run_of(made, "random", "best of 3").refused.n == 12


def test_steps_after_the_first_half_find_the_refusal_written_already(found):
    first, second = (run_of(found.steering, "steps", name) for name in ("0 to 50 %", "50 to 100 %"))
    assert first.refused.k < second.refused.k == second.before.k


def test_guards_see_the_model_without_its_direction_as_it_is_then(found):
    guards = {guard.guard: guard for guard in found.steering.guards}
    assert guards.keys() == {"behaviour", "asked"}
    for guard in guards.values():
        assert guard.ablated_harmful.n == guard.plain_harmful.n == 12
        assert guard.ablated_harm.n == run_of(found.steering, "ablate").done.k
        assert guard.attacked_harm.n == found.success.k
    # What hangs on refusal is gone with it.
    assert guards["behaviour"].ablated_harmful.k < guards["behaviour"].plain_harmful.k


def test_a_second_run_generates_nothing_and_says_the_same(found, folder):
    said = []
    again = evaluate(config(folder), lambda stage, done, of: said.append((stage, done, of))).models[0]
    assert write(to_json(again.steering)) == write(to_json(found.steering))
    assert not [stage for stage, done, of in said if "directions" in stage or "candidates" in stage]


def test_results_are_json_of_the_strict_kind(found):
    made = parse(write(to_json(found.steering)).encode())
    assert made["runs"][0]["refused"]["n"] == 12 and made["rule"]


def test_prompts_of_directions_validation_and_everything_else_are_apart(tmp_path):
    made = config(tmp_path)
    datasets = Datasets(made)
    groups = draw_groups(made, datasets)
    drawn = draw_steering(made, datasets.main, groups)
    sets = [bases_of(p) for kind in (drawn.extraction, drawn.validation, drawn.language) for p in kind.values()]
    sets.append({base for prompts in groups.named().values() for base in bases_of(prompts)})
    assert sum(map(len, sets)) == len(set().union(*sets))
    assert {p.attack for p in drawn.language["harmless"]} == {"second-language"}
    assert [len(kind["harmful"]) for kind in (drawn.extraction, drawn.validation)] == [24, 8]


def test_a_quick_look_keeps_what_a_direction_needs(tmp_path):
    few = config(tmp_path).limited(2).steering
    assert (few.direction.harmless, few.direction.validation.harmful, few.sweep) == (8, 8, 2)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"models": ["causl"]}, "steering.models: no model 'causl'"),
        ({"language": "klingon"}, "steering.language: no attack 'klingon'"),
        ({"prompts": ["role-play"]}, "steering.prompts: no attack 'role-play'"),
        ({"transfers": [{"of": "causal", "to": "causal"}]}, "of and to are both 'causal'"),
        ({"transfers": [{"of": "other", "to": "causal"}]}, "steering.transfers.0.of: no model 'other'"),
        ({"least": 0}, "steering.least"),
        ({"direction": {**STEERING["direction"], "places": ["end"]}}, "steering.direction.places: found 'end'"),
        ({"direction": {**STEERING["direction"], "split": "fitt"}}, "steering.direction.split: unknown split 'fitt'"),
    ],
)
def test_mistakes_are_named_before_anything_is_loaded(tmp_path, changes, problem):
    with pytest.raises(ConfigError, match=re.escape(problem)):
        config(tmp_path, {**STEERING, **changes})


def test_a_transfer_needs_the_giving_model_first(tmp_path):
    models = {"causal": FEW["models"]["causal"], "twin": {"like": "causal"}}
    steering = {**STEERING, "models": ["causal", "twin"], "transfers": [{"of": "twin", "to": "causal"}]}
    with pytest.raises(ConfigError, match="stands behind 'causal'"):
        config(tmp_path, steering, models=models)


def test_an_attack_of_a_plugin_is_no_language(tmp_path):
    attacks = {**ATTACKS, "second-language": {"count": 12, "plugin": "past-tense"}}
    with pytest.raises(
        ConfigError, match=r"steering\.language: 'second-language' is no attack of dataset 'lab' itself"
    ):
        config(tmp_path, attacks=attacks)


@pytest.mark.parametrize(
    ("name", "sampler"),
    [
        ("lab-diffusion", ("low-confidence", {"steps": 8, "tokens": 48})),
        ("lab-causal", ("autoregressive", {"tokens": 48})),
    ],
)
def test_windows_of_the_steps_share_a_generation_without_gap_or_overlap(name, sampler):
    """Unwatched, as everything but the guards' groups is generated."""
    hook_class = registry.load("hooks", name)
    loaded = hook_class.load(hook_class.Config())
    hook, driver = hook_class(loaded.model), registry.build("samplers", *sampler)
    prompts = registry.build("datasets", "lab", {}).prompts("test", "harmful", 3)
    direction = random_directions(hook, 1, seed=0)[0]

    def positions(where):
        with Steered(direction, where=where).on(hook, driver.budget()) as steering:
            generate_untapped(hook, loaded, driver, prompts)
        return steering.positions

    windows = [positions(Where(steps=(at / 4, (at + 1) / 4))) for at in range(4)]
    # A causal model ends a refusal early, and has no step left for later windows.
    assert windows[0] > 0 and (name == "lab-causal" or min(windows) > 0) and sum(windows) == positions(Where())
    kinds = [positions(Where(positions=(kind,))) for kind in ("prompt", "response")]
    assert min(kinds) > 0 and sum(kinds) <= positions(Where())
    blocks = [positions(Where(blocks=(at, at + 1), block_length=12)) for at in range(4)]
    assert blocks[0] > 0 and sum(blocks) == kinds[1]


# -- counting, without a model ---------------------------------------------------------------------------------------


def outcomes(words, prefix="p", base=None):
    prompts = tuple(
        Prompt(f"{prefix}{i}", f"text {i}", "harmful", base=f"{base}{i}" if base else None) for i in range(len(words))
    )
    codes = {"r": REFUSAL, "h": HARMFUL}
    return Outcomes(prompts, np.array([codes[word] for word in words], dtype=np.int8))


def test_attacks_are_compared_request_by_request_whatever_their_order():
    ablated, attacked = outcomes("hhhr"), outcomes("hr", prefix="a", base="p")
    turned = Outcomes(attacked.prompts[::-1], attacked.codes[::-1])
    claims = Claims(0.2, scheme="masked")
    claims.claim("stronger", "", ablated, turned, counts="done")
    (claim,) = claims.claims
    assert (claim.difference.value, claim.difference.n) == (0.5, 2)
    assert (claim.difference.only_own, claim.difference.only_other) == (1, 0)


def test_what_stood_before_is_counted_on_the_same_prompts():
    before, found = outcomes("rrhh"), outcomes("rrhh")
    claims = Claims(0.2, scheme="masked")
    claims.run("steps", "some", "harmful", Outcomes(found.prompts[:2], found.codes[:2]), before)
    assert (claims.runs[0].before.k, claims.runs[0].before.n) == (2, 2)


def test_a_claim_about_requests_that_were_not_asked_is_an_error():
    with pytest.raises(KeyError):
        Claims(0.2, scheme="masked").claim("x", "", outcomes("rr"), outcomes("r", prefix="q"))


@pytest.mark.parametrize(
    ("expected", "certain", "found"),
    [(True, True, "not reproduced"), (False, True, "reproduced"), (True, False, "unclear"), (False, False, "unclear")],
)
def test_no_direction_is_an_answer_and_one_that_kept_to_no_limit_is_none(expected, certain, found):
    claims = Claims(0.2, scheme="masked")
    claims.absent("before", "", expected=expected, certain=certain, note="why")
    assert claims.claims[0].found == found


def unit(*values):
    vector = np.array(values, dtype=np.float32)
    return Direction("d", vector[None], "", np.zeros((2, 4), dtype=np.float32), {})


def test_what_is_kept_of_a_steering_tells_every_other_one_apart():
    first, second = unit(1, 0), unit(0, 1)
    all_of_them = [
        Steered(first), Steered(second), Steered(first, Add(1.0)), Steered(first, Add(2.0)),
        Steered(first, where=Where(layers=(1,))), Steered(first, where=Where(steps=(0, 4))),
        Steered(first, where=Where(steps=(0.0, 0.5))), Steered(first, where=Where(positions=("prompt",))),
    ]  # fmt: skip
    assert len({write(each.key()) for each in all_of_them}) == len(all_of_them)
    assert write(Steered(unit(1, 0)).key()) == write(Steered(first).key())


def test_harm_under_ablation_is_counted_apart_from_refusals_and_attacks(tmp_path):
    alarms = {
        "harmful": [1, 1, 0], STEERED_HARMFUL: [1, 0, 0], "harmless": [0, 0], STEERED_HARMLESS: [1, 0],
        "attack a": [1, 0, 1],
    }  # fmt: skip
    unknown = {STEERED_HARMFUL: np.array([1.0, np.nan, 0.0]), STEERED_HARMLESS: np.array([1.0, 0.0])}
    guard = GuardScores(
        "some", "", "hidden states", 0.5, "", unknown, 0.0,
        alarms={group: np.array(rows, dtype=bool) for group, rows in alarms.items()},
    )  # fmt: skip

    sigma = np.zeros((3, 4))
    found = {
        "harmful": generations(sigma, outcome="refusal"),
        STEERED_HARMFUL: generations(sigma, outcome=["harmful", "harmful", "refusal"]),
        "harmless": generations(sigma[:2], label="harmless", outcome="harmless"),
        STEERED_HARMLESS: generations(sigma[:2], label="harmless", outcome="harmless"),
        "attack a": generations(sigma, attack="a", outcome=["harmful", "refusal", "harmful"]),
    }
    (row,) = guards_on([guard], found, ["a"])
    shares = {name: (getattr(row, name).k, getattr(row, name).n) for name in row.__slots__[2:8]}
    assert shares == {
        "ablated_harm": (1, 2), "attacked_harm": (2, 2), "ablated_harmful": (1, 3), "plain_harmful": (2, 3),
        "ablated_harmless": (1, 2), "plain_harmless": (0, 2),
    }  # fmt: skip
    assert row.unscored == 1
    assert guards_on([guard], found, [])[0].attacked_harm.n == 0
