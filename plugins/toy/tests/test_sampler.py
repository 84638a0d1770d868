"""The toy sampler: one token per step, and obedient in between."""

import pytest
import sri_plugin_toy.model as toy
import torch
from sri_plugin_toy.hook import ToyHook
from sri_plugin_toy.sampler import STEPS, ToySampler

from sri_sdk import Encoded, Intervention, SriError

HOOK = ToyHook(toy.build(0))
TOKENIZER = toy.ToyTokenizer()


def steps(*texts: str):
    prompts = HOOK.encode(TOKENIZER, list(texts))
    return ToySampler().steps(HOOK, prompts, [f"p{i}" for i in range(len(texts))])


def test_each_step_fixes_the_leftmost_open_token() -> None:
    found = list(steps("how are you?", "hi"))
    assert [step.index for step in found] == list(range(STEPS))
    for step in found:
        assert step.committed.tolist() == [[position <= step.index for position in range(STEPS)]] * 2
        assert step.active.tolist() == [True, True]


def test_it_generates_what_the_models_own_loop_does() -> None:
    prompts = HOOK.encode(TOKENIZER, ["how are you?", "hi"])
    own = HOOK.model.generate(prompts.input_ids, prompts.attention_mask)
    *_, last = steps("how are you?", "hi")
    assert torch.equal(last.draft, own[:, -STEPS:])


def test_a_row_does_not_depend_on_its_company() -> None:
    *_, alone = steps("hi")
    *_, together = steps("how are you?", "hi")
    assert torch.equal(alone.draft[0], together.draft[1])


def test_an_aborted_row_keeps_its_canvas_and_the_others_go_on() -> None:
    running = steps("how are you?", "hi")
    next(running)
    step = running.send(Intervention(abort=(0,), remask=torch.ones(2, STEPS, dtype=torch.bool)))
    assert step.active.tolist() == [False, True]
    assert step.committed.sum(1).tolist() == [1, 1]
    *_, last = running
    assert last.committed[0].sum() == 1


def test_a_batch_of_aborted_rows_ends() -> None:
    running = steps("hi")
    next(running)
    with pytest.raises(StopIteration):
        running.send(Intervention(abort=(0,)))


def test_opened_positions_are_filled_again_within_the_budget() -> None:
    running = steps("hi")
    for _ in range(3):
        next(running)
    opened = torch.zeros(1, STEPS, dtype=torch.bool)
    opened[0, 0] = True
    step = running.send(Intervention(remask=opened))
    assert step.committed.tolist() == [[True, True, True, False, False, False, False, False]]
    assert len(list(running)) == STEPS - 4


def test_a_model_without_a_mask_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ToyHook, "mask_id", lambda self: None)
    prompt = torch.tensor([[5]])
    with pytest.raises(SriError, match="has no mask token"):
        next(ToySampler().steps(HOOK, Encoded(prompt, torch.ones_like(prompt)), ["p"]))
