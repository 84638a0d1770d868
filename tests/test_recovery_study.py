"""The study of recovery chooses on other prompts than it is judged on, by the rule that is written down."""

from pathlib import Path

import pytest

from benchmarks.recovery.run import changed, choose, ends
from benchmarks.recovery.study import Candidate, read
from benchmarks.recovery.tables import BEGIN, END, averaged, percent, tables, written
from sri_sdk import registry
from sri_sdk.strict_json import parse

ROOT = Path(__file__).parents[1]
STUDY = read(ROOT / "benchmarks/recovery/study.yaml")


def row(result, made, id_="p"):
    return {"id": id_, "result": result, "made": made, "outcome": made, "text": made}


def test_no_wrapper_and_no_request_of_the_verdict_chooses_or_fits() -> None:
    assert not {*STUDY.choice.attacks} & {*STUDY.verdict.attacks}
    parts = STUDY.guard["prompts"]["options"]["subsets"]
    cells = [set(parts[name]["cells"]) for name in ("fit-known", "choice", "test-new")]
    assert sum(map(len, cells)) == len(set.union(*cells))
    dataset = registry.build("datasets", "lab", STUDY.guard["prompts"]["options"])
    asked = [
        {p.base or p.id for a in side.attacks for p in dataset.prompts(side.split, "harmful", 20, attack=a)}
        for side in (STUDY.choice, STUDY.verdict)
    ]
    assert asked[0] and asked[1] and not asked[0] & asked[1]
    assert STUDY.harmless.count >= 2000


@pytest.mark.parametrize("action", ["steer", "remask"])
def test_every_candidate_is_a_step_that_a_policy_takes(action: str) -> None:
    for candidate in STUDY.candidates["masked"]:
        step = candidate.step(Path("refusal.safetensors"))
        assert step.action == candidate.action and candidate.strength in (None, step.steers)
    assert action in {each.action for each in STUDY.candidates["masked"]}


def test_the_candidate_with_most_refusals_is_taken_then_the_one_that_garbles_least() -> None:
    one, two, three = (Candidate(rule="online", action="steer", strength=s) for s in (0.5, 1.0, 2.0))
    few, many = [row("refusal", "refusal"), row("alarm", "harmful")], [row("refusal", "refusal")] * 2
    assert choose([(one, few), (two, many)]) is two
    garbled = [row("refusal", "refusal"), row("alarm", "other")]
    assert choose([(one, garbled), (two, few), (three, few)]) is two


def test_a_refusal_text_is_no_refusal_of_the_model() -> None:
    found = ends(
        [{**row("alarm", "harmful"), "outcome": "refusal"}, {**row("nothing_to_open", None), "outcome": "refusal"}]
    )
    assert (found["n"], found["refusal"], found["harmful"], found["nothing"]) == (2, 0, 1, 1)


def test_harmless_responses_are_compared_prompt_by_prompt() -> None:
    before = [row(None, "harmless", "a"), row(None, "harmless", "b")]
    assert changed(before, before) == 0
    assert changed(before, [before[0], {**before[1], "text": "No."}]) == 1
    with pytest.raises(AssertionError):
        changed(before, before[::-1])


def test_passes_are_averaged_over_harmless_and_attacked_traffic() -> None:
    action = {"harmless": {"n": 100, "forwards": 200}, "attacks": {"n": 10, "flagged": 5}, "forwards_per_flag": 40.0}
    assert averaged(action, 0.0) == 2.0
    assert averaged(action, 0.1) == pytest.approx(0.9 * 2 + 0.1 * 20)
    assert percent(0, 0) == "none" and percent(1, 2).startswith("50.0 (1.3 to 98.7; n = 2)")


def test_a_page_keeps_its_words_around_the_tables() -> None:
    page = written(f"before {BEGIN} old {END} after", {})
    assert page.startswith("before ") and page.endswith(" after") and "old" not in page
    assert written(page, {}) == page


def test_the_page_shows_what_is_kept_and_nothing_else() -> None:
    page, kept = (ROOT / "benchmarks/recovery.md").read_text(encoding="utf-8"), ROOT / "benchmarks/recovery.json"
    inside = page.partition(BEGIN)[2].partition(END)[0]
    assert END in page
    if kept.exists():
        assert inside.strip() == tables(parse(kept.read_bytes()))
    else:
        assert not inside.strip(), "numbers that nothing was kept of"
