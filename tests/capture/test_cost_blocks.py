"""What a pass costs on average over a whole generation, where blocks move: passes are asked about many at once, so what
that costs shows in the mean and not in a step in the middle."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import sri_sdk
from sri_sdk import registry
from sri_sdk.capture import passes
from sri_sdk.capture.run import Run
from sri_sdk.capture.tap import tap_of
from tests.capture.conftest import example_of
from tests.capture.test_cost import around_callbacks, settings_for
from tests.counting import Operations

Generate = Callable[[Any], Any]


def sdar(case: Any) -> Any:
    return case.generate(case.encoded, gen_length=96, stopping_criteria_idx=[])


def fast_dllm(case: Any) -> Any:
    rows = [row[real.bool()] for row, real in zip(case.encoded.input_ids, case.encoded.attention_mask, strict=True)]
    lengths, mask = [len(row) for row in rows], case.hook.mask_id()
    done = case.hook.model.mdm_sample(
        torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=mask), tokenizer=None, max_new_tokens=96,
        min_len=min(lengths), seq_len=torch.tensor(lengths), block_size=8, small_block_size=4, stop_token=-5,
    )  # fmt: skip
    return type(case.hook).responses(done, lengths)


def llada2(case: Any) -> Any:
    options = {"gen_length": 128, "block_length": 32, "threshold": 0.95, "editing_threshold": 0.9}
    return case.hook.model.generate(case.encoded.input_ids, **options)


def canvases(case: Any) -> Any:
    return case.generate(case.encoded)


MOST: dict[str, tuple[Generate, int]] = {
    "sdar": (sdar, 6), "fast-dllm-v2": (fast_dllm, 6), "llada2": (llada2, 14), "diffusion-gemma": (canvases, 7),
}  # fmt: skip
"""Family -> a generation, and torch operations of its tap per pass at most, what is read at the end of blocks included.
A pass by itself takes two or three. The model of `diffusion-gemma` leaves a canvas after five passes."""


def per_pass(family: str, *, one_by_one: bool = False) -> tuple[float, Run]:
    case = example_of(family)
    with pytest.MonkeyPatch.context() as patched:
        if one_by_one:
            patched.setattr(passes, "says_how_it_goes_on", lambda hook: False)
        run = Run(case.hook, settings_for(case.hook, live=False))
    tap = tap_of(case.hook.model)
    with (
        around_callbacks(Operations) as found,
        tap.installed(case.hook, run),
        tap.owned_by(run),
        torch.inference_mode(),
    ):
        run.returned(MOST[family][0](case))
    run.finish()
    return sum(found) / len(found), run


@pytest.mark.parametrize("family", MOST)
def test_a_pass_costs_no_more_on_average_than_is_stated(family: str) -> None:
    found, run = per_pass(family)
    before, same = per_pass(family, one_by_one=True)
    assert not [reason for trace in run.traces for reason in trace.reasons]
    assert [trace.steps for trace in run.traces] == [trace.steps for trace in same.traces]
    assert (run.signals.sigma == same.signals.sigma).all() and (run.signals.logit == same.signals.logit).all()
    assert found <= MOST[family][1] < before, f"{family}: {found:.1f} operations a pass, {before:.1f} one by one"


@pytest.mark.parametrize(("family", "sampler"), [("lab-diffusion", "low-confidence"), ("lab-causal", "autoregressive")])
def test_a_driven_pass_costs_no_more_on_average_than_is_stated(family: str, sampler: str) -> None:
    found, phi = {}, {}
    for one_by_one in (False, True):
        hook_class = registry.load("hooks", family)
        loaded = hook_class.load(hook_class.Config())
        hook = hook_class(loaded.model)
        prompts = [sri_sdk.Prompt(str(row), "how do i bake the bread ?", "harmless") for row in range(2)]
        with pytest.MonkeyPatch.context() as patched:
            if one_by_one:
                patched.setattr(passes, "says_how_it_goes_on", lambda hook: False)
            options = {"tokens": 24} | ({"steps": 24} if sampler == "low-confidence" else {})
            settings = settings_for(hook, live=False)
            batch = sri_sdk.drive(hook, loaded, registry.build("samplers", sampler, options), prompts, settings)
            with around_callbacks(Operations) as counts:
                for _ in batch:
                    pass
        assert not [reason for trace in batch.run.traces for reason in trace.reasons]
        found[one_by_one], phi[one_by_one] = sum(counts) / len(counts), batch.run.signals
    assert (phi[False].logit == phi[True].logit).all()
    assert found[False] <= 13 < found[True], found
