"""Faults planted by somebody who has not read the checks: which check catches each, and what still passes."""

import pytest

from sri_sdk.testing import detector_checks, run_checks
from tests.testing import strangers_detectors

DETECTORS = {
    "GraphClipsSooner": "graph-parity",
    "GraphOfUnclippedLogits": "graph-parity",
    "GraphCountsRises": "graph-parity",
    "GraphSkipsZeros": "graph-parity",
    "GraphOfOneSignal": "graph-parity",
    "ExportTurnsTheMean": "graph-parity",
    "ScoreOfFirstLayer": "graph-parity",
    "ScoreInHalf": "graph-parity",
    "IgnoresLaterCells": "direction",
    "MixesRows": "row-order-and-company-irrelevant",
    "ScoresInBlocks": "row-order-and-company-irrelevant",
    "RemembersBatch": "row-order-and-company-irrelevant",
    "LearnsWhileScoring": "scoring-changes-nothing",
    "SharedByAll": "detectors-share-nothing",
    "AddsUpFits": "refit-equals-fit",
    "FitsByChance": "refit-equals-fit",
    "RisesAreSuspicious": "direction",
    "InfinityPasses": "nan-refused",
    "OtherLayersPass": "other-shapes",
    "OneSignalIsEnough": "fewest-is-true",
    "ScaleIsNotKept": "restored-equals",
    "SingleIsNoArray": "one-score-per-row",
    "FloorUnread": "options-are-kept",
}
"""Detector -> the check that catches it. None passes."""


def test_every_detector_of_a_stranger_is_listed() -> None:
    assert {fault.__name__ for fault in strangers_detectors.FAULTS} == set(DETECTORS)


@pytest.mark.parametrize("fault", strangers_detectors.FAULTS, ids=lambda fault: fault.__name__)
def test_a_strangers_faulty_detector_is_caught(fault) -> None:
    (found,) = run_checks(c for c in detector_checks(fault) if c.name == DETECTORS[fault.__name__])
    assert found.state == "failed", found


@pytest.mark.parametrize("check", detector_checks(strangers_detectors.Shortfall), ids=str)
def test_a_strangers_correct_detector_keeps_every_promise(check) -> None:
    check()
