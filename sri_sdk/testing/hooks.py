"""Promises of `sri.hooks`.

@pytest.mark.parametrize("check", hook_checks(MyHook.example), ids=str)
def test_my_hook_keeps_its_promises(check):
    check()
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sri_sdk.errors import ConformanceError
from sri_sdk.testing import _hook_canvas as canvas
from sri_sdk.testing import _hook_cause as cause
from sri_sdk.testing import _hook_count as count
from sri_sdk.testing import _hook_ends as ends
from sri_sdk.testing import _hook_forward as driven
from sri_sdk.testing import _hook_layers as layers
from sri_sdk.testing import _hook_life as life
from sri_sdk.testing import _hook_memory as memory
from sri_sdk.testing import _hook_plans as plans
from sri_sdk.testing import _hook_request as requests
from sri_sdk.testing import _hook_states as states
from sri_sdk.testing import _hook_steady as steady
from sri_sdk.testing import _hook_steering as steering
from sri_sdk.testing import _hook_text as text
from sri_sdk.testing._hook_case import Generate, HookCase, subject
from sri_sdk.testing._lazy import Promise, checks_of_cases
from sri_sdk.testing.check import Check

__all__ = ["HookCase", "hook_checks"]

Make = Callable[[], HookCase]


def _takes_batches(case: HookCase) -> bool:
    return case.batched


# In the order in which a new hook is best mended.
_PROMISES: tuple[Promise[HookCase], ...] = (
    Promise(
        "fits-own-model",
        "fits() accepts the family's own model, refuses a foreign one, and says why. Else users get the wrong hook.",
        life.fits_own_model,
    ),
    Promise(
        "silence-is-reported",
        "The tapped module runs in every generation, and a run that heard nothing is unmonitored, never clear.",
        states.silence_is_reported,
    ),
    Promise(
        "tap-feeds-the-head",
        "The tapped module's output is what the head reads: the state after the last norm, not before it.",
        states.feeds_the_head,
    ),
    Promise(
        "layers-are-the-blocks",
        "layers() lists the residual blocks, all of them, first to last. Else layer numbers mean other states.",
        layers.layers_are_the_blocks,
    ),
    Promise(
        "steering-reaches-every-block",
        "Where layers() and sublayers() point, a direction can be taken out of the states, in every pass and for good.",
        steering.steering_reaches_every_block,
    ),
    Promise(
        "steps-counted",
        "One record per step, and none for commit, encoder or verify passes. Else coverage is wrong on every run.",
        count.steps_counted,
    ),
    Promise(
        "finished-text-is-no-step",
        "A pass over the finished text, as commits and verifications are, counts for nobody, or is refused.",
        canvas.finished_text_is_no_step,
    ),
    Promise(
        "rows-mapped",
        "The row that plan() says predicts a position does: a token planted there comes out there, proven by cause.",
        lambda case: cause.check_rows(case),
    ),
    Promise(
        "shift-agrees",
        "shift() and the shift of every plan are one number. Else samplers and the tap read different rows.",
        canvas.shift_agrees,
    ),
    Promise(
        "block-is-in-work",
        "No pass shows what lies behind the block in work, by block_length(). Else samplers hide what the model sees.",
        canvas.block_is_in_work,
        lambda case: case.hook.scheme == "masked" and case.hook.block_length() is not None,
    ),
    Promise(
        "canvas-is-whole",
        "Canvas, prompt and rows agree with the tokens that the call returned, and a committed position keeps its row.",
        canvas.canvas_is_whole,
    ),
    Promise(
        "committed-is-shown",
        "`committed` names the positions at which the pass shows no mask, and mask_id() is the token of the others.",
        canvas.committed_is_shown,
        lambda case: case.hook.scheme == "masked",
    ),
    Promise(
        "phi-is-the-mean",
        "phi equals a float64 mean, taken by the kit, of the same states over the rows that plan() names.",
        states.phi_is_the_mean,
    ),
    Promise(
        "plans-stay",
        "The tensors of a plan stay as they were when it was handed over. The tap reads them again, many at once.",
        plans.plans_stay,
    ),
    Promise(
        "steady-passes-agree",
        "Where steady() speaks for many passes, they are what plan() would say of each. Else speed changes verdicts.",
        steady.steady_passes_agree,
    ),
    Promise(
        "padding-excluded",
        "A prompt gives the same phi with and without padding beside it.",
        states.padding_excluded,
        _takes_batches,
    ),
    Promise(
        "batch-1-equals-batch-n",
        "A request gives the same phi alone and in company. Else a verdict depends on who else was served.",
        states.company_excluded,
        _takes_batches,
    ),
    Promise(
        "steered-rows-stay-apart",
        "A request that is left alone beside steered ones is bit-identical; a steered one is the same alone.",
        steering.steered_rows_stay_apart,
        _takes_batches,
    ),
    Promise(
        "records-sane",
        "Traces are finite float32 arrays on the host, as wide as hidden_size() says, with no reason to doubt them.",
        states.records_sane,
    ),
    Promise(
        "capabilities-delivered",
        "Every capability claimed is delivered. Guards are accepted or refused by that list.",
        states.capabilities_delivered,
    ),
    Promise(
        "tokens-unchanged",
        "Tokens are bit-identical with and without a watch.",
        lambda case: life.tokens_unchanged(case, case.generate),
    ),
    Promise(
        "handles-removed",
        "No module hook is left behind, also when the model raises in the middle of a pass.",
        life.handles_removed,
    ),
    Promise(
        "two-runs-coexist",
        "Two generations in two threads on one hook are each watched as if alone.",
        life.two_runs_coexist,
    ),
    Promise(
        "nothing-on-the-hook",
        "The hook and its class stay as they are while it watches. Else generations disturb each other.",
        memory.nothing_is_kept_on_the_hook,
    ),
    Promise(
        "one-generation-per-watch",
        "A second generation in one watch is noticed. Else two are laid on one grid.",
        life.a_second_generation_is_noticed,
    ),
    Promise(
        "calls-are-seen",
        "The method that generates is one of `calls`. Else a watch sees neither its arguments nor what it returns.",
        life.calls_are_seen,
    ),
    Promise(
        "half-precision-works",
        "In bfloat16 neither a watch nor a driven pass fails where the model does not.",
        life.half_precision_works,
    ),
    Promise(
        "a-row-ends-early",
        "In the example one response ends before another. Else a hook that never ends a row passes, and pools padding.",
        count.a_row_ends_early,
        lambda case: case.hook.scheme == "autoregressive" and case.batched,
    ),
    Promise(
        "forward-is-the-model",
        "forward() gives the model's logits row by row, unshifted, padding inert, with a cache that goes on.",
        driven.forward_is_the_model,
        driven.is_offered,
    ),
    Promise(
        "started-response-is-found",
        "Where a driver started the response, `run.response` says where it lies, and the plan goes by it.",
        driven.started_response_is_found,
        lambda case: case.hook.scheme == "masked" and case.hook.block_length() is None and driven.is_offered(case),
    ),
    Promise(
        "request-is-the-mean",
        "What is read of a request is the mean of its own tokens' states: none of padding, of others, of the response.",
        requests.request_is_the_mean,
        requests.claims_requests,
    ),
    Promise(
        "every-end-counts",
        "Each of several end tokens ends a response, whether the model or the call names them.",
        ends.every_end_counts,
    ),
    Promise(
        "loads-what-is-asked",
        "load() gives a model that the hook fits, the same one again, and another where seed or weights are others.",
        text.loads_what_is_asked,
        text.loads_by_default,
    ),
    Promise(
        "texts-are-encoded",
        "encode() puts request and system prompt into every row, and pads on the left.",
        text.texts_are_encoded,
        text.has_tokenizer,
    ),
    Promise(
        "texts-come-back",
        "decode() gives one text per row, up to its end, without special tokens; tokens() adds none.",
        text.texts_come_back,
        text.has_tokenizer,
    ),
    Promise(
        "nothing-kept-alive",
        "Inputs and states die with their generation, the model with its last user. Else a server fills up.",
        life.nothing_kept_alive,
        builds_its_own=True,
    ),
    Promise(
        "tokens-unchanged-when-sampling",
        "Tokens are bit-identical with and without a watch, also when they are drawn.",
        lambda case: life.tokens_unchanged(case, _given(case.generate_sampled)),
        lambda case: case.generate_sampled is not None,
    ),
    Promise(
        "guidance-half",
        "Under classifier-free guidance the conditional half is watched, not the one without a prompt.",
        lambda case: cause.check_rows(case, _given(case.generate_guided)),
        lambda case: case.generate_guided is not None,
    ),
)


def hook_checks(make: Make, known: Mapping[str, str] | None = None, *, lazy: bool = False) -> list[Check]:
    """The promises of a hook as checks, each on a case of its own.

    Args:
        make: builds a fresh case; usually `MyHook.example`. What the case leaves out is not checked.
        known: check -> why it is known to fail. Strict: a marked check that passes is an error.
        lazy: list every promise and build no case before a check is called; one that the case leaves out then raises
            `unittest.SkipTest`. For tests whose collection should not build models.

    Raises:
        ConformanceError: the case cannot be checked, or a mark names no check.
    """
    return checks_of_cases(_PROMISES, lambda: _admitted(make), make, known, lazy=lazy)


def _given(generate: Generate | None) -> Generate:
    assert generate is not None, "the traits of a case do not change from one to the next"
    return generate


def _admitted(make: Make) -> HookCase:
    case = make()
    lengths = case.encoded.attention_mask.sum(1).tolist()
    if not case.batched and len(lengths) == 1:
        return case
    if len(lengths) < 3 or len(set(lengths)) < 3:
        raise ConformanceError(
            f"{subject(case)}: the case has prompts of {', '.join(map(str, lengths))} tokens; "
            "at least three prompts of different lengths are needed, or padding and company cannot be checked. A "
            "family whose call takes one prompt at a time: one prompt, and batched=False."
        )
    return case
