"""What steering did, as the page, the Markdown file and `sri eval` show it."""

from dataclasses import replace

from sri_sdk.cli.eval import describe
from sri_sdk.report.evaluation_sections import sections
from sri_sdk.report.markdown import tables
from sri_sdk.report.steering_figures import _in_text
from sri_sdk.report.steering_tables import candidates, claims, effects, guards


def rows_of(table):
    return {row[0].value: row for row in table.rows}


def test_a_verdict_stands_with_the_difference_that_it_rests_on(evaluation):
    made = claims(evaluation)
    assert made.columns == ("Claim", "diffusion", "diffusion-2", "causal")
    cell = rows_of(made)["Ablation takes refusals away."][1]
    assert (cell.value, cell.counts) == ("reproduced", "n = 500")
    assert cell.interval == "+97.4 points, +95.6 to +98.8"
    assert rows_of(made)["Late blocks matter."][1].interval.startswith("\u221225.0 points")


def test_what_is_claimed_of_other_models_only_is_a_dash(evaluation):
    made = rows_of(claims(evaluation))
    assert made["Late blocks matter."][3].value == "–" == made["Not there."][1].value
    assert (made["Not there."][3].value, made["Not there."][3].remark) == ("reproduced", "no direction there")


def test_refusals_stand_beside_those_of_the_same_prompts_without_steering(evaluation):
    row = rows_of(effects(evaluation.models[0]))["Ablated in some steps: 0 to 25 %"]
    assert [cell.value for cell in row[1:]] == ["harmful", "2.4 %", "97.6 %", "98.6 %"]
    assert row[2].counts == "12 of 500"


def test_a_guard_shows_what_it_flags_with_and_without_the_direction(evaluation):
    row = rows_of(guards(evaluation.models[0]))["sri-autoencoder"]
    assert [cell.counts for cell in row[1:]] == [
        "12 of 480", "31 of 60", "13 of 500", "480 of 500", "4 of 500", "5 of 500",
    ]  # fmt: skip
    assert row[0].note == "2 generations not scored"


def test_candidates_say_how_many_prompts_chose_among_them(evaluation):
    made = candidates(evaluation.models[0])
    assert "On 64 harmful and 64 harmless validation prompts" in made.note and "block 2, post+1" in made.note
    assert rows_of(made)["block 2, post+1"][5].value == "best of its side"
    assert rows_of(made)["block 0, pre-1"][2].value == "90.0 %"


def test_all_of_it_is_in_the_markdown_and_the_claims_in_a_terminal(evaluation):
    text, said = tables(evaluation), describe(evaluation)
    assert "Claims of arXiv 2512.24143" in text and "Effects of steering: causal" in text
    assert "Guards without the refusal direction: diffusion" in text
    assert "ablation-refusal" in said and "reproduced (+97.4 points, +95.6 to +98.8)" in said


def test_an_evaluation_without_steering_says_nothing_of_it(evaluation):
    plain = replace(evaluation, models=tuple(replace(m, steering=None) for m in evaluation.models))
    assert "2512.24143" not in tables(plain) + describe(plain)
    (section,) = [s for s in sections(plain, {}) if s.name == "steering"]
    assert section.empty


def test_the_map_has_the_places_of_all_models_in_the_order_of_the_text():
    assert sorted(["post+1", "pre-1", "elsewhere", "post+10", "pre-12", "post+0"], key=_in_text) == [
        "pre-12", "pre-1", "post+0", "post+1", "post+10", "elsewhere",
    ]  # fmt: skip
