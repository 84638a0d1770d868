"""What `Scorer.score` returns: arrays that behave as the list of their verdicts."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

from sri_sdk.records import PartVerdict, Verdict
from sri_sdk.scoring.bulk import in_bulk
from sri_sdk.scoring.verdicts import Verdicts
from tests.scoring import parted


@pytest.fixture(scope="module")
def two(scorer):
    parts = {"harm": ("request",), "novelty": ("sri@0", "sri@final")}
    made = parted.bundle(scorer.bundle, parts, columns=("sri@0", "sri@final", "request"), groups=("de", "en"))
    return parted.scorer_of(made)


def of_one_score(scorer, make_signals, rule):
    """Clear, flagged and unreadable ones; one of the flagged cannot be read to its end."""
    calm, dips = make_signals(6, 7), make_signals(6, 7, dip=6)
    sigma = np.concatenate([calm.sigma, dips.sigma])
    sigma[[1, 8], 31] = np.nan
    sigma[2, 3] = 2.0
    ids = tuple(f"g{row}" for row in range(12))
    return scorer.score(replace(calm, ids=ids, sigma=sigma, logit=sigma), rule=rule)


def of_parts(two, rule):
    found = parted.signals(5, 12, groups=("de", "en", "xx", None) * 3)
    found.sigma[[1, 4, 6], :, 2] = 0.1
    found.sigma[[4, 5], 2:, 0] = 0.0
    found.sigma[[7, 8], :, 2] = np.nan
    found.sigma[9, 3, 1] = np.inf
    return two.score(replace(found, lengths=np.array([8] * 11 + [3])), rule=rule, unverified=True)


@pytest.fixture(params=["final", "online", "parts final", "parts online", "parts request"])
def verdicts(request, scorer, two, make_signals):
    *parts, rule = request.param.split()
    return of_parts(two, rule) if parts else of_one_score(scorer, make_signals, rule)


def test_verdicts_are_a_sequence_like_the_list_of_them(verdicts):
    listed = list(verdicts)
    assert isinstance(verdicts, Verdicts) and {v.status for v in listed} == {"clear", "flagged", "unmonitored"}
    assert len(verdicts) == len(listed) == 12
    assert verdicts == listed == verdicts and verdicts == tuple(listed) and verdicts != listed[1:]
    assert repr(verdicts) == repr(listed)
    assert (verdicts[-1], verdicts[2:4], verdicts.index(listed[3])) == (listed[11], listed[2:4], 3)
    assert pickle.loads(pickle.dumps(verdicts)) == copy.deepcopy(verdicts) == listed  # noqa: S301
    with pytest.raises(IndexError):
        verdicts[12]


def test_one_that_is_asked_for_alone_is_the_one_of_all(verdicts):
    alone = [verdicts[row] for row in range(12)]
    assert verdicts._made is None
    assert alone == list(verdicts)


def test_every_verdict_is_what_its_constructor_makes(verdicts):
    for found in verdicts:
        fields = {name: getattr(found, name) for name in Verdict.__slots__}
        fields["parts"] = tuple(PartVerdict(*(getattr(p, n) for n in PartVerdict.__slots__)) for p in found.parts)
        assert Verdict(**fields) == found and hash(Verdict(**fields)) == hash(found)
        assert all(type(fields[name]) in (float, type(None)) for name in ("score", "threshold", "p_value"))


def test_the_arrays_say_what_the_verdicts_say(verdicts):
    assert verdicts.statuses == [v.status for v in verdicts]
    assert verdicts.flagged.tolist() == [v.status == "flagged" for v in verdicts]
    assert [None if np.isnan(p) else p for p in verdicts.p_values.tolist()] == [v.p_value for v in verdicts]


@pytest.mark.parametrize("rule", ["final", "online"])
def test_signals_that_change_after_the_call_change_no_verdict(scorer, make_signals, rule):
    signals = make_signals(4, 7)
    signals.sigma[1, 5] = np.nan
    expected = list(scorer.score(signals, rule=rule))
    later = scorer.score(signals, rule=rule)
    signals.sigma[:] = 9.0
    assert list(later) == expected


def test_no_generations_give_no_verdicts(scorer, two, make_signals):
    for found in (scorer.score(make_signals(0, 1)), scorer.score(make_signals(0, 1), rule="online")):
        assert list(found) == [] == found.statuses
    assert list(two.score(parted.signals(5, 0, groups=()), rule="online", unverified=True)) == []


@pytest.mark.parametrize("kind", [Verdict, PartVerdict])
def test_records_are_made_in_bulk_only_as_long_as_no_constructor_does_more(kind):
    assert not hasattr(kind, "__post_init__")


def test_fields_that_nobody_names_have_their_defaults():
    made = in_bulk(Verdict, 2, {"request_id": ["a", "b"]}, status="clear")
    assert made == [Verdict("a", "clear"), Verdict("b", "clear")]


def test_a_verdict_as_json_has_every_field_of_its_schema_in_order_and_lists_for_tuples(verdicts):
    later = ("judged_steps", "ended", "group", "parts")
    for found in verdicts:
        names = [name for name in Verdict.__slots__ if found.schema == 2 or name not in later]
        value = found.to_dict()
        assert list(value) == names
        for name in names:
            kept = getattr(found, name)
            if name == "parts":
                kept = [{each: getattr(part, each) for each in PartVerdict.__slots__} for part in kept]
            assert value[name] == (list(kept) if isinstance(kept, tuple) else kept)
