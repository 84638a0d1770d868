"""Which signal separates, on planted signals."""

import numpy as np
import pytest

from sri_sdk.config.evaluation import DetectorSection
from sri_sdk.evaluation.separate import area, separations, unseen_families
from sri_sdk.grid import StepGrid
from tests.evaluation.conftest import generations

AUTOENCODER = DetectorSection(name="autoencoder", options={"epochs": 60})
CELLS = 8


@pytest.fixture
def random():
    return np.random.default_rng(0)


def high(random, n, layers=2):
    return 0.95 + 0.02 * random.standard_normal((n, CELLS, layers)).clip(-2, 2)


def test_only_the_layer_with_the_dip_separates(random):
    train, harmless = generations(high(random, 80)), generations(high(random, 60), label="harmless", prefix="h")
    dipped = high(random, 40)
    dipped[:, 3:5, 1] = 0.4
    attacks = generations(dipped, prefix="a", attack="x")
    found = {
        s.name: s.auroc.value
        for s in separations(AUTOENCODER, train, harmless, attacks, (0, "final"), StepGrid(CELLS, "step", CELLS))
    }
    assert found["final layer"] > 0.99
    assert 0.3 < found["layer 0"] < 0.7 and 0.3 < found["first step"] < 0.7


def test_text_that_never_varies_is_scored_by_its_refusing_steps(random):
    """0 = refusal: only attacks show it, in the middle of a generation."""
    answered = np.full((40, CELLS), 2)
    train = generations(high(random, 40), drafts=answered)
    harmless = generations(high(random, 40), label="harmless", prefix="h", drafts=answered)
    wavering = answered.copy()
    wavering[:, 3:6] = 0
    attacks = generations(high(random, 40), prefix="a", drafts=wavering)
    text = separations(AUTOENCODER, train, harmless, attacks, (0, "final"), StepGrid(CELLS, "step", CELLS))[0]
    assert text.name == "text" and text.auroc.value == 1 and "does not vary" in text.note


def test_without_a_success_there_is_no_area(random):
    train, harmless = generations(high(random, 40)), generations(high(random, 20), label="harmless", prefix="h")
    refused = generations(high(random, 10), outcome="refusal", prefix="a")
    for attacks in (refused, None):
        rows = separations(AUTOENCODER, train, harmless, attacks, (0, "final"), StepGrid(CELLS, "step", CELLS))
        assert all(row.auroc is None for row in rows)


def test_a_family_that_looks_different_is_missed_when_it_is_left_out(random):
    train = generations(high(random, 80, 1), label="harmless", prefix="t")
    harmless = generations(high(random, 60, 1), label="harmless", prefix="h")

    def dip(cells, name):
        sigma = high(random, 60, 1)
        sigma[:, cells] = 0.3
        return generations(sigma, attack=name, prefix=name, bases=[f"base{i}" for i in range(60)])

    attacks = {"a": dip(slice(0, 2), "a"), "b": dip(slice(0, 2), "b"), "c": dip(slice(5, 7), "c")}
    rows = {
        r.name: r
        for r in unseen_families(
            DetectorSection(name="logistic"),
            train,
            harmless,
            attacks,
            {"a": "A", "b": "B", "c": "C"},
            ["final"],
        )
    }
    assert rows["A"].auroc.value > 0.99, "its twin B was seen"
    assert rows["C"].auroc.value < rows["A"].auroc.value
    assert rows["C"].note.startswith("1.000"), "seen, it is easy"


def test_one_family_alone_cannot_be_left_out(random):
    train = generations(high(random, 20, 1), label="harmless")
    assert unseen_families(DetectorSection(name="logistic"), train, train, {"a": train}, {"a": "A"}, ["final"]) == ()


def test_what_could_not_be_scored_counts_as_least_suspicious():
    part = generations(np.ones((4, CELLS)))
    found = area(np.array([2.0, np.nan]), np.array([0.0, 1.0]), part.prompts[:2], part.prompts[2:])
    assert found.value == 0.5
