"""The estimate for a billion a day: the simulation counts everything, and its page shows what is kept."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.scale import minute, promise, tables, turns
from benchmarks.scale.by_hand import WITHIN
from benchmarks.scale.day import DAY_S, Fleet, Outage, databases_needed, day, fleet
from benchmarks.scale.measured import FOLDER, read
from benchmarks.scale.money import costs
from benchmarks.scale.plan import Plan
from sri_sdk.calibrate.plan import Traffic
from sri_sdk.metrics.audit import measure
from sri_sdk.serve.batching import MOST_ROWS
from sri_sdk.strict_json import parse

MEASURED = read()
SMALL = Plan(generations=2e6, bursts=2)
OUTAGE = Outage(14 * 3600, 1800, databases=1.0)


def small(**changes):
    """A fleet whose one database is half full at the peak of a small day."""
    return replace(Fleet(scorers=1, databases=1, spools=4), **changes)


def slowed(rows_per_s):
    """The plan with a database that takes so many rows a second."""
    return replace(SMALL, slower=SMALL.slower * MEASURED.rows_per_s("postgresql", SMALL.slower) / rows_per_s)


# -- the day ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def troubled():
    """Half a day's trouble: scorers and databases are gone for a while, and a spool has too little room."""
    lost = Outage(14 * 3600, 1800, scorers=1.0, databases=1.0)
    return day(slowed(50), MEASURED, small(spool_bytes=4_000_000), lost, runs=2)


def test_every_generation_ends_as_scored_unmonitored_or_waiting(troubled):
    assert (troubled.ended.sum(1) == troubled.scored.sum(1) + troubled.late.sum(1) + troubled.unscored[:, -1]).all()
    assert (troubled.late.sum(1) > 0).all() and (troubled.dropped.sum(1) > 0).all()


def test_every_observation_is_stored_dropped_or_waiting_in_every_second(troubled):
    came = (troubled.scored + troubled.late).cumsum(1)
    assert (came == troubled.stored.cumsum(1) + troubled.dropped.cumsum(1) + troubled.waiting).all()
    assert min(part.min() for part in (troubled.stored, troubled.dropped, troubled.waiting, troubled.late)) == 0


def test_a_spool_with_room_for_all_but_a_few_drops_these_and_stores_the_others_as_if_it_had_room():
    plan = slowed(50)
    roomy = day(plan, MEASURED, small(), OUTAGE, runs=1)
    row = MEASURED["spool_bytes"]
    full = day(plan, MEASURED, small(spool_bytes=(roomy.waiting.max() - 3.5) / 4 * row), OUTAGE, runs=1)
    assert not roomy.dropped.any() and 0 < full.dropped.sum() < 500
    until = int(full.dropped.argmax())
    assert (full.stored[:, :until] == roomy.stored[:, :until]).all()
    assert full.stored.sum() + full.dropped.sum() == roomy.stored.sum()


def test_nothing_is_scored_while_no_scorer_is_there_nor_stored_without_a_database(troubled):
    gone = slice(14 * 3600 + 1, 14 * 3600 + 1800)
    assert not troubled.scored[:, gone].any() and not troubled.stored[:, gone].any()
    assert (troubled.late[:, gone] == troubled.ended[:, gone]).all()


def test_the_rows_that_wait_are_the_rate_times_the_wait():
    found = day(slowed(60), MEASURED, small(), OUTAGE, runs=2)
    waits, rows = found.waits()
    assert (found.waiting[:, -1] == 0).all()
    little = (waits * rows).sum(1) / found.waiting.sum(1)
    assert little == pytest.approx(1, abs=0.02)


def test_more_databases_never_store_a_row_later():
    plan = slowed(50)
    found = [day(plan, MEASURED, small(databases=count), OUTAGE, runs=2) for count in (1, 2, 4)]
    for fewer, more in itertools.pairwise(found):
        assert (more.stored.cumsum(1) >= fewer.stored.cumsum(1)).all()
        assert (more.quantiles((0.5, 0.99, 1.0)) <= fewer.quantiles((0.5, 0.99, 1.0))).all()
        assert (more.clear_s(OUTAGE) <= fewer.clear_s(OUTAGE)).all()


def test_more_scorers_leave_no_more_unmonitored():
    plan, lost = replace(SMALL, generations=3e8), Outage(14 * 3600, 1800, scorers=0.5)
    few, many = (day(plan, MEASURED, small(scorers=each, spools=1000), lost, runs=1) for each in (2, 4))
    assert many.late.sum() < few.late.sum() and few.late.sum() > 0


def test_a_day_is_the_same_under_its_seed_and_another_under_another():
    one, same, other = (day(SMALL, MEASURED, small(), OUTAGE, runs=1, seed=seed) for seed in (3, 3, 4))
    assert (one.stored == same.stored).all() and (one.ended == same.ended).all()
    assert (one.ended != other.ended).any()


def test_shares_do_not_depend_on_the_scale():
    plan = slowed(40)
    large = replace(plan, generations=4 * plan.generations)
    one = day(plan, MEASURED, small(), OUTAGE, runs=3)
    four = day(large, MEASURED, small(databases=4, spools=16, scorers=4), OUTAGE, runs=3)
    shares = [(each.waiting.max(1) / each.ended.sum(1)).mean() for each in (one, four)]
    assert shares[1] == pytest.approx(shares[0], rel=0.05)
    assert np.median(four.clear_s(OUTAGE)) == pytest.approx(np.median(one.clear_s(OUTAGE)), rel=0.15)


def test_the_fewest_databases_are_enough_and_one_less_is_not():
    plan = slowed(20)
    count = databases_needed(plan, MEASURED, small(), OUTAGE, runs=2, within_s=1800)
    enough, less = (day(plan, MEASURED, small(databases=each), OUTAGE, runs=2) for each in (count, count - 1))
    assert (enough.clear_s(OUTAGE) <= 1800).all() and not (less.clear_s(OUTAGE) <= 1800).all()


def test_generations_end_as_much_later_as_they_take():
    plan = replace(SMALL, bursts=0, tokens=90_000, tokens_spread=0.01)  # Half an hour each.
    late, soon = (
        day(each, MEASURED, small(), None, runs=1).ended[0, :DAY_S] for each in (plan, replace(plan, tokens=1))
    )
    hours = [each.reshape(24, 3600).sum(1) for each in (late, soon)]
    assert np.abs(late.sum() - plan.generations) < 5 * plan.generations**0.5
    middle = np.interp(np.arange(24) - 0.5, np.arange(-1, 24), [hours[1][-1], *hours[1]])
    assert hours[0] == pytest.approx(middle, rel=0.03)


# -- the minute ------------------------------------------------------------------------------------------------


def test_a_server_answers_one_after_the_other():
    served = minute.inline(np.array([0.0, 0.1, 5.0]), np.array([1.0, 1.0, 1.0]))
    assert served.waits == pytest.approx([1.0, 1.9, 1.0])


def test_a_slow_bundle_takes_all_that_waits_in_one_call_and_no_more_than_the_server_does():
    at = np.zeros(2 * MOST_ROWS + 1)
    served = minute.batched(at, np.zeros(len(at)), 1.0, 0.0)
    # All have come when the first call begins; a call has at most as many rows as the server's.
    assert sorted(set(served.waits)) == [1.0, 2.0, 3.0]
    assert (served.waits == 1.0).sum() == (served.waits == 2.0).sum() == MOST_ROWS


def test_what_has_no_room_before_a_slow_bundle_is_refused_and_counts_as_late():
    served = minute.batched(np.zeros(minute.QUEUE + 10), np.zeros(minute.QUEUE + 10), 1.0, 0.0)
    assert np.isinf(served.waits).sum() == 10 and served.late(60.0) == pytest.approx(10 / (minute.QUEUE + 10))


# -- the turns -------------------------------------------------------------------------------------------------


def steady(processes, seed=0, rate=2.0):
    commits = turns.Commits.of(Plan(), MEASURED)
    return turns.written(rate * processes, processes, 30.0, commits, seed)


def test_every_row_is_stored_or_still_in_a_spool():
    for processes in (5, 400):
        found = steady(processes)
        assert found.came == len(found.waits) + found.left
        assert found.waits.min() > 0


def test_more_processes_at_one_database_wait_longer_and_write_more_at_once():
    found = [steady(each) for each in (10, 60, 120)]
    for few, many in itertools.pairwise(found):
        assert np.median(many.waits) > np.median(few.waits) and many.rows_per_commit > few.rows_per_commit


def test_too_many_processes_give_up_their_turns():
    assert steady(60).failed == 0 and steady(60).steady
    assert steady(500).failed > 0.05 and not steady(500).steady


def test_turns_are_the_same_under_a_seed():
    assert (steady(20, 1).waits == steady(20, 1).waits).all()


# -- promises and money ----------------------------------------------------------------------------------------


def test_the_labels_that_are_said_to_suffice_do_and_one_less_does_not():
    found = promise.labels_row(Traffic(10**9, 1e-4, 0.5), 1e-4, 0.9e-4)
    alarms = round(10**9 * found.flagged_share)

    def standing(count):
        benign = round(count * 0.9e-4 * (1 - 1e-4) * 10**9 / alarms)
        return measure([
            promise.Some("flagged", alarms, count, benign, count - benign, 1.0),
            promise.Some("clear", 10**9 - alarms, count, count, 0, 1.0),
        ]).standing(1e-4)  # fmt: skip

    assert standing(found.flagged) == "kept" and standing(found.flagged // 2) == "not_known"


def test_a_small_alpha_bears_hardly_an_attack_among_its_calibration():
    row = promise.alpha_row(1e-4, Traffic(10**9, 1e-4, 0.5))
    assert row.fewest == 9_999 and row.false == pytest.approx(1e5, rel=1e-3)
    assert row.most_attacks is not None and 0 < row.most_attacks < 1e-4
    assert promise.most_contamination(9_999, 1e-4) is None


def test_twice_the_price_is_twice_the_money_and_nothing_else():
    plan = Plan()
    have = fleet(plan, MEASURED)
    before, after = costs(plan, MEASURED, have), costs(replace(plan, label=2 * plan.label), MEASURED, have)
    ratio = {a.stage: b.dollars / a.dollars for a, b in zip(before, after, strict=True)}
    assert ratio.pop("labels") == pytest.approx(2) and set(ratio.values()) == {1.0}


def test_an_assumption_is_changed_by_name_and_nonsense_is_refused():
    assert Plan.of(["generations=1e6", "alpha=0.01"]) == replace(Plan(), generations=1e6, alpha=0.01)
    refused = {
        "generation=1": "no assumption", "alpha=much": "no number", "alpha=2": "between 0 and 1", "full=1.5": "allowed",
        "slower=0": "allowed", "generations=nan": "allowed", "generations=5": "at least",
    }  # fmt: skip
    for wrong, words in refused.items():
        with pytest.raises(ValueError, match=words):
            Plan.of([wrong])


# -- the page --------------------------------------------------------------------------------------------------


def test_the_page_has_the_numbers_that_are_kept():
    page, kept = tables.PAGE.read_text(encoding="utf-8"), parse(tables.KEPT.read_bytes())
    assert tables.written(page, kept) == page, "python -m benchmarks.scale.tables writes it anew"
    assert tables.written(page.replace("| region", "| 9region"), kept) == page
    assert kept["plan"] == {name: value for name, (value, _) in Plan().words().items()}, (
        "run benchmarks.scale.run --keep"
    )


def test_what_is_quoted_from_a_page_stands_there():
    for each in MEASURED.figures.values():
        file = FOLDER / each.source
        assert file.exists(), each.source
        assert bool(each.quote) == (file.suffix == ".md"), f"{each.what}: what has no JSON is quoted from its page"
        if each.quote:
            assert each.quote in file.read_text(encoding="utf-8"), f"{each.source}: {each.quote}"


def test_the_envelope_agrees_with_the_simulation():
    kept = parse(tables.KEPT.read_bytes())
    assert len(kept["by_hand"]) == 5
    for each in kept["by_hand"]:
        assert 1 / WITHIN <= each["simulated"] / each["by_hand"] <= WITHIN, each["what"]


def test_both_scales_say_the_same():
    large, small_one = parse(tables.KEPT.read_bytes())["scales"]
    assert small_one["generations"] < large["generations"]
    assert small_one["waiting_share"]["median"] == pytest.approx(large["waiting_share"]["median"], rel=0.03)
    assert Path(tables.PAGE).with_suffix(".png").exists()
