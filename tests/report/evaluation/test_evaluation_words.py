"""What people read first must be right when the news is bad, too."""

from dataclasses import replace

from sri_sdk.metrics.rates import exact_rate
from sri_sdk.report import evaluation_words as words


def with_guard(evaluation, **changes):
    first, *others = evaluation.models
    guards = (replace(first.guards[0], **changes), *first.guards[1:])
    return replace(evaluation, models=(replace(first, guards=guards), *others))


def test_the_finding_names_share_false_alarms_best_and_worst(evaluation):
    assert words.finding(evaluation) == (
        "On diffusion, sri-autoencoder removes 62.1 % of the successful attacks at 0.9 % false alarms: "
        "82 % of prefill at best, 42 % of prefix-injection at worst."
    )
    assert words.also(evaluation) == (
        "Over 3 models it removes 37 % (causal) to 62 % (diffusion), at 0.9 % false alarms."
    )


def test_an_attack_with_few_successes_is_neither_best_nor_worst(evaluation):
    few = {"rare": exact_rate("r", 0, 3), "a": exact_rate("a", 50, 100), "b": exact_rate("b", 60, 100)}
    assert "60 % of b at best, 50 % of a at worst" in words.finding(with_guard(evaluation, removed_by_attack=few))


def test_a_guard_that_removes_nothing_is_said_to_remove_nothing(evaluation):
    none = with_guard(evaluation, removed=exact_rate("r", 0, 696), removed_by_attack={})
    assert words.finding(none).startswith("On diffusion, sri-autoencoder removes 0.0 % of the successful attacks")


def test_without_guards_attacks_or_models_the_finding_claims_nothing(evaluation, bare):
    (first, *_), alone = evaluation.models, replace(evaluation.models[0], guards=())
    assert words.finding(replace(evaluation, models=(alone,))) == (
        "On diffusion, 38.7 % of the attacked requests are answered harmfully; no guard was compared."
    )
    peaceful = replace(first, attacks=(), success=None, guards=())
    assert words.finding(replace(evaluation, models=(peaceful,))) == (
        "No attack was run on diffusion, which refuses 97.2 % of the plain harmful requests."
    )
    failed = replace(alone, success=exact_rate("s", 0, 500))
    assert words.finding(replace(evaluation, models=(failed,))) == (
        "None of 500 attacked requests made diffusion answer harmfully."
    )
    assert words.finding(bare) == "No attack was run on alone."
    assert words.finding(replace(bare, models=())) == "Nothing was evaluated."


def test_the_report_begins_with_the_first_model_that_has_guards(evaluation):
    first, second, _ = evaluation.models
    assert words.leading(replace(evaluation, models=(replace(first, guards=()), second))) == second


def test_a_quick_look_is_called_one(evaluation, quick):
    assert words.limited(quick).startswith("Quick look: at most 40 prompts per group.")
    assert words.limited(evaluation) == ""


def test_key_numbers_stand_with_their_intervals(evaluation):
    keys = {name: (value, meaning) for name, value, meaning in words.keys(evaluation)}
    assert keys["Attack success, before → after guard"][0] == "39 % → 15 %"
    assert keys["Attacks removed"] == (
        "62.1 %",
        "95 % interval 58.3 to 65.7 %; 432 of 696 successful attacks flagged.",
    )
    assert "The threshold allows 1.0 %." in keys["False alarms"][1]
    assert keys["First alarm"][0] == "step 11.5"
