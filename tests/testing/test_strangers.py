"""Faults planted by somebody who has not read the checks: which check catches each, and what still passes."""

import pytest

from sri_sdk.testing import detector_checks, run_checks, sampler_checks
from tests.testing import strangers_detectors, strangers_samplers

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


SAMPLERS = {
    "AbortsEveryone": "honours-abort",
    "AbortedGoesOn": "honours-abort",
    "ReopensStopped": "honours-remask",
    "ReopensLikeFirstRow": "honours-remask",
    "SameTensorEachStep": "gives-new-tensors",
    "ActiveAfterwards": "active-is-truthful",
    "DraftHasHoles": "fills-the-canvas",
    "CommittedBefore": "fills-the-canvas",
    "CountsFromOne": "steps-rise-by-one",
    "CausalStopsWithFirstRow": "ends-where-the-model-ends",
    "CausalNeverEnds": "ends-where-the-model-ends",
    "CausalFirstEndOnly": "ends-where-the-model-ends",
    "CausalEndByHand": "ends-where-the-model-ends",
    "CausalEndUncommitted": "active-is-truthful",
    "CausalClaimsFixed": "fixed-takes-its-budget",
    "OneGeneratorForAll": "rows-independent",
    "SeedsByRow": "seed-and-id-decide",
    "SeedsByPromptAlone": "seed-and-id-decide",
    "ZeroIsNoSeed": "seed-and-id-decide",
    "KeepsFirstSeed": "seed-and-id-decide",
    "KeepsGenerators": "same-seed-same-tokens",
    "SeedsByHash": "seed-and-id-decide",
    "GlobalGenerator": "same-seed-same-tokens",
    "IgnoresTemperature": "seed-and-id-decide",
    "SharesStepsInBatch": "rows-independent",
    "ForgetsRemainder": "fills-the-canvas",
    "StepsOnAfterRemask": "stops-at-budget",
    "StopsAtEndToken": "fixed-takes-its-budget",
    "StopsWithFirstRow": "honours-abort",
    "OneTokenTooMany": "stops-at-budget",
    "LooksTwice": "watched-equals-unwatched",
    "ShiftsAlways": "commits-what-is-predicted",
    "PaddingIsText": "padding-is-not-text",
    "StartedOfFirstRow": "keeps-what-was-started",
    "StartedAtTheEnd": "keeps-what-was-started",
    "WritesIntoPrompts": "gives-new-tensors",
    "ClaimsCanvas": "drives-its-schemes",
}
"""Sampler -> the check that catches it. None passes."""


def test_every_sampler_of_a_stranger_is_listed() -> None:
    assert {fault.__name__ for fault in strangers_samplers.FAULTS} == set(SAMPLERS)


@pytest.mark.parametrize("fault", strangers_samplers.FAULTS, ids=lambda fault: fault.__name__)
def test_a_strangers_faulty_sampler_is_caught(fault) -> None:
    if "canvas" in fault.schemes:
        pytest.importorskip("transformers", minversion="5.11")  # No older one has a canvas model to try it on.
    checks = sampler_checks(lambda: strangers_samplers.case(fault))
    (found,) = run_checks(check for check in checks if check.name == SAMPLERS[fault.__name__])
    assert found.state == "failed", found


@pytest.mark.parametrize("sampler", strangers_samplers.CORRECT, ids=lambda sampler: sampler.__name__)
def test_a_strangers_correct_sampler_keeps_every_promise(sampler) -> None:
    results = run_checks(sampler_checks(lambda: strangers_samplers.case(sampler)))
    assert {result.state for result in results} == {"passed"}, results


def test_every_detector_of_a_stranger_is_listed() -> None:
    assert {fault.__name__ for fault in strangers_detectors.FAULTS} == set(DETECTORS)


@pytest.mark.parametrize("fault", strangers_detectors.FAULTS, ids=lambda fault: fault.__name__)
def test_a_strangers_faulty_detector_is_caught(fault) -> None:
    (found,) = run_checks(c for c in detector_checks(fault) if c.name == DETECTORS[fault.__name__])
    assert found.state == "failed", found


@pytest.mark.parametrize("check", detector_checks(strangers_detectors.Shortfall), ids=str)
def test_a_strangers_correct_detector_keeps_every_promise(check) -> None:
    check()
