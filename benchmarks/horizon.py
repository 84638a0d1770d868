"""A guard on the first 32 steps against answers of 200 tokens: what it promises, and what the idle tap costs.

    python benchmarks/horizon.py [--fresh 2000] [--rounds 20]

Fits a guard with `horizon: 32` for the lab's causal model, on answers of 48 tokens at most, alpha = 1 %. The model
ends its answers to harmless requests after 40 to 42 tokens, so these are made longer by `min_new_tokens`, which rules
out the end token and changes nothing of the first 32 steps. Alarms are counted on fresh harmless requests: of the split
that the thresholds come from, for which the promise is made, and of another one, whose requests are about other things.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import yaml
from stopwatch import Stopwatch

import sri_sdk
from sri_sdk.config.check_fit import check_fit
from sri_sdk.metrics.rates import exact_rate
from sri_sdk.policy import Policy

HORIZON, TOKENS, BATCH = 32, 200, 50
CALIBRATION = 999


def fitted(folder: Path, *, horizon: int | None, tokens: int) -> Any:
    """A guard of configs/lab-causal.yaml with more calibration prompts."""
    data = yaml.safe_load(Path("configs/lab-causal.yaml").read_text())
    data["folds"].pop("test")
    data["folds"]["calibration"]["harmless"] = CALIBRATION
    data |= {"horizon": horizon, "out": str(folder)}
    data["sampler"]["options"]["tokens"] = tokens
    if horizon is not None:
        data["policy"]["beyond_horizon"] = "report"
    config, problems = check_fit(data)
    assert config is not None and not problems, problems
    return sri_sdk.fit(config)


def alarms(fit: Any, split: str, rule: sri_sdk.Rule, skip: int, count: int) -> None:
    """Prints the alarms among fresh harmless requests of a split, each answered with 200 tokens."""
    live, dataset = fit.deployment, sri_sdk.registry.build("datasets", "lab", {})
    prompts = dataset.prompts(split, "harmless", skip + count)[skip:]
    found, unjudged, steps = 0, 0, Counter()
    for start in range(0, count, BATCH):
        batch = prompts[start : start + BATCH]
        encoded = live.hook.encode(live.loaded.tokenizer, [p.text for p in batch])
        with sri_sdk.watch(live.loaded.model, fit.guard, policy=Policy.observe(rule)) as run:
            _answer(live.loaded.model, encoded.input_ids, encoded.attention_mask, TOKENS)
        found += sum(v.status == "flagged" for v in run.verdicts)
        unjudged += sum(v.status == "unmonitored" for v in run.verdicts)
        steps.update((v.steps_seen, v.judged_steps) for v in run.verdicts)
    rate = exact_rate("false_alarm", found, count)
    print(
        f"{split}, {rule}: {found} of {count} flagged, {100 * rate.value:.2f} % "
        f"(95 %: {100 * rate.low:.2f} to {100 * rate.high:.2f}); unmonitored {unjudged}; "
        f"(steps seen, judged): {dict(steps)}"
    )


def _answer(model: Any, ids: torch.Tensor, mask: torch.Tensor, tokens: int) -> torch.Tensor:
    """[B, L + tokens] int64: prompts [B, L] with answers of exactly that many tokens."""
    with torch.inference_mode():
        made: torch.Tensor = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False
        )
    return made


def costs(fits: dict[str, Any], rounds: int) -> None:
    """Prints the time inside the tap, one request, interleaved: medians over the rounds, ratios within each."""
    live = fits["horizon"].deployment
    prompt = sri_sdk.registry.build("datasets", "lab", {}).prompts("test", "harmless", 1)[0]
    encoded = live.hook.encode(live.loaded.tokenizer, [prompt.text])

    def tap(fit: Any, rule: sri_sdk.Rule, tokens: int) -> tuple[float, float]:
        """Milliseconds inside the tap, and its share of the rest of the run."""
        clock, model = Stopwatch(), fit.deployment.loaded.model
        with clock.on(fit.deployment.hook):
            start = time.perf_counter()
            with sri_sdk.watch(model, fit.guard, policy=Policy.observe(rule)) as run:
                _answer(model, encoded.input_ids, encoded.attention_mask, tokens)
            total = time.perf_counter() - start
        assert run.verdicts[0].status != "unmonitored", run.verdicts
        inside = sum(clock.seconds.values())
        return 1e3 * inside, inside / (total - inside)

    cases = [
        (guard, rule, tokens)
        for rule in ("final", "online")
        for guard, tokens in (("horizon", HORIZON), ("horizon", TOKENS), ("whole", TOKENS))
    ]
    taken: dict[Any, list[tuple[float, float]]] = {case: [] for case in cases}
    for number in range(rounds + 1):
        for case in cases:
            found = tap(fits[case[0]], case[1], case[2])
            if number:  # The first round warms up.
                taken[case].append(found)

    def spread(values: list[float], unit: str) -> str:
        values = sorted(values)
        quarter = len(values) // 4
        return f"{statistics.median(values):.3g}{unit} ({values[quarter]:.3g} to {values[-1 - quarter]:.3g})"

    for rule in ("final", "online"):
        short, long, whole = ([ms for ms, _ in taken[case]] for case in cases if case[1] == rule)
        idle = [(a - b) / (TOKENS - HORIZON) for a, b in zip(long, short, strict=True)]
        print(
            f"{rule}: a step beyond the horizon {spread(idle, ' ms')}, one before it {spread(short, ' ms')} / {HORIZON}"
        )
        for name, tokens in (("horizon", HORIZON), ("horizon", TOKENS), ("whole", TOKENS)):
            ms, shares = zip(*taken[name, rule, tokens], strict=True)
            print(
                f"  {name}, {tokens} tokens: {spread(list(ms), ' ms')} in the tap, {spread(list(shares), '')} of "
                "the rest"
            )
        for what, above, below in (
            (f"horizon {TOKENS} / horizon {HORIZON} tokens", long, short), ("whole / horizon", whole, long)
        ):  # fmt: skip
            print(f"  {what}: {spread([a / b for a, b in zip(above, below, strict=True)], ' x')}")


def main() -> None:
    """Fits, counts, times."""
    options = argparse.ArgumentParser()
    options.add_argument("--fresh", type=int, default=2000)
    options.add_argument("--rounds", type=int, default=20)
    asked = options.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        fits = {
            "horizon": fitted(Path(folder) / "horizon", horizon=HORIZON, tokens=48),
            # Its answers end sooner and it flags these; only its cost is asked for.
            "whole": fitted(Path(folder) / "whole", horizon=None, tokens=TOKENS),
        }
        costs(fits, asked.rounds)
        for rule in ("final", "online"):
            alarms(fits["horizon"], "calibration", rule, CALIBRATION, asked.fresh)
            alarms(fits["horizon"], "test", rule, 0, asked.fresh)


if __name__ == "__main__":
    main()
