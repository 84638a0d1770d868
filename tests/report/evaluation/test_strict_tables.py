"""The strict rule and harmless twins, as the page, the Markdown file and `sri eval` show them."""

import re
from dataclasses import replace

from sri_sdk.cli.eval import describe
from sri_sdk.report.markdown import tables
from sri_sdk.report.strict_tables import beyond, strict, strict_by_attack, strict_sooner, twins, within


def column(table, name):
    at = table.columns.index(name)
    return {row[0].value: row[at] for row in table.rows}


def test_removed_and_every_kind_of_false_alarm_stand_in_one_row(evaluation):
    made = strict(evaluation.models[0])
    assert made.columns == (
        "Guard", "Attacks removed", "False alarms, plain", "False alarms, unusual", "False alarms, in role-play",
        "Limits kept", "Minus sri-autoencoder", "Removed at a realised 1.0 %",
    )  # fmt: skip
    assert [row[0].value for row in made.rows][:2] == ["sri-autoencoder", "sri-few-labels"]
    assert column(made, "False alarms, unusual")["mahalanobis"].detail.replace("\xa0", " ") == "2.5 to 6.1; 20 of 500"


def test_a_limit_that_is_not_kept_is_named(evaluation):
    cell = column(strict(evaluation.models[0]), "Limits kept")["sri-autoencoder"]
    assert (cell.value, cell.remark) == ("no", "not plain, role-play")


def test_the_reference_is_not_compared_with_itself_and_signs_are_signs(evaluation):
    cells = column(strict(evaluation.models[0]), "Minus sri-autoencoder")
    assert cells["sri-autoencoder"].value == "–"
    assert (
        cells["mahalanobis"].value == "\u221214.0 points" and cells["mahalanobis"].counts == "31 more, 49 fewer of 696"
    )


def test_a_threshold_moved_on_test_prompts_says_that_none_such_ships(evaluation):
    made = strict(evaluation.models[0])
    assert "no such threshold ships" in made.note
    assert column(made, "Removed at a realised 1.0 %")["mahalanobis"].remark == "false alarms, unusual 5.0 %"


def test_what_a_guard_gains_beyond_the_wrapper_is_in_points_with_both_sides(evaluation):
    made = beyond(evaluation.models[0])
    cell = column(made, "sri-autoencoder")["parallel"]
    assert cell.value == "+30.8" and cell.interval.startswith("+") and cell.remark == "removed 61.8 %, harmless 31.0 %"
    assert "flip" not in [row[0].value for row in made.rows]


def test_attacks_without_a_twin_are_listed_apart(evaluation):
    for made in (beyond(evaluation.models[0]), within(evaluation.models[0])):
        assert "Without a harmless twin, so that nothing of this is known: flip: ready-made prompts." in made.note


def test_rules_that_are_not_final_are_in_the_detailed_table(evaluation):
    names = [row[0].value for row in twins(evaluation.models[0]).rows]
    assert "sri-autoencoder, at every step: infill" in names and "refusal-phrases: infill" in names
    assert len(strict_by_attack(evaluation.models[0]).rows) == 6


def test_guards_that_decide_before_the_end_have_a_table_of_their_own(evaluation):
    names = [row[0].value for row in strict_sooner(evaluation.models[0]).rows]
    assert names == [f"{name}, at every step" for name in ("sri-autoencoder", "sri-few-labels", "mahalanobis")]


def test_an_evaluation_without_them_shows_neither(evaluation):
    old = replace(evaluation.models[0], guards=tuple(
        replace(guard, wrappers=(), strict=()) for guard in evaluation.models[0].guards
    ))  # fmt: skip
    assert not any(make(old).rows for make in (strict, strict_by_attack, strict_sooner, beyond, within, twins))
    text = tables(replace(evaluation, models=(old,)))
    assert "strict" not in text and "wrapper:" not in text


def test_markdown_and_terminal_show_them(evaluation):
    text, shown = tables(evaluation), describe(evaluation)
    for name in ("diffusion", "causal"):
        assert f"**The strict rule: {name}**" in text and f"The strict rule: {name}" in shown
        assert f"minus false alarms in the same wrapper: {name}" in shown
    assert re.search(r"mahalanobis +48\.\d % \(", shown)
