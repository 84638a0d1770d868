"""Guards that are judged by what their fits never saw."""

from __future__ import annotations

import numpy as np

from sri_sdk.evaluation.guards import GuardScores
from sri_sdk.evaluation.left_out import put_together
from sri_sdk.metrics.results import HIDDEN_STATES


def fit(threshold: float, **scores: list[float]) -> GuardScores:
    groups = {name.replace("_", " "): np.array(row, dtype=np.float64) for name, row in scores.items()}
    made = GuardScores(
        "fit", "parts asked (request); request map one", HIDDEN_STATES, threshold, "conformal", groups, 0.1
    )
    return made if threshold < 0 else GuardScores(
        "fit", made.source, HIDDEN_STATES, threshold, "conformal", groups, 0.1, others={"request": fit(-1.0, **scores)}
    )  # fmt: skip


FITS = {
    "without-flip": fit(1.0, attack_flip=[0, 2], twin_flip=[0, 0], attack_fiction=[9, 9], harmless=[2, 0, 0]),
    "without-fiction": fit(3.0, attack_flip=[9, 9], twin_flip=[9, 9], attack_fiction=[2, 4], harmless=[4, 4, 0]),
}
MADE = put_together("asked", FITS, {"flip": "without-flip", "fiction": "without-fiction"})


def test_an_attack_and_its_harmless_twins_are_judged_by_the_fit_that_never_saw_it() -> None:
    assert MADE.flagged("attack flip").tolist() == [False, True]
    assert MADE.flagged("twin flip").tolist() == [False, False]
    assert MADE.flagged("attack fiction").tolist() == [False, True]


def test_what_the_fits_share_is_judged_by_the_one_that_flags_most() -> None:
    assert MADE.flagged("harmless").tolist() == [True, True, False]


def test_scores_count_from_the_threshold_of_their_fit() -> None:
    assert MADE.threshold == 0.0
    assert MADE.scores["attack fiction"].tolist() == [-1, 1]


def test_every_rule_is_put_together_and_has_the_guards_name() -> None:
    assert MADE.name == MADE.rules()["request"].name == "asked"
    assert MADE.rules()["request"].flagged("attack flip").tolist() == [True, True]
