"""SmolLM2-135M-Instruct, which `make real-model` unpacks: parity on a few requests, and what the tap costs there.

Its guard's anchors are make-believe: half of their prompts are called refused, whatever was answered. Neither parity
nor cost depends on what a guard is worth.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.vllm.cost import measure
from benchmarks.vllm.engine import counting, listening, serve, start
from benchmarks.vllm.parity import compare

TOKENS, CELLS = 24, 8
VERBS = "bake fix draw sell paint find grow clean".split()
THINGS = "bread bikes maps coats walls water corn rugs".split()


def run(model: Path, guard: Path, folder: Path, *, requests: int, rounds: int) -> dict[str, Any]:
    """What came of it, as JSON types: `parity` and `cost`."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    if not (guard / "bundle").exists():
        fit(model, guard, tokenizer)
    asked = prompts(tokenizer, requests, seed=1)
    llm = start(model, guard, folder, max_model_len=256, max_num_seqs=16, max_num_batched_tokens=256)
    tap, heard = listening()
    passes = counting(tap)
    traffic = serve(llm, asked, seed=1, tokens=TOKENS, most=16)
    assert tap.desk.flush(300)
    answered = list(traffic.answered.values())
    parity = compare(model, guard, answered, heard, tokens=TOKENS, batch=16) | {
        "requests": len(answered),
        "batch": {"least": min(passes.sizes), "most": max(passes.sizes), "median": float(np.median(passes.sizes))},
        "passes": len(passes.sizes), "prompt_passes": passes.prompts,
        "prompt_passes_that_ended_within_it": passes.pieces, "preempted": 0,
        "prefix_hits": sum(each.cached > 0 for each in answered),
    }  # fmt: skip
    return {"parity": parity, "cost": measure(llm, tap, asked[:32], tokens=TOKENS, batch=16, rounds=rounds)}


def prompts(tokenizer: Any, count: int, *, seed: int) -> list[list[int]]:
    """Plain questions, as token ids in the chat template."""
    chance = random.Random(seed)
    rows = []
    for _ in range(count):
        words = f"How do I {chance.choice(VERBS)} {chance.choice(THINGS)}? In {chance.randrange(2, 90)} words."
        chat = tokenizer.apply_chat_template(
            [{"role": "user", "content": words}], add_generation_prompt=True, tokenize=False
        )  # fmt: skip
        rows.append(tokenizer(chat, add_special_tokens=False)["input_ids"])
    return rows


def fit(model: Path, guard: Path, tokenizer: Any) -> None:
    """The guard."""
    import torch
    from sri_exporter_onnx.exporter import OnnxExporter
    from sri_plugin_causal.hook import CausalHook
    from transformers import AutoModelForCausalLM

    import sri_sdk
    from sri_sdk import registry
    from sri_sdk.anchors import AnchorBuilder
    from sri_sdk.capture.identity import fingerprint
    from sri_sdk.fitting.build import fit_guard
    from sri_sdk.grid import StepGrid
    from sri_sdk.signal import sri

    live = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    hook, grid = CausalHook(live), StepGrid(cells=CELLS, mapping="step", budget=TOKENS)
    states = []
    rows = prompts(tokenizer, 80, seed=0)
    for first in range(0, len(rows), 20):
        some = rows[first : first + 20]
        width = max(map(len, some))
        ids = torch.tensor([[0] * (width - len(row)) + row for row in some])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in some])
        with sri_sdk.watch(live, hook=hook, grid=grid) as run:
            live.generate(ids, attention_mask=mask, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False)
        states += [grid.place(trace.phi, trace.clock) for trace in run.traces]
    builder = AnchorBuilder((CELLS, 1, hook.hidden_size()))
    for row, phi in enumerate(states[:20]):
        label, outcome = ("harmful", "refusal") if row < 10 else ("harmless", "harmless")
        builder.add(label, outcome, phi, prompt_id=str(row))
    printed = fingerprint(
        hook, pooling="predicting", layers=("final",), grid=grid, sampler={"name": "autoregressive", "budget": TOKENS}
    )  # fmt: skip
    anchors = builder.build(printed, {"judge": "none"})
    phi = np.stack(states[20:])
    sigma, logit = sri(phi, anchors.harmless, anchors.harmful)
    whole = sri_sdk.Signals(tuple(map(str, range(len(phi)))), sigma, logit, printed.to_dict())
    guard.mkdir(parents=True, exist_ok=True)
    anchors.save(guard / "anchors.npz")
    folds = whole.take(range(20)), whole.take(range(20, 40)), whole.take(range(40, 60))
    detector = registry.build("detectors", "mahalanobis")
    fit_guard(
        detector, "mahalanobis", *folds, anchors=anchors, exporter=OnnxExporter(), alpha=0.1, target=guard / "bundle"
    )  # fmt: skip
