"""The tap inside the compiled decoding of transformers; `test_compiled.py` has the tap inside compiled code as such."""

import contextlib

import pytest
import torch
from sri_plugin_lab.hooks import LabCausalHook
from transformers import CompileConfig, LlamaConfig, LlamaForCausalLM

import sri_sdk
from tests.capture.test_compiled import forget, gap, graphs

__all__ = ["forget"]


@pytest.mark.parametrize("taped", [False, True], ids=["operator", "tape"])
def test_transformers_own_compiled_decoding_is_heard_from_the_prompt_to_the_last_token(taped: bool) -> None:
    shape = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(num_attention_heads=4, pad_token_id=0, eos_token_id=2, **shape)).eval()
    how = CompileConfig(backend="eager", fullgraph=True, mode=None)
    how._compile_all_devices = True  # Without it, transformers compiles on a GPU only.
    prompts = torch.tensor([[0, 0, 5, 6], [7, 8, 9, 10]])
    options = {"attention_mask": (prompts != 0).long(), "max_new_tokens": 6, "do_sample": False}
    static = {"cache_implementation": "static", "compile_config": how}
    with sri_sdk.watch(model, hook=LabCausalHook(model)) as plain:
        model.generate(prompts, **options)
    with contextlib.ExitStack() as stack:
        if taped:
            stack.enter_context(sri_sdk.DeviceTape(model, tokens=2 * (4 + 6), hook=LabCausalHook(model)))
        alone = model.generate(prompts, **options, **static)
        assert graphs() > 0, "nothing was compiled"
        unwatched = graphs()
        for _ in range(2):
            with sri_sdk.watch(model, hook=LabCausalHook(model)) as run:
                tokens = model.generate(prompts, **options, **static)
            made = graphs()
    assert torch.equal(alone, tokens) and gap(run, plain) < 1e-5 and graphs() == made
    assert [(trace.steps, trace.expected, trace.reasons) for trace in run.traces] == [(6, 6, ())] * 2
    # Code with a tape in it is the same watched or not.
    assert not taped or made == unwatched
