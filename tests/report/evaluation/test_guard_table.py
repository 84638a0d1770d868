"""What the page, the Markdown file and `sri eval` say of guards comes from one table."""

from dataclasses import replace

import pytest

from sri_sdk.cli.eval import describe
from sri_sdk.metrics.guard_table import guard_table, ordered, ours, overhead
from sri_sdk.metrics.rates import exact_rate
from sri_sdk.metrics.remaining import all_remaining, remaining


def test_our_guard_reads_hidden_states_wherever_it_stands(evaluation):
    model = evaluation.models[0]
    turned = replace(model, guards=model.guards[::-1])
    assert ours(turned).name == "mahalanobis"
    assert [guard.name for guard in ordered(turned)][:2] == ["mahalanobis", "refusal-phrases"]


@pytest.mark.parametrize(
    ("success", "removed", "left"),
    [((30, 100), (10, 30), (20, 100)), ((0, 100), None, (0, 100)), ((30, 100), (10, 29), None), ((0, 0), None, None)],
)
def test_what_remains_is_counted_only_over_the_same_successes(success, removed, left):
    found = remaining(exact_rate("s", *success), exact_rate("r", *removed) if removed else None)
    assert (found and (found.k, found.n)) == left


def test_a_remaining_share_with_its_own_interval_is_preferred(evaluation):
    model = evaluation.models[0]
    given = replace(exact_rate("remaining", 200, 1800), low=0.05, high=0.2)
    assert all_remaining(replace(model, guards=(replace(model.guards[0], remaining=given),))) == given


def test_overhead_is_a_share_and_never_a_zero_that_was_not_measured(evaluation):
    guard = evaluation.models[0].guards[0]
    shown = [overhead(replace(guard, overhead=value)) for value in (2.4e-4, 0.021, 0.46, 0.0, -1e-3, None)]
    assert shown == ["0.024 %", "2.1 %", "46 %", "none measurable", "none measurable", "not measured"]


def test_the_terminal_shows_each_guard_in_a_line_with_intervals(evaluation):
    text = describe(evaluation)
    line = next(line for line in text.splitlines() if line.startswith("sri-autoencoder"))
    assert "0.950 (0.936 to 0.964)" in line and "62.1 % (58.3 to 65.7)" in line and line.endswith("0.024 %")
    assert text.splitlines()[0].split() == ["Rate", "diffusion", "diffusion-2", "causal"]


def test_the_terminal_says_which_guards_did_not_run_and_that_a_run_was_a_quick_look(quick):
    left_out = replace(quick.models[0], guard_notes={"llama-guard": "needs a GPU."})
    text = describe(replace(quick, models=(left_out,)))
    assert "Not run: llama-guard: needs a GPU." in text and "at most 40 prompts per group" in text


def test_a_cell_that_could_not_be_measured_says_why(evaluation):
    rows = {row[0].value: row[1:] for row in guard_table(evaluation.models[0]).rows}
    assert rows["TPR at 0.1 % FPR"][3].detail == "needs 3,000 harmless generations, found 2,000"
