"""Observations of monitors: what is kept of them, and what operators find; on SQLite and on PostgreSQL."""

import math
import uuid

import numpy as np
import pytest

from sri_sdk.errors import SinkRejected
from sri_sdk.observation import Observation, Trajectory
from sri_sdk.records import PartVerdict, Verdict
from sri_sdk.serve.store.observed import StreamQuery, Stratum
from sri_sdk.serve.store.rows import Added, Delivered
from sri_sdk.serve.store.store import VerdictStore
from tests.serve.store.conftest import FOREVER, rows, verdict

HOUR = 3_600_000
NOW = 1_000_000_000
"""The clock of the tests, in milliseconds."""


def observed(request_id: str, status: str = "clear", at: int = NOW, **more) -> Observation:
    reasons = {"flagged": ("score_above_threshold",), "unmonitored": ("tap_silent",)}.get(status, ())
    return Observation(verdict(request_id, status, reasons=reasons), at, **{"deployment": "chat", **more})


def ids(page) -> list[str]:
    return [row.observation.request_id for row in page.rows]


def test_an_observation_comes_back_as_it_was(store):
    part = PartVerdict("map", "flagged", 1.5, 1.0, 0.01, "request_harmful")
    logit = np.array([[1.5, -2.0], [np.nan, 3.0], [0.25, np.inf]], dtype=np.float32)
    given = Observation(
        verdict("a", "flagged", 1.25, reasons=("request_harmful",), schema=2, parts=(part,)), NOW, kind="traffic",
        consequence="would_withhold", deployment="chat", model="small", tenant="t", audit_rate=0.25, audited=True,
        generation_s=1.5, scoring_s=0.004, trajectory=Trajectory(("sri@final", "request"), logit, 2),
        prompt="zero \0 and half \ud800", response="𝄞", drafts=("a", "ab"),
    )  # fmt: skip
    assert store.observe([given]) == Added(1, 0)
    found = store.observation(given.id)
    expected, read = given.to_dict(), found.observation.to_dict()
    assert expected.pop("prompt") and read.pop("prompt") == "zero \0 and half ?"
    assert read == expected and (found.label, found.labels) == (None, ())
    assert store.observation("a").observation.id == given.id and store.observation("a", tenant="other") is None
    (row,) = store.stream().rows
    assert row.observation.trajectory is None and row.observation.prompt is None
    (row,) = store.stream(StreamQuery(trajectories=True)).rows
    assert row.observation.trajectory.to_dict() == given.trajectory.to_dict()


def test_an_observation_delivered_again_counts_once(store):
    some = [observed(name) for name in "abc"]
    assert store.observe(some) == Added(3, 0)
    assert store.observe([*some, observed("d"), some[0]]) == Added(1, 4)
    assert store.totals()[0] == 4 and sum(row.generations for row in store.hours(NOW, NOW + 1)) == 4


def test_labels_are_a_history_and_the_last_one_counts(store):
    given = observed("a", "flagged", audited=True, audit_rate=1.0)
    store.observe([given, observed("b", "flagged", audited=True, audit_rate=1.0)])
    assert ids(store.stream(StreamQuery(unlabelled=True))) == ["b", "a"]
    assert store.label(given.id, "attack", "ann") == 1 and store.label("a", "benign", "bob", "looked again") == 1
    assert store.label("nobody", "benign", "bob") == 0
    found = store.observation("a")
    assert [(each.label, each.by, each.note) for each in found.labels] == [
        ("attack", "ann", ""), ("benign", "bob", "looked again"),
    ]  # fmt: skip
    assert found.label == "benign" and ids(store.stream(StreamQuery(unlabelled=True))) == ["b"]
    assert ids(store.stream(StreamQuery(label="any"))) == ids(store.stream(StreamQuery(label="benign"))) == ["a"]
    assert ids(store.stream(StreamQuery(label="attack"))) == []
    assert store.audit_counts(NOW, NOW + 1) == (Stratum("flagged", 1.0, 2, 2, 1, 0, 0),)
    assert [each.observation_id for each in store.labels()] == [given.id] * 2
