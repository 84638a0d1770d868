"""The promise on the lab's causal model, in small, and the stored results of the whole proof."""

import copy
from dataclasses import asdict, replace
from functools import cache

import numpy as np
import pytest
from sri_exporter_onnx.exporter import OnnxExporter

from sri_sdk.bundle.manifest_v2 import ALL
from sri_sdk.calibrate.conformal import conformal_rank
from sri_sdk.config.load import load_config
from tests.promise import cases, judge, report
from tests.promise.cases import WHOLE, key, leak, redraw
from tests.promise.judge import law_of
from tests.promise.law import Law, agreement
from tests.promise.pool import CONFIG, FIRST, SECOND, Pool, collect
from tests.promise.redraw import Case, Line, Sizes, draw, fit, lines, threshold, whole

SMALL = Case(
    "small", {"behaviour": "mahalanobis", "asked": "request"},
    {FIRST: Sizes(60, 20, 199, 200), SECOND: Sizes(40, 20, 199, 200)},
)  # fmt: skip
REDRAWS = 30
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # On a busy machine the pool takes minutes.
FINAL = Line("final", "behaviour", FIRST, 0.01, 0.5, None)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    config = load_config(CONFIG)
    folds = config.folds.model_copy(
        update={
            "anchors": config.folds.anchors.model_copy(update={"harmless": 40, "harmful": 40}),
            "request": config.folds.request.model_copy(
                update={"harmless": 60, "harmful": 60, "attacks": {}, "unusual": {}}
            ),
        }
    )
    config = config.model_copy(update={"folds": folds, "out": tmp_path_factory.mktemp("promise")})
    return collect({FIRST: 240, SECOND: 230}, unusual=40, config=config)


@pytest.fixture(scope="module")
def counted(pool: Pool) -> dict[str, dict[str, list[int]]]:
    made = [redraw(SMALL, pool, number) for number in range(REDRAWS)]
    return {kind: {name: [each[kind][name] for each in made] for name in made[0][kind]} for kind in made[0]}


def test_the_pool_holds_no_request_twice(pool: Pool) -> None:
    assert len(set(pool.signals.ids)) == len(pool.signals) == 940
    assert len({name.removesuffix("-second-language") for name in pool.signals.ids}) == 940


def test_no_generation_is_in_two_folds(pool: Pool) -> None:
    folds = draw(SMALL, np.array(pool.signals.groups), np.random.default_rng(0))
    rows = np.concatenate([folds.train, folds.reference, folds.calibration, folds.fresh])
    assert len(set(rows.tolist())) == len(rows) == 2 * (60 + 20 + 199 + 200) - 20


def test_a_redraw_sets_the_thresholds_that_the_whole_way_sets_and_finds_the_same_alarms(pool: Pool) -> None:
    groups = np.array(pool.signals.groups)
    folds = draw(SMALL, groups, np.random.default_rng(0))
    made = whole(SMALL, pool.signals, folds, pool.anchors, OnnxExporter(), 0.01)
    fitted = fit(SMALL, pool.signals.take(folds.train), pool.signals.take(folds.reference), OnnxExporter())
    calibration, fresh = (fitted.score(pool.signals.take(rows)) for rows in (folds.calibration, folds.fresh))
    room, scorer, flagged = fitted.noise(pool.signals.take(folds.calibration)), made.scorer(), {}
    for line in lines(SMALL):
        if (line.alpha, line.delta) != (0.01, None):
            continue
        k = list(SMALL.detectors).index(line.part)
        mine = groups[folds.calibration] == line.group
        limit = threshold(line, calibration.of(line.rule)[mine, k], float(room[line.rule][k]))
        shipped = made.parts.parts[k].rules[line.rule][line.group]
        assert limit is not None and limit.value == shipped.value and limit.rank == shipped.rank
        above = (fresh.of(line.rule)[:, k] > limit.value) & (groups[folds.fresh] == line.group)
        flagged[line.rule] = flagged.get(line.rule, np.zeros(len(above), bool)) | above
    for rule, above in flagged.items():
        verdicts = scorer.score(pool.signals.take(folds.fresh), rule=rule)
        assert [verdict.status == "flagged" for verdict in verdicts] == above.tolist()


def test_false_alarms_follow_the_law_for_every_rule_part_and_group(counted: dict[str, dict[str, list[int]]]) -> None:
    tried = [line for line in lines(SMALL) if key(line) in counted["alarms"]]
    assert {(line.rule, line.part) for line in tried} == {
        ("final", "behaviour"), ("online", "behaviour"), ("final", "asked"), ("online", "asked"), ("request", "asked"),
    }  # fmt: skip
    # What 199 prompts cannot promise is not there.
    assert {(line.alpha, line.delta) for line in tried} == {(0.01, None)}
    for line in tried:
        assert agreement(counted["alarms"][key(line)], law_of(SMALL, line)).p_value > 0.01 / len(tried), key(line)


def test_all_parts_together_keep_alpha(counted: dict[str, dict[str, list[int]]]) -> None:
    for rule in ("final", "online", "request"):
        for group in (FIRST, SECOND):
            alarms = counted["alarms"][key(replace(FINAL, rule=rule, part=WHOLE, group=group))]
            assert judge.mean_rate(alarms, 200)[1] < 0.01


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (replace(FINAL, rule="online"), "a threshold per length"),
        (FINAL, "interpolated quantile"),
        (FINAL, "20 % of other traffic"),
    ],
    ids=lambda given: given if isinstance(given, str) else given.rule,
)
def test_a_planted_fault_breaks_the_law(counted: dict[str, dict[str, list[int]]], line: Line, fault: str) -> None:
    assert agreement(counted["planted"][key(line, fault)], law_of(SMALL, line)).p_value < 0.001


def test_calibration_prompts_that_also_stand_in_the_fit_break_the_law(pool: Pool, monkeypatch) -> None:
    law = Law.of(500, 199, conformal_rank(199, 0.01))
    monkeypatch.setattr(cases, "LEAKY", Sizes(train=199, reference=0, calibration=199, fresh=500))
    apart, leaked = (
        agreement([leak("nearest-neighbours", pool, number, share)[0] for number in range(REDRAWS)], law)
        for share in (0.0, 1.0)
    )
    assert apart.p_value > 0.001 > leaked.p_value
    assert leaked.mean > 2 * apart.mean


# -- the whole proof, as it was run ------------------------------------------------------------------------------


@cache
def results():
    return report.results()


def test_the_stored_proof_is_as_large_as_it_says_and_finds_nothing_wrong() -> None:
    assert results()["redraws"] == 200 and results()["pool"]["generations"] == 24_000
    for case in cases.CASES:
        found = results()["cases"][case.name]
        assert found["folds"] == {group: asdict(sizes) for group, sizes in case.sizes.items()}
        assert all(len(counts) == 200 for counts in found["alarms"].values())
    assert judge.failures(results()) == []


def test_the_stored_proof_would_fail_if_one_promise_were_broken() -> None:
    broken = copy.deepcopy(results())
    name = key(replace(FINAL, group=SECOND))
    counts = broken["cases"]["two-parts"]["alarms"]
    counts[name] = broken["cases"]["two-parts"]["planted"][
        key(replace(FINAL, group=SECOND), "one threshold for all groups")
    ]
    assert any(name in each for each in judge.failures(broken))


def test_the_tables_of_the_page_are_those_of_the_stored_counts() -> None:
    page = report.PAGE.read_text(encoding="utf-8")
    assert report.written(page, report.stored()) == page, "run python -m tests.promise.report --write"


def test_a_guard_without_groups_promises_nothing_to_each_of_them() -> None:
    shown = judge.by_group(results())
    line = f"final|behaviour|{ALL}|0.01|-"
    assert max(shown[line, FIRST], shown[line, SECOND]) > 0.012
