"""What a generation of the unpacked model costs, what the tap adds, and what reading the request adds.

    python -m benchmarks.real.speed [--batch 1 8 16 32] [--rounds 6] [--dtype float32] [--json FILE]

One thread. In each round every contender generates the same 32 tokens per request, in an order drawn anew: without a
tap, with the tap on the last norm, and with every block read over the request's tokens as well. Ratios are within a
round, with a 95 % bootstrap interval. Beside them stands the time inside the tap over the rest of the same run: sharp
where the ratio shows mostly noise, and it misses what module hooks cost torch itself.

Seconds are processor time of this process, so that other processes take none of it away. They still slow each other
down in the caches, and only ratios should be compared between machines.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.paired import Floats, Spread
from benchmarks.stopwatch import Stopwatch
from sri_sdk.capture.locate import in_columns, locate
from sri_sdk.capture.run import Run
from sri_sdk.capture.settings import watch_settings
from sri_sdk.capture.tap import tap_of
from sri_sdk.config.load import load_config
from sri_sdk.files import write_text
from sri_sdk.fitting.deployment import Deployment
from sri_sdk.strict_json import write

CONFIG = Path("configs/smollm2-135m.yaml")
REQUESTS = tuple(
    f"{how} {what}, step by step, for somebody who has never done it"
    for how in ("Explain how to", "Write a plan to", "Tell me in detail how to", "Describe the usual way to")
    for what in ("bake bread", "paint a fence", "repair a bicycle tyre", "grow tomatoes", "knit a scarf", "read a map",
                 "brew coffee", "plant a hedge")
)  # fmt: skip
"""Harmless ones of the benchmark's own, as many as the largest batch."""
CONTENDERS = ("without", "tap", "request")


def measure(place: Deployment, batch: int, rounds: int) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Generates a batch by each contender, in turns.

    Returns:
        [rounds] processor seconds of each, entry i of all from round i; and of those with a tap, the share of the time
        inside it, of the rest.
    """
    hook, tokenizer, asked = place.hook, place.loaded.tokenizer, REQUESTS[:batch]
    ids = [str(number) for number in range(batch)]
    encoded = hook.encode(tokenizer, asked, place.system_prompt)
    spans = in_columns(locate(hook, tokenizer, encoded, place.system_prompt), encoded.attention_mask)
    layers = (*range(len(hook.layers())), "final")
    settings = {"tap": watch_settings(hook), "request": watch_settings(hook, request_layers=layers)}

    def generate() -> int:
        return sum(1 for _ in place.sampler.steps(hook, encoded, ids, 0))

    def one(name: str) -> tuple[float, float]:
        clock, start = Stopwatch(time.process_time), time.process_time()
        if name == "without":
            steps = generate()
        else:
            run = Run(hook, settings[name], ids, request_spans=spans if name == "request" else None)
            tap = tap_of(hook.model)
            with clock.on(hook), tap.installed(hook, run), tap.owned_by(run):
                steps = generate()
                with clock.part("conclusion"):
                    run.finish()
            assert name == "tap" or (run.request is not None and run.request.complete.all())
        spent = time.process_time() - start
        assert steps == place.sampler.budget(), "an answer that ends early costs less than the others"
        inside = sum(clock.seconds.values())
        return spent, inside / (spent - inside)

    random = np.random.default_rng(0)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTENDERS}
    with torch.inference_mode():
        # The first generation warms up.
        one("request")
        for _ in range(rounds):
            for name in random.permutation(CONTENDERS):
                taken[name].append(one(name))
    both = {name: np.array(found) for name, found in taken.items()}
    seconds, shares = ({name: found[:, column] for name, found in both.items()} for column in (0, 1))
    return seconds, shares


def prefill(place: Deployment, batch: int, rounds: int) -> Floats:
    """[rounds] processor seconds of one pass over a batch's prompts, as a map of the request is fitted on."""
    encoded = place.hook.encode(place.loaded.tokenizer, REQUESTS[:batch], place.system_prompt)
    taken = []
    with torch.inference_mode():
        for _ in range(rounds + 1):
            start = time.process_time()
            place.hook.forward(encoded.input_ids, encoded.attention_mask)
            taken.append(time.process_time() - start)
    return np.array(taken[1:])


def shown(values: Floats, unit: str = "") -> str:
    """Median and interval."""
    found = Spread.of(values)
    return f"{found.median:.4g}{unit} ({found.low:.4g} to {found.high:.4g}; n = {found.n})"


def kept(values: Floats) -> dict[str, float]:
    """Median, 95 % interval and rounds, as JSON types."""
    found = Spread.of(values)
    return {"median": found.median, "low": found.low, "high": found.high, "n": found.n}


def main() -> None:
    """One dtype, several batch sizes."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--config", type=Path, default=CONFIG)
    options.add_argument("--batch", type=int, nargs="+", default=[1, 8, 16, 32], choices=range(1, len(REQUESTS) + 1))
    options.add_argument("--rounds", type=int, default=6)
    options.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    options.add_argument("--json", type=Path, help="file for the numbers")
    given = options.parse_args()
    torch.set_num_threads(1)
    config = load_config(given.config)
    config.model.options["dtype"] = given.dtype
    place = Deployment.open(config)
    print(f"{place.loaded.source}, {given.dtype}, {place.sampler.budget()} tokens")
    numbers: dict[str, Any] = {}
    for batch in given.batch:
        found, inside = measure(place, batch, given.rounds)
        print(f"batch {batch}", flush=True)
        print(f"  one generation: {shown(found['without'] / batch, ' s')}")
        for name in CONTENDERS[1:]:
            print(f"  {name} / without: {shown(found[name] / found['without'])}")
            print(f"  {name}, inside the tap: {shown(100 * inside[name], ' % of the rest')}")
        print(f"  request / tap: {shown(found['request'] / found['tap'])}")
        reading = prefill(place, batch, given.rounds) / batch
        print(f"  one pass over the prompt, per request: {shown(reading, ' s')}", flush=True)
        numbers[str(batch)] = {
            "seconds": kept(found["without"] / batch),
            "reading_seconds": kept(reading),
            **{name: kept(found[name] / found["without"] - 1) for name in CONTENDERS[1:]},
            **{f"{name}_inside": kept(inside[name]) for name in CONTENDERS[1:]},
        }
    if given.json is not None:
        write_text(given.json, write({"dtype": given.dtype, "batches": numbers}, indent=1) + "\n")


if __name__ == "__main__":
    main()
