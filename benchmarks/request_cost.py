"""What reading the request costs a generation on the lab's models, beyond the tap that is there anyway.

    python benchmarks/request_cost.py [--rounds 100]

The same generation twice in each round, in turns: with the tap on the last norm alone, and with every layer read over
the request's tokens as well. The difference of the time inside the tap is what the request costs. Beside it stands the
floor: summing the states of those tokens, once per layer, which no implementation can leave out.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from paired import Spread
from stopwatch import Stopwatch

from sri_sdk import registry
from sri_sdk.capture.locate import in_columns, locate
from sri_sdk.capture.pool_rows import sum_rows
from sri_sdk.capture.run import Run
from sri_sdk.capture.settings import watch_settings
from sri_sdk.capture.tap import tap_of
from sri_sdk.config.load import load_config
from sri_sdk.fitting.deployment import Deployment


def measure(config: str, batch: int, rounds: int) -> None:
    """Prints what one model and batch cost."""
    place = Deployment.open(load_config(Path(config)))
    hook, tokenizer = place.hook, place.loaded.tokenizer
    prompts = registry.build("datasets", "lab", {}).prompts("test", "harmless", batch)
    ids = [prompt.id for prompt in prompts]
    encoded = hook.encode(tokenizer, [prompt.text for prompt in prompts], None)
    spans = in_columns(locate(hook, tokenizer, encoded, None), encoded.attention_mask)
    layers = (*range(len(hook.layers())), "final")
    cases = {"tap": watch_settings(hook), "request": watch_settings(hook, request_layers=layers)}

    def inside(name: str) -> float:
        """Seconds inside the tap."""
        run = Run(hook, cases[name], ids, request_spans=spans if name == "request" else None)
        clock, tap = Stopwatch(), tap_of(hook.model)
        with torch.inference_mode(), clock.on(hook), tap.installed(hook, run), tap.owned_by(run):
            for _ in place.sampler.steps(hook, encoded, ids, 0):
                pass
            with clock.part("conclusion"):
                run.finish()
        assert name == "tap" or (run.request is not None and run.request.complete.all())
        return sum(clock.seconds.values())

    width, size = encoded.input_ids.shape[1], hook.hidden_size()
    states = [torch.randn(batch, width, size) for _ in layers]
    weights = torch.zeros(batch, width, dtype=torch.bool)
    for row, span in enumerate(spans):
        weights[row, slice(*(span or (0, 0)))] = True
    extra, base, floor = [], [], []
    for number in range(rounds + 3):
        order = ("tap", "request") if number % 2 else ("request", "tap")
        taken = {name: inside(name) for name in order}
        start = time.perf_counter()
        torch.stack([sum_rows(each, weights) for each in states], dim=1)
        summed = time.perf_counter() - start
        if number >= 3:  # The first ones warm up.
            extra.append(1e3 * (taken["request"] - taken["tap"]))
            base.append(1e3 * taken["tap"])
            floor.append(1e3 * summed)
    shown = {
        "the request": extra, "its sums alone": floor, "beyond them": list(np.subtract(extra, floor)), "the tap": base,
    }  # fmt: skip
    print(f"{place.config.model.hook}, batch {batch}, {len(layers)} layers, {int(weights.sum())} tokens of requests")
    for what, values in shown.items():
        found = Spread.of(np.array(values))
        print(f"  {what}: {found.median:.3f} ms ({found.low:.3f} to {found.high:.3f}), n = {found.n}")


def main() -> None:
    """Both models, alone and in a batch."""
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=100)
    rounds = options.parse_args().rounds
    torch.set_num_threads(1)
    for config in ("configs/lab-diffusion.yaml", "configs/lab-causal.yaml"):
        for batch in (1, 16):
            measure(config, batch, rounds)


if __name__ == "__main__":
    main()
