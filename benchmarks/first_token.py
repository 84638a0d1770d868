"""What it costs to hold the first token until the verdict on the request is there.

    python benchmarks/first_token.py [--rounds 60]

The lab's causal model streams an answer to one harmless request, in turns: without a watch, with one that decides by
the rule `request`, and with one that holds the first token for it. The time to the first token is from the call to the
streamer's first token; ratios are within a round.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from paired import Spread

import sri_sdk
from sri_sdk import registry
from sri_sdk.config.load import load_config

CONFIG = """
version: 1
model: {hook: lab-causal}
sampler: {name: autoregressive, options: {tokens: 16}}
tap: {pooling: predicting, cells: 16}
request: {layers: all}
prompts: {dataset: lab}
judge: {name: lab}
folds:
  request: {split: fit, harmless: 40, harmful: 40}
  train: {split: fit, harmless: 20}
  reference: {split: fit, harmless: 20}
  calibration: {split: calibration, harmless: 99}
detector: {name: request}
calibrate: {alpha: 0.01}
policy: {rule: request, flagged: abort, unmonitored: report}
"""


class Clock:
    """A streamer that knows when the first token came."""

    def __init__(self) -> None:
        self.puts, self.first = 0, 0.0

    def put(self, _: Any) -> None:
        """The prompt comes first, then token after token."""
        self.puts += 1
        if self.puts == 2:
            self.first = time.perf_counter()

    def end(self) -> None:
        """The generation is over."""


def main() -> None:
    """One model, one request."""
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=60)
    rounds = options.parse_args().rounds
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "guard.yaml"
        path.write_text(f"{CONFIG}out: {folder}/guard\n")
        fitted = sri_sdk.fit(load_config(path))
    place = fitted.deployment
    model, tokenizer = place.loaded.model, place.loaded.tokenizer
    (prompt,) = registry.build("datasets", "lab", {}).prompts("test", "harmless", 1)
    encoded = place.hook.encode(tokenizer, [prompt.text])
    given = {"attention_mask": encoded.attention_mask, "max_new_tokens": 16, "do_sample": False}

    def one(name: str) -> tuple[float, float]:
        """Seconds to the first token, and to the last."""
        clock = Clock()
        if name == "unwatched":
            start = time.perf_counter()
            model.generate(encoded.input_ids, streamer=clock, **given)
            return clock.first - start, time.perf_counter() - start
        with sri_sdk.watch(
            model, fitted.guard, rule="request", abort=True, tokenizer=tokenizer, hold_first_token=name == "held"
        ):
            start = time.perf_counter()
            model.generate(encoded.input_ids, streamer=clock, **given)
            whole = time.perf_counter() - start
        return clock.first - start, whole

    names, random = ("unwatched", "watched", "held"), np.random.default_rng(0)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for number in range(rounds + 5):
        for name in random.permutation(names):
            found = one(name)
            if number >= 5:  # The first ones warm up.
                taken[name].append(found)
    seconds = {name: np.array(found) for name, found in taken.items()}
    for what, column in (("first token", 0), ("whole answer of 16 tokens", 1)):
        for name, base in (("watched", "unwatched"), ("held", "watched")):
            ratio = Spread.of(seconds[name][:, column] / seconds[base][:, column])
            more = Spread.of(1e3 * (seconds[name][:, column] - seconds[base][:, column]))
            print(
                f"{what}, {name} against {base}: {ratio.median:.3f} ({ratio.low:.3f} to {ratio.high:.3f}); "
                f"{more.median:+.2f} ms ({more.low:+.2f} to {more.high:+.2f}), n = {ratio.n}"
            )


if __name__ == "__main__":
    main()
