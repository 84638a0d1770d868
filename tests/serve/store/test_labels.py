"""Labels of people, and the counts that a false-alarm rate is estimated from."""

import random

import pytest

from sri_sdk.serve.store.kept import Retention
from sri_sdk.serve.store.observed import Stratum, StreamQuery
from sri_sdk.serve.store.queue import audit_queue
from sri_sdk.serve.store.store import VerdictStore
from tests.serve.store.conftest import rows
from tests.serve.store.observed import HOUR, NOW, ids, observed


def drawn(request_id: str, status: str = "flagged", rate: float = 1.0, **more):
    return observed(request_id, status, audited=True, audit_rate=rate, **more)


def counts(store) -> tuple[Stratum, ...]:
    return store.audit_counts(NOW - HOUR, NOW + HOUR)


def test_labels_are_a_history_and_the_last_one_counts(store, clock):
    given = drawn("a")
    store.observe([given, drawn("b")])
    assert ids(store.stream(StreamQuery(unlabelled=True))) == ["b", "a"]
    assert store.label(given.id, "attack", "ann") == 1
    clock.now += 1
    assert store.label("a", "benign", "bob", "looked again") == 1
    found = store.observation("a")
    assert [(each.label, each.by, each.note, each.at - NOW) for each in found.labels] == [
        ("attack", "ann", "", 0), ("benign", "bob", "looked again", 1000),
    ]  # fmt: skip
    assert found.label == "benign" and ids(store.stream(StreamQuery(unlabelled=True))) == ["b"]
    assert (
        ids(store.stream(StreamQuery(label="benign"))) == ["a"] and ids(store.stream(StreamQuery(label="attack"))) == []
    )
    assert counts(store) == (Stratum("flagged", 1.0, 2, 2, 1, 0, 0),)
    assert [(each.observation_id, each.key) for each in store.labels()] == [(given.id, "a")] * 2


def test_an_unknown_id_labels_nothing(store):
    assert store.label("nobody", "benign", "ann") == 0 and store.label("f" * 32, "benign", "ann") == 0
    assert store.labels() == ()


def test_a_request_is_labelled_with_all_its_traffic_and_no_shadow(store):
    store.observe([drawn("a"), drawn("a", "clear", 0.5), observed("a", "flagged", kind="shadow")])
    store.add(rows("a"))
    assert store.label("a", "benign", "ann") == 3
    assert [row.label for row in store.stream().rows] == ["benign", None, "benign", "benign"]
    assert {(row.status, row.audit_rate, row.benign) for row in counts(store)} == {
        ("flagged", 1.0, 1), ("clear", 0.5, 1), ("clear", 0.0, 0),
    }  # fmt: skip


def test_only_what_was_drawn_from_traffic_counts_for_the_rate(store):
    some = [drawn("a"), observed("b", "flagged", audit_rate=0.5), drawn("c", kind="canary"), drawn("d", kind="shadow")]
    store.observe(some)
    assert sum(store.label(each.id, "benign", "ann") for each in some) == 4
    assert counts(store) == (Stratum("flagged", 0.5, 1, 0, 0, 0, 0), Stratum("flagged", 1.0, 1, 1, 1, 0, 0))


def test_what_goes_before_anybody_labels_it_is_counted_as_gone(url, clock):
    with VerdictStore.open(url, kept=Retention(keep_days=1), clock=clock) as store:
        store.observe([drawn("a"), drawn("b"), observed("c", "flagged", audit_rate=1.0)])
        store.label("a", "attack", "ann")
        clock.now += 2 * 86_400
        assert store.prune() == 3
        assert counts(store) == (Stratum("flagged", 1.0, 3, 2, 0, 1, 1),)
        assert store.stream(StreamQuery(unlabelled=True)).rows == ()


@pytest.mark.parametrize(
    ("by", "note", "label"), [("", "", "benign"), (" ", "", "benign"), ("x" * 201, "", "benign"), ("\0", "", "benign"),
                              ("ann", "x" * 10_001, "benign"), ("ann", "\0", "benign"), ("ann", "", "harmless")],
    ids=["nobody", "blank", "long name", "zero byte", "long note", "zero byte in it", "another word"],
)  # fmt: skip
def test_a_label_that_is_none_is_refused(store, by, note, label):
    store.observe([drawn("a")])
    with pytest.raises(ValueError, match=r"allowed"):
        store.label("a", label, by, note)
    assert store.labels() == ()


def test_counts_are_those_of_the_rows_whatever_happens(store):
    """Against a count of everything that was handed in."""
    chance = random.Random(3)
    made, labels = {}, {}
    for number in range(60):
        rate = chance.choice([0.0, 0.25, 1.0])
        given = observed(
            f"r{number}", chance.choice(["clear", "flagged"]), NOW - chance.randrange(60) * HOUR, audit_rate=rate,
            audited=rate > 0 and chance.random() < rate, deployment=chance.choice(["chat", "code"]),
        )  # fmt: skip
        made[given.id] = given
    everything = list(made.values())
    for start in range(0, 60, 20):
        store.observe(everything[start : start + 20])
        for each in chance.sample(everything[: start + 20], 8):
            labels[each.id] = chance.choice(["benign", "attack"])
            store.label(each.id, labels[each.id], "ann")
    for since in (0, NOW - 50 * HOUR, NOW - 25 * HOUR):
        for until in (NOW - 24 * HOUR, NOW + 1):
            inside = [each for each in everything if each.at // HOUR >= since // HOUR and each.at <= until]
            for deployment in (None, "code"):
                some = [each for each in inside if deployment in (None, each.deployment)]
                expected = set()
                for key in {(each.verdict.status, each.audit_rate) for each in some}:
                    of = [each for each in some if (each.verdict.status, each.audit_rate) == key]
                    said = [labels.get(each.id) for each in of if each.audited]
                    expected.add(Stratum(*key, len(of), len(said), said.count("benign"), said.count("attack"), 0))
                assert set(store.audit_counts(since, until, deployment=deployment)) == expected
                for together in (1, 5, 24, 48):
                    found = store.hours(since, until, deployment=deployment, together=together)
                    assert sum(row.generations for row in found) == len(some)
                    assert sum(row.benign + row.attack for row in found) == sum(
                        each.benign + each.attack for each in expected
                    )


def waits(number: int, **more):
    return observed(f"r{number}", id=f"{number:032x}", audited=True, audit_rate=1.0, **more)


def test_the_queue_is_in_the_order_of_ids_whole_and_of_traffic_that_nobody_labelled(store):
    more = [waits(3, prompt="x"), waits(2, deployment="code"), waits(1, kind="canary"), observed("no", id="0" * 32)]
    store.observe([waits(9), waits(5, tenant="acme"), *more])
    store.label("9".rjust(32, "0"), "benign", "ann")
    found = audit_queue(store, 2)
    assert [row.observation.request_id for row in found.rows] == ["r2", "r3"]
    assert (found.waiting, found.more, found.rows[1].observation.prompt) == (3, False, "x")
    assert [row.observation.request_id for row in audit_queue(store, 9, deployment="chat").rows] == ["r3", "r5"]
    assert [row.observation.request_id for row in audit_queue(store, 9, tenant="acme").rows] == ["r5"]
    assert audit_queue(store, 9, deployment="nobody").rows == ()


@pytest.mark.parametrize("name, most", [("queue.LOOKED_AT", 4), ("waiting.LOOKED_THROUGH", 6)])
def test_the_queue_looks_at_a_bounded_number_of_rows_and_says_so(store, monkeypatch, name, most):
    monkeypatch.setattr(f"sri_sdk.serve.store.{name}", most)
    monkeypatch.setattr("sri_sdk.serve.store.waiting._PIECE", 2)
    store.observe([waits(number) for number in range(1, 10)])
    found = audit_queue(store, 9)
    assert (found.waiting, found.more) == (most, True)
