"""What watching costs a LLaDA of eight billion parameters: bfloat16, random weights, 128 tokens in 32 steps.

Three ways to run it, each beside its own baseline: eager, compiled, and compiled with CUDA graphs. Generations with and
without the watch, final rule, take turns; their tokens are compared, the watch adds no graph break, and how often each
step waits for the device is counted. Aim: 0.02 % of the generation. Needs a GPU with 24 GB or more:

    make bench ARGS="-k 8b"

The same code on a small model, on any machine, to see that it runs (its shares mean nothing):

    make bench ARGS="-k 8b --tiny"
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from bench_overhead import inside, watched
from guards import CELLS, made_up_guard
from models import STEPS, Subject
from paired import race
from sri_plugin_llada.stand_ins import model as double
from sri_plugin_llada.stand_ins.sampling import generate
from stopwatch import ONCE
from torch._dynamo.utils import counters
from torch.profiler import ProfilerActivity, profile

from sri_sdk import registry
from sri_sdk.capture.identity import fingerprint
from sri_sdk.grid import StepGrid
from sri_sdk.scoring.guard import Guard

TOKENS, PROMPT = 128, 64
HOW = {"eager": None, "compiled": {}, "cuda graphs": {"mode": "reduce-overhead"}}
"""How it runs -> options of `torch.compile`; None = not compiled."""
WAITS = {
    "cuda": ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize"),
    "cpu": ("aten::_local_scalar_dense", "aten::nonzero"),
}
"""What the profiler calls a wait for the device; on a CPU, what would be one."""


@dataclass(frozen=True)
class Size:
    """Of the model, and of what is measured."""

    device: str
    dtype: torch.dtype
    shape: double.DoubleConfig
    perceptron: int
    rounds: int
    profiled: int


FULL = Size(
    "cuda", torch.bfloat16, double.DoubleConfig(d_model=4096, n_heads=32, n_layers=32, vocab_size=126_464),
    # Two matrices of 4,096 x 18,432 hold as many weights as the three of 4,096 x 12,288 of the real one.
    perceptron=18_432, rounds=20, profiled=9,
)  # fmt: skip
TINY = Size("cpu", torch.float32, double.DoubleConfig(), perceptron=64, rounds=3, profiled=2)


class Said(NamedTuple):
    """What the real model's output is to a compiler: something it can follow."""

    logits: torch.Tensor


class Whole(double.LLaDAModelLM):
    """The double, in one piece under `torch.compile`."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> Said:
        """[B, L] ids -> `.logits` [B, L, V]."""
        return Said(self.model.forward(input_ids)[0])


# The hook goes by the name of the class.
Whole.__name__ = "LLaDAModelLM"


def llada(size: Size, folder: Path) -> Subject:
    """The double in that shape under a guard, which is written into `folder`."""
    with torch.device(size.device), torch.random.fork_rng():
        torch.manual_seed(0)
        torch.set_default_dtype(size.dtype)
        try:
            model = Whole(size.shape)
            for block in model.model.transformer.blocks:
                block.ff_proj = torch.nn.Linear(size.shape.d_model, size.perceptron, bias=False)
                block.ff_out = torch.nn.Linear(size.perceptron, size.shape.d_model, bias=False)
        finally:
            torch.set_default_dtype(torch.float32)
    model.eval().requires_grad_(False)
    # A trained model never says "mask".
    model.model.transformer.ff_out.weight[double.MASK] *= 0.1
    ids = torch.randint(10, size.shape.vocab_size, (1, PROMPT), generator=torch.Generator().manual_seed(0))
    ids = ids.to(size.device)

    def run() -> torch.Tensor:
        with torch.inference_mode():
            tokens = generate(model, ids, steps=STEPS, gen_length=TOKENS, block_length=TOKENS)
            # Here the seconds end: what is launched is not done.
            return tokens.cpu()

    hook = registry.load("hooks", "llada")(model)
    printed = fingerprint(
        hook, pooling="response", layers=("final",), grid=StepGrid(CELLS, "step", STEPS),
        sampler={"name": "made-up", "budget": STEPS},
    )  # fmt: skip
    made_up_guard(printed, folder)
    return Subject(model, hook, Guard.load(folder), run)


def waits(call: Callable[[], object], device: str) -> int:
    """How often a call waits for the device."""
    on = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    with profile(activities=on) as seen:
        call()
    return sum(event.count for event in seen.key_averages() if event.key in WAITS[device])


def breaks(call: Callable[[], object]) -> int:
    """How often the compiler gave up in the middle of a function, of those it compiles during a call."""
    counters.clear()
    call()
    return sum(counters["graph_break"].values())


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Nothing that one way compiled is there for the next, and its weights are gone."""
    yield
    torch._dynamo.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@pytest.fixture
def size(pytestconfig: pytest.Config) -> Size:
    """The full one, or the small one where the command line says so."""
    if pytestconfig.getoption("--tiny"):
        return TINY
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU with 24 GB; --tiny runs the same on a small model")
    return FULL


@pytest.mark.parametrize("how", HOW)
def bench_8b(benchmark, report, tmp_path, size, how):
    it, options = llada(size, tmp_path), HOW[how]
    if options is not None:
        # A whole graph or an error; on a CPU, not in C++, which takes a minute.
        options = {"backend": "aot_eager"} if size.device == "cpu" else options
        it.model.compile(fullgraph=True, **options)
    plain = it.generate()
    assert breaks(lambda: watched(it, "final")) == 0
    tokens, verdict = watched(it, "final")
    assert torch.equal(tokens, plain)
    assert verdict.steps_seen == STEPS, verdict.reasons
    assert verdict.status != "unmonitored", verdict.reasons

    compiled = counters["stats"]["unique_graphs"]
    seconds = race(benchmark, {"final": lambda: watched(it, "final"), "without": it.generate}, rounds=size.rounds)
    _, shares, parts = inside(it, "final", size.profiled)
    again = counters["stats"]["unique_graphs"] - compiled
    assert again == 0, f"{again} graphs were compiled while the two took turns"

    each = [waits(call, size.device) for call in (lambda: watched(it, "final"), it.generate)]
    once, rest = sum(parts[part] for part in ONCE), 1e3 * np.median(seconds["without"])
    where = torch.cuda.get_device_name() if size.device == "cuda" else "a CPU, compiled without Inductor"
    name = f"{sum(w.numel() for w in it.model.parameters()) / 1e9:.2g}B on {where}"
    report(f"{how}: paired", 100 * (seconds["final"] / seconds["without"] - 1), "%", name)
    report(f"{how}: per step", 1e3 * (seconds["final"] - seconds["without"]) / STEPS, "ms", f"of {rest / STEPS:.3g} ms")
    report(f"{how}: inside the tap", shares, "%", f"once {once:.2g} ms of {rest:.0f}")
    more = (each[0] - each[1]) / STEPS
    report(f"{how}: waits per step that the watch adds", [more], "", f"{each[1] / STEPS:.3g} without")
