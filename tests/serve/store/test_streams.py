"""The stream: every filter alone and with others, pages that miss nothing, and a bound on what each looks at."""

import random

import pytest

from sri_sdk.observation import Observation
from sri_sdk.records import Verdict
from sri_sdk.serve.store.observed import Choices, StreamQuery
from sri_sdk.serve.store.store import VerdictStore
from tests.serve.store.conftest import FOREVER, rows
from tests.serve.store.observed import HOUR, NOW, ids, observed


def all_pages(store: VerdictStore, limit: int = 7, **filters) -> list[str]:
    found, before = [], None
    while True:
        page = store.stream(StreamQuery(before=before, limit=limit, **filters))
        found += ids(page)
        if page.next is None:
            return found
        assert before is None or page.next < before, "pages go on"
        before = page.next


def crowd(count: int) -> list[Observation]:
    """Observations of all kinds, the times in some disorder."""
    chance = random.Random(0)
    made = []
    for number in range(count):
        status = chance.choice(["clear", "clear", "flagged", "unmonitored"])
        reasons = {"flagged": ("score_above_threshold",), "unmonitored": (chance.choice(["tap_silent", "late"]),)}
        verdict = Verdict(f"r{number:03d}", status, reasons=reasons.get(status, ()), bundle=chance.choice("ab") * 64)
        drawn = chance.random() < 0.3
        deployment, model = chance.choice(["chat", "code"]), chance.choice(["small", "large"])
        each = Observation(
            verdict, NOW + number * 60_000 - chance.choice([0, 0, 3 * HOUR]), id=f"{chance.getrandbits(128):032x}",
            kind=chance.choice(["traffic", "traffic", "canary", "shadow"]), deployment=deployment, model=model,
            consequence=chance.choice(["released", "would_withhold"]), tenant=chance.choice(["", "x", "y"]),
            audited=drawn, audit_rate=0.3 * drawn,
        )  # fmt: skip
        made.append(each)
    return made


FILTERS = {
    "nothing": {},
    "status": {"status": "flagged"},
    "no status": {"status": "not_sampled"},
    "reason": {"reason": "tap_silent"},
    "no reason": {"reason": ""},
    "kind": {"kind": "shadow"},
    "deployment": {"deployment": "chat"},
    "nobody's deployment": {"deployment": "other"},
    "bundle": {"bundle": "a" * 64},
    "model": {"model": "small"},
    "consequence": {"consequence": "would_withhold"},
    "tenant": {"tenant": "x"},
    "no tenant": {"tenant": ""},
    "label": {"label": "attack"},
    "any label": {"label": "any"},
    "queue": {"unlabelled": True},
    "since": {"since_ms": NOW + HOUR},
    "until": {"until_ms": NOW + HOUR},
    "while": {"since_ms": NOW - HOUR, "until_ms": NOW + 90 * 60_000},
    "id": {"id": "r01"},
    "one id": {"id": "r017"},
    "some": {"status": "clear", "kind": "traffic", "deployment": "chat"},
    "tenant's": {"tenant": "x", "status": "flagged", "until_ms": NOW + 2 * HOUR},
    "queue of traffic": {"unlabelled": True, "kind": "traffic", "since_ms": NOW},
    "labelled flagged": {"label": "any", "status": "flagged", "tenant": "y"},
    "id of a deployment": {"id": "r0", "deployment": "code"},
    "everything": {
        "unlabelled": True, "tenant": "x", "status": "clear", "kind": "traffic", "reason": "", "since_ms": NOW - HOUR,
    },
}  # fmt: skip


def fits(given: Observation, label: str | None, filters: dict) -> bool:
    """What the filters say, one after the other."""
    verdict = given.verdict
    is_ = {
        "status": verdict.status, "reason": next(iter(verdict.reasons), ""), "kind": given.kind,
        "deployment": given.deployment, "bundle": verdict.bundle, "model": given.model,
        "consequence": given.consequence, "tenant": given.tenant,
    }  # fmt: skip
    return (
        all(is_[name] == wanted for name, wanted in filters.items() if name in is_)
        and (not filters.get("unlabelled") or (given.audited and label is None))
        and ("label" not in filters or (label is not None and filters["label"] in ("any", label)))
        and given.at >= filters.get("since_ms", 0)
        and given.at < filters.get("until_ms", 2**53)
        and verdict.request_id.startswith(filters.get("id", ""))
    )


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stream")
    made, chance = crowd(200), random.Random(1)
    with VerdictStore.open(f"sqlite:///{folder}/v.db", kept=FOREVER, clock=lambda: NOW / 1000) as store:
        for start in range(0, len(made), 30):
            store.observe(made[start : start + 30])
        labels = {each.id: chance.choice(["benign", "attack"]) for each in chance.sample(made, 40)}
        for name, label in labels.items():
            store.label(name, label, "ann")
        yield store, made, labels


@pytest.mark.parametrize("scanned", [10_000, 16])
@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS)
def test_pages_have_all_that_fits_and_nothing_else_the_newest_first(filled, filters, scanned, monkeypatch):
    monkeypatch.setattr("sri_sdk.serve.store.streams.SCANNED", scanned)
    monkeypatch.setattr("sri_sdk.serve.store.streams._PIECES", (2, 5))
    store, made, labels = filled
    expected = [each.request_id for each in reversed(made) if fits(each, labels.get(each.id), filters)]
    assert all_pages(store, **filters) == expected


def test_postgresql_answers_the_same(postgres, filled):
    _, made, _ = filled
    labels = {each.id: "attack" for each in made[100:110]}
    with VerdictStore.open(postgres.new_url(), kept=FOREVER, clock=lambda: NOW / 1000) as store:
        store.observe(made)
        for name, label in labels.items():
            store.label(name, label, "ann")
        for filters in FILTERS.values():
            expected = [each.request_id for each in reversed(made) if fits(each, labels.get(each.id), filters)]
            assert all_pages(store, limit=100, **filters) == expected, filters


def test_a_page_looks_at_a_bounded_number_of_rows(filled, monkeypatch):
    monkeypatch.setattr("sri_sdk.serve.store.streams.SCANNED", 10)
    store, _, _ = filled
    page = store.stream(StreamQuery(tenant="", label=None, until_ms=NOW - 2 * HOUR))
    assert page.rows == () and page.next


def test_an_observation_is_found_by_how_its_id_begins(store):
    some = [observed("a", id="abc" + "0" * 29), observed("b", id="abd" + "f" * 29), observed("c", id="0" * 32)]
    store.observe(some)
    store.add(rows("d"))
    assert ids(store.stream(StreamQuery(id="ab"))) == ["b", "a"] and ids(store.stream(StreamQuery(id="abc"))) == ["a"]
    assert [ids(store.stream(StreamQuery(id=each.id))) for each in some] == [["a"], ["b"], ["c"]]
    posted = store.stream(StreamQuery(id="d")).rows[0].observation
    assert ids(store.stream(StreamQuery(id=posted.id))) == ["d"] and ids(
        store.stream(StreamQuery(id=posted.id[:9]))
    ) == ["d"]


HOSTILE = ["%", "_", "a'; DROP TABLE sri_verdicts; --", "é", "𝄞" * 200, "\u202e", "<script>", "\U0010ffff"]


def test_hostile_ids_are_only_ids(store):
    store.observe([observed(each) for each in [*HOSTILE, "plain"]])
    for each in HOSTILE:
        assert ids(store.stream(StreamQuery(id=each))) == [each]
        assert store.observation(each).observation.request_id == each and store.label(each, "benign", "ann") == 1
    assert len(store.stream().rows) == len(HOSTILE) + 1


@pytest.mark.parametrize("limit", [0, 1_001])
def test_a_page_of_another_size_is_refused(store, limit):
    with pytest.raises(ValueError, match="1 to 1000"):
        store.stream(StreamQuery(limit=limit))


def test_filters_may_ask_for_what_was_seen(store):
    store.observe([observed("a", "flagged", model="small"), observed("b", deployment="code", kind="canary")])
    assert store.choices() == Choices(
        ("chat", "code"), ("b" * 64,), ("small",), ("clear", "flagged"), ("score_above_threshold",),
        ("canary", "traffic"), ("released",),
    )  # fmt: skip


def test_names_without_end_do_not_fill_the_database(store, monkeypatch):
    monkeypatch.setattr("sri_sdk.serve.store.series.MOST_SERIES", 3)
    store.observe([observed(f"a{number}", deployment=f"chat-{number}") for number in range(9)])
    store.observe([observed("b", deployment="late")])
    assert len(store.choices().deployments) == 3 and len(store.stream().rows) == 10
    assert sum(row.generations for row in store.hours(NOW, NOW + 1)) == 10
    assert store.observation("b").observation.deployment == "late", "the row itself still knows"


def test_a_reason_that_is_no_code_is_another_one(store):
    store.observe([Observation(Verdict("a", "unmonitored", reasons=("Some Words!",)), NOW)])
    assert ids(store.stream(StreamQuery(reason="other"))) == ["a"]
    assert store.observation("a").observation.verdict.reasons == ("Some Words!",)
