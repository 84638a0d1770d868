from dataclasses import replace

import numpy as np
import pytest

from sri_sdk.bundle.manifest_v2 import Manifest2, read_manifest
from sri_sdk.errors import BundleError, ModelMismatch, ScoringError
from sri_sdk.files import sha256
from sri_sdk.policy import Debounce
from sri_sdk.scoring.signal_files import read_signals, write_signals
from sri_sdk.strict_json import parse
from tests.scoring.parted import bundle, scorer_of, signals, sri_json

COLUMNS = ("sri@0", "sri@final", "request")
PARTS = {"harm": ("request",), "novelty": ("sri@0", "sri@final")}


@pytest.fixture(scope="module")
def two(scorer):
    return scorer_of(bundle(scorer.bundle, PARTS, columns=COLUMNS))


def changed(found, row, columns, value, cells=slice(None)):
    sigma = found.sigma.copy()
    sigma[row, cells, columns] = value
    return replace(found, sigma=sigma)


def judged(scorer, found, **more):
    return scorer.score(found, unverified=True, **more)


def test_any_part_flags_and_says_why(two):
    found = changed(changed(signals(5, 3), 0, 2, 0.1), 1, 0, 0.0)
    harm, novelty, clear = judged(two, found)
    assert (harm.status, harm.reasons, harm.schema) == ("flagged", ("harm_alarm",), 2)
    assert (novelty.status, novelty.reasons) == ("flagged", ("novelty_alarm",))
    assert (clear.status, clear.reasons) == ("clear", ())
    assert [(p.name, p.status) for p in harm.parts] == [("harm", "flagged"), ("novelty", "clear")]
    assert harm.score == harm.parts[0].score and harm.threshold == harm.parts[0].threshold
    assert harm.p_value == pytest.approx(2 / 201) and harm.parts[0].p_value == 1 / 201


def test_a_missing_request_costs_only_the_parts_that_read_it(two):
    found = changed(changed(signals(5, 2), slice(None), 2, np.nan), 1, 0, 0.0)
    found = replace(found, missing={"request": ("request_not_located", None)})
    blind, flagged = judged(two, found)
    assert (blind.status, blind.reasons, blind.score) == ("unmonitored", ("request_not_located",), None)
    assert [(p.status, p.reason) for p in blind.parts] == [("unmonitored", "request_not_located"), ("clear", None)]
    assert (flagged.status, flagged.reasons) == ("flagged", ("novelty_alarm", "request_missing"))


def test_the_request_is_judged_before_anything_was_generated(two):
    found = changed(changed(signals(5, 2), slice(None), [0, 1], np.nan), 0, 2, 0.1)
    found = replace(found, lengths=np.zeros(2, dtype=np.int64))
    harm, clear = judged(two, found, rule="request")
    assert (harm.status, [p.name for p in harm.parts], clear.status) == ("flagged", ["harm"], "clear")
    assert {v.status for v in judged(two, found, rule="online")} == {"unmonitored"}


def test_a_cut_generation_is_flagged_by_its_request_and_else_unmonitored(two):
    found = replace(changed(signals(5, 2), 0, 2, 0.1), lengths=np.array([3, 3]))
    harm, cut = judged(two, found)
    assert (harm.status, harm.reasons) == ("flagged", ("harm_alarm", "incomplete_signal"))
    assert (cut.status, cut.reasons) == ("unmonitored", ("incomplete_signal",))


def test_the_online_rule_names_the_step_of_the_first_part_that_alarms(two):
    found = changed(signals(5, 3), slice(None), slice(None), 0.85)
    found = changed(changed(found, 0, slice(0, 2), 0.0, slice(5, None)), 1, 2, 0.1)
    late, first, clear = judged(two, found, rule="online")
    assert (first.status, first.first_alarm_step) == ("flagged", 1)
    assert late.status == "flagged" and late.first_alarm_step == 11
    assert (clear.status, clear.first_alarm_step) == ("clear", None)
    lengths = np.array([8, 8, 8])
    assert two.alarms(two.score_prefix(found.sigma, lengths)).tolist() == [True, True, False]


def test_debounce_counts_alarms_of_each_part_and_leaves_the_request_alone(two):
    found = changed(signals(5, 4), slice(None), slice(None), 0.85)
    found = changed(changed(changed(found, 0, slice(0, 2), 0.0, slice(5, None)), 1, 2, 0.1), 2, slice(0, 2), 0.0, 7)
    late, first, once, short = judged(
        two, replace(found, lengths=np.array([8, 8, 8, 1])), rule="online", debounce=Debounce(alarms=2, of=2)
    )
    assert (first.status, first.first_alarm_step) == ("flagged", 1)
    assert (late.status, late.first_alarm_step) == ("flagged", 13)
    # Its one alarm, in the last cell, is none.
    assert once.status == "clear" and once.parts[1].score < once.parts[1].threshold
    assert (short.status, [p.status for p in short.parts]) == ("unmonitored", ["clear", "unmonitored"])
    assert short.reasons == ("incomplete_signal",)


def test_a_generation_says_how_it_ended_where_its_last_cell_is_known(two):
    found = changed(changed(signals(5, 4), 0, 1, 0.2, 7), 2, 1, np.nan, 7)
    found = replace(found, lengths=np.array([8, 8, 8, 7]))
    assert [v.ended for v in judged(two, found)] == ["refusing", "complying", None, None]
    assert judged(two, found, rule="request")[0].ended is None


def test_groups_have_thresholds_of_their_own_and_an_unknown_one_gets_the_largest(scorer):
    grouped = scorer_of(bundle(scorer.bundle, PARTS, columns=COLUMNS, groups=("de", "en")))
    found = replace(changed(signals(5, 4), slice(None), 2, 0.1), groups=("de", "en", "xx", None))
    de, en, other, unnamed = judged(grouped, found)
    assert de.threshold < en.threshold == other.threshold == unnamed.threshold
    assert (de.group, en.group, other.group) == ("de", "en", None)
    assert other.reasons == unnamed.reasons == ("harm_alarm", "unknown_group") and en.reasons == ("harm_alarm",)


def test_a_guard_may_read_requests_alone_and_judge_a_horizon(scorer):
    alone = scorer_of(bundle(scorer.bundle, {"harm": ("request",)}, columns=("request",), horizon=16))
    found = changed(signals(5, 2, columns=("request",)), 0, 0, 0.1)
    harm, clear = judged(alone, found)
    assert (harm.status, clear.status) == ("flagged", "clear")
    assert (harm.judged_steps, harm.ended) == (16, None)
    assert alone.rules == ("final", "online", "request")


def test_a_guard_of_format_1_refuses_signals_with_a_request(scorer, make_signals):
    with pytest.raises(ScoringError, match="the guard reads tapped layers only"):
        scorer.score(replace(make_signals(1, 5), columns=("request",)))


def test_signals_of_other_columns_or_another_map_are_refused(two):
    with pytest.raises(ScoringError, match="columns sri@1, sri@final, request, the guard reads sri@0"):
        judged(two, signals(5, 1, columns=("sri@1", "sri@final", "request")))
    print_ = {**two.manifest.fingerprint, "request_map": "2" * 64}
    with pytest.raises(ModelMismatch, match="request_map"):
        two.score(replace(signals(5, 1), fingerprint=print_))


def test_verdicts_of_format_2_as_json(two):
    (verdict,) = judged(two, signals(5, 1))
    assert set(verdict.to_dict()) == {
        "request_id", "status", "reasons", "score", "threshold", "p_value", "first_alarm_step", "steps_seen",
        "steps_expected", "rule", "bundle", "accepted", "judged_steps", "ended", "group", "parts", "schema",
    }  # fmt: skip
    assert verdict.to_dict()["parts"][0].keys() == {"name", "status", "score", "threshold", "p_value", "reason"}


def request_first(value):
    value["signal"]["columns"].insert(0, value["signal"]["columns"].pop())


BROKEN = {
    "two parts have one name": lambda v: v["parts"][1].update(name="harm"),
    "does not exist, twice, or not in order": lambda v: v["parts"][1].update(columns=["sri@final", "sri@0"]),
    "it comes last": request_first,
    "two columns have one name": lambda v: v["signal"]["columns"][1].update(name="sri@0"),
    "request map and column differ": lambda v: v["anchors"].update(request=None),
    "tier does not follow": lambda v: v.update(tier="python"),
    "groups are not sorted": lambda v: v.update(groups=["b", "a"]),
    "has other groups": lambda v: v.update(groups=["a"]),
    "rules must be final, online, request": lambda v: v["rules"].pop("request"),
    "more than its alpha": lambda v: v["rules"]["final"].update(alpha=0.001),
    "does not have the parts": lambda v: v["rules"]["online"]["parts"].pop("harm"),
    "horizon differs from the budget": lambda v: v.update(horizon={"steps": 3}, ended=None),
    "ended needs a column sri": lambda v: v["ended"].update(column="request"),
    "does not have the edges": lambda v: v["graphs"]["signal"]["outputs"]["score"].update(shape=["B", 3]),
    "Extra inputs": lambda v: v.update(detector={"name": "x", "config": {}, "tier": "portable"}),
}


@pytest.mark.parametrize("problem", BROKEN)
def test_a_manifest_of_format_2_that_contradicts_itself_is_refused(two, problem):
    value = parse(two.manifest.to_bytes())
    BROKEN[problem](value)
    value["digest"] = "0" * 64
    text = sri_json(value)
    content = text.replace("0" * 64, sha256(text.encode()), 1).encode()
    with pytest.raises(BundleError, match=problem):
        read_manifest(content, "guard")


def test_the_bytes_of_a_manifest_are_read_back_as_they_were(two):
    content = two.manifest.to_bytes()
    found = read_manifest(content, "guard")
    assert isinstance(found, Manifest2) and found.to_bytes() == content


def test_signals_in_files_name_their_columns_and_groups(tmp_path):
    made = signals(5, 2, groups=("de", None))
    write_signals(tmp_path / "signals.npz", made)
    rows = [{"id": i, "sigma": made.sigma[k].tolist()} for k, i in enumerate(made.ids)]
    rows[0]["group"] = "de"
    lines = [{"sri_signals": 1, "columns": list(COLUMNS)}, *rows]
    (tmp_path / "signals.jsonl").write_text("".join(f"{sri_json(line)}\n" for line in lines))
    for name in ("signals.npz", "signals.jsonl"):
        found = read_signals(tmp_path / name)
        assert (found.columns, found.groups) == (COLUMNS, ("de", None))
        assert np.array_equal(found.sigma, made.sigma)
    (tmp_path / "signals.jsonl").write_text(
        "".join(f"{sri_json(line)}\n" for line in [lines[0], {**rows[0], "group": 1}])
    )
    with pytest.raises(ScoringError, match="group is 1; allowed"):
        read_signals(tmp_path / "signals.jsonl")
