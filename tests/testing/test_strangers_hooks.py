"""The hook checks against faults that were written by somebody who had not read them."""

import pytest

from sri_sdk.errors import ConformanceError
from sri_sdk.testing import hook_checks, run_checks
from tests.testing.strangers_hooks import CORRECT, FAULTS

pytestmark = pytest.mark.usefixtures("quick_models")

CAUGHT = {
    "FitsByModelType": "fits-own-model",
    "FitsRaises": "fits-own-model",
    "NormInsideLastBlock": "tap-feeds-the-head",
    "ToyNormIsLastBlock": "tap-feeds-the-head",
    "LayersAreAttention": "layers-are-the-blocks",
    "LayersBeginWithEmbedding": "layers-are-the-blocks",
    "ToyEmbeddingOfPlaces": "steps-counted",
    "WidthOfMlp": "records-sane",
    "ToyMaskIsUnknown": "committed-is-shown",
    "ToyClaimsBlocks": "block-is-in-work",
    "DrawsNumbers": "tokens-unchanged-when-sampling",
    "ToyRewritesPadding": "tokens-unchanged",
    "ForgetsTheEnd": "tokens-unchanged",
    "KeepsPasses": "nothing-kept-alive",
    "LoadsTheFirstAgain": "loads-what-is-asked",
    "LoadsForTraining": "loads-what-is-asked",
    "EncodesLongestFirst": "texts-are-encoded",
    "EncodesSystemOnce": "texts-are-encoded",
    "EncodesFromCache": "texts-are-encoded",
    "ToyTokensBeginWithSpace": "texts-come-back",
    "ToyStartsOnTheRight": "texts-come-back",
    "DecodesWithoutLast": "texts-come-back",
    "DecodesToShortest": "texts-come-back",
    "LengthsWithoutEnd": "every-end-counts",
    "LengthsOfModelAlone": "every-end-counts",
    "ForwardGivesChances": "forward-is-the-model",
    "ForwardForgetsCache": "forward-is-the-model",
    "ForwardSharesCache": "forward-is-the-model",
    "ForwardTwice": "forward-is-the-model",
    "ForwardThroughNumpy": "half-precision-works",
    "NumbersBatchAsOneRow": "canvas-is-whole",
    "CountsFromFirstRealToken": "canvas-is-whole",
    "TextThatLooksLikePadding": "canvas-is-whole",
    "SpanOfWholePass": "phi-is-the-mean",
    "CounterOnSelf": "nothing-on-the-hook",
    "RestartsSilently": "one-generation-per-watch",
    "ToyOneRowEarly": "rows-mapped",
    "ToyCanvasBeginsAtFirstHole": "canvas-is-whole",
    "ToyPlanShiftsByOne": "shift-agrees",
    "CausalShiftIsZero": "shift-agrees",
    "LabPoolsBlindHalf": "guidance-half",
    "LabInterleavesGuidance": "guidance-half",
    "LabCommittedOfFirstRow": "committed-is-shown",
    "ToyCanvasIsItsHoles": "started-response-is-found",
    "ToyStartedColumnIsItsSize": "started-response-is-found",
    "EndNoticedLate": "steps-counted",
    "LastEndOnly": "steps-counted",
    "OneEndStopsAll": "steps-counted",
    "ActiveInPlace": "steps-counted",
    "CallsEndsUnread": "every-end-counts",
    "EndsReadOnce": "every-end-counts",
    "CallsMisnamed": "calls-are-seen",
    "ToyLastHoleAlone": "batch-1-equals-batch-n",
    "ToySkipsWarmUp": "steps-counted",
    "ToyReadingCounts": "finished-text-is-no-step",
    "LabActiveWhileUntouched": "steps-counted",
    "ToyTakenOneTooMany": "records-sane",
    "ToyExpectsOneMore": "capabilities-delivered",
    "CausalExpectsBudget": "capabilities-delivered",
    "CausalClaimsCommitted": "capabilities-delivered",
    "ToyPromptWithoutPadding": "canvas-is-whole",
}
"""Class of the fault -> the check that is for it."""

REFUSED = {
    "EncodesPaddingAsText": "prompts of 12, 12, 12 tokens",
    "EncodesShort": "prompts of 3, 10, 10 tokens",
}
"""Their examples encode by the hook's own method, and have no padding to check: refused with these words."""

PASSES = {
    "ForwardCountsPadding": "positions of the example's model are relative (rotary), so padding changes no logit",
}
"""What no check catches, and why."""

BY_NAME = {fault.__name__: fault for fault in FAULTS}


def test_every_fault_has_its_place() -> None:
    assert sorted([*CAUGHT, *REFUSED, *PASSES]) == sorted(BY_NAME)


@pytest.mark.parametrize("name", CAUGHT)
def test_a_strangers_fault_is_caught(name) -> None:
    (result,) = run_checks([check for check in hook_checks(BY_NAME[name].example) if check.name == CAUGHT[name]])
    assert result.state == "failed", result


@pytest.mark.parametrize("name", REFUSED)
def test_an_example_that_hides_a_fault_is_refused(name) -> None:
    with pytest.raises(ConformanceError, match=REFUSED[name]):
        hook_checks(BY_NAME[name].example)


# Toy and lab are ours, and checked elsewhere.
@pytest.mark.parametrize("hook", [CORRECT[0], *(BY_NAME[name] for name in PASSES)], ids=lambda hook: hook.__name__)
def test_what_is_right_or_without_effect_passes(hook) -> None:
    assert [result for result in run_checks(hook_checks(hook.example)) if result.state != "passed"] == []
