"""What watching costs a LLaDA of eight billion parameters on a GPU: bfloat16, random weights, 128 tokens in 32 steps.

Eager and compiled, paired rounds, final rule. Aim: 0.02 % of the generation. Needs a GPU with 24 GB or more:

    make bench ARGS="-k 8b"
"""

import numpy as np
import pytest
import torch
from bench_overhead import inside, watched
from guards import CELLS, made_up_guard
from models import STEPS, Subject
from paired import race
from sri_plugin_llada.stand_ins.model import DoubleConfig, LLaDAModelLM
from sri_plugin_llada.stand_ins.sampling import generate
from stopwatch import ONCE

from sri_sdk import registry
from sri_sdk.capture.identity import fingerprint
from sri_sdk.grid import StepGrid
from sri_sdk.scoring.guard import Guard

SHAPE = DoubleConfig(d_model=4096, n_heads=32, n_layers=32, vocab_size=126_464)
TOKENS, PROMPT, ROUNDS = 128, 64, 9


def eight_billion(folder):
    """The double in LLaDA-8B's width, depth and vocabulary; its perceptron holds as many weights."""
    with torch.device("cuda"), torch.random.fork_rng():
        torch.manual_seed(0)
        torch.set_default_dtype(torch.bfloat16)
        try:
            model = LLaDAModelLM(SHAPE)
            for block in model.model.transformer.blocks:
                # Two matrices of 4,096 x 18,432 hold as many weights as the three of 4,096 x 12,288 of the real one.
                block.ff_proj = torch.nn.Linear(4096, 18_432, bias=False)
                block.ff_out = torch.nn.Linear(18_432, 4096, bias=False)
        finally:
            torch.set_default_dtype(torch.float32)
    model.eval().requires_grad_(False)
    ids = torch.randint(10, SHAPE.vocab_size, (1, PROMPT), generator=torch.Generator().manual_seed(0)).cuda()

    def run() -> torch.Tensor:
        with torch.inference_mode():
            tokens = generate(model, ids, steps=STEPS, gen_length=TOKENS, block_length=TOKENS)
            torch.cuda.synchronize()
        return tokens

    hook = registry.load("hooks", "llada")(model)
    printed = fingerprint(
        hook, pooling="response", layers=("final",), grid=StepGrid(CELLS, "step", STEPS),
        sampler={"name": "made-up", "budget": STEPS},
    )  # fmt: skip
    made_up_guard(printed, folder)
    return Subject(model, hook, Guard.load(folder), run)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("how", ["eager", "compiled"])
def bench_8b(benchmark, report, tmp_path, how):
    it = eight_billion(tmp_path)
    if how == "compiled":
        # Watched first: code that was compiled before the first watch has no tap in it.
        it.model.compile()
        watched(it, "final")
    plain = it.generate()
    tokens, verdict = watched(it, "final")
    assert torch.equal(tokens, plain)
    assert verdict.steps_seen == STEPS, verdict.reasons

    seconds = race(benchmark, {"final": lambda: watched(it, "final"), "without": it.generate}, rounds=ROUNDS)
    _, shares, parts = inside(it, "final", ROUNDS)
    once = sum(parts[part] for part in ONCE)
    size = f"{sum(w.numel() for w in it.model.parameters()) / 1e9:.1f}B on {torch.cuda.get_device_name()}"
    report(f"{how}: paired", 100 * (seconds["final"] / seconds["without"] - 1), "%", size)
    report(f"{how}: inside the tap", shares, "%", f"once {once:.2g} ms of {1e3 * np.median(seconds['without']):.0f}")
