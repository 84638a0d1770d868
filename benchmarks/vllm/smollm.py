"""SmolLM2-135M-Instruct, which `make real-model` unpacks: the same requests under transformers, and what the tap costs.

What its guard calls harmful is make-believe, and an answer that names the thing counts as refused. Neither parity nor
cost depends on what a guard is worth.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from benchmarks.vllm.cost import run as measure
from benchmarks.vllm.parity import Limits
from benchmarks.vllm.parity import run as same

TOKENS = 24
VERBS = "bake fix draw sell paint find grow clean".split()
THINGS = "bread bikes maps coats walls water corn rugs".split()
WRONGS = "steal break burn poison hide smash loot curse".split()
GUARDED = "lanterns crowns anchors gates bells thrones torches vaults".split()
BEGINNINGS = 5
"""What long requests begin with; many share one, so that the engine's prefix cache spares them."""
LIMITS = Limits(tokens=TOKENS, blocks=120, abort=0.05, batch=20)

GUARD = """version: 1
model: {{hook: causal, options: {{source: {model}, offline: true, dtype: float32, device_map: null}}}}
sampler: {{name: autoregressive, options: {{tokens: {tokens}, temperature: 0.0}}}}
tap: {{pooling: predicting, cells: 8}}
request: {{layers: all}}
prompts: {{dataset: jsonl, options: {{files: {{fit: {folder}/fit.jsonl, calibration: {folder}/calibration.jsonl}}}}}}
judge: {{name: refusal-phrases, options: {{more: [{refusals}]}}}}
folds:
  request: {{split: fit, harmless: 40, harmful: 40}}
  anchors: {{split: fit, harmless: 20, harmful: 40}}
  train: {{split: fit, harmless: 40}}
  reference: {{split: fit, harmless: 20}}
  calibration: {{split: calibration, harmless: 39}}
  test: {{split: calibration, harmless: 2, harmful: 2}}
parts:
  behaviour: {{detector: mahalanobis}}
  asked: {{detector: request}}
calibrate: {{alpha: 0.1}}
export: {{name: onnx}}
policy: {{rule: final, flagged: report, unmonitored: report}}
out: {guard}
batch_size: 20
"""


def parity(model: Path, guard: Path, folder: Path, *, requests: int) -> dict[str, Any]:
    """What came of the requests, as JSON types."""
    from transformers import AutoTokenizer

    fit(model, guard)
    asked = prompts(AutoTokenizer.from_pretrained(model), requests, seed=1)
    return same(model, guard, folder, asked, LIMITS)


def cost(model: Path, guard: Path, folder: Path, *, rounds: int) -> dict[str, Any]:
    """Ratios of pairs, as JSON types."""
    from transformers import AutoTokenizer

    fit(model, guard)
    asked = prompts(AutoTokenizer.from_pretrained(model), 32, seed=1)
    return measure(model, guard, folder, asked, tokens=TOKENS, batch=16, rounds=rounds)


def prompts(tokenizer: Any, count: int, *, seed: int) -> list[list[int]]:
    """Plain questions, every second one after a long beginning, as token ids in the chat template."""
    chance = random.Random(seed)
    beginnings = [" ".join(question(chance, "harmless") for _ in range(4)) for _ in range(BEGINNINGS)]
    rows = []
    for number in range(count):
        words = question(chance, "harmful" if chance.random() < 0.3 else "harmless")
        words = words if number % 2 else f"{chance.choice(beginnings)} {words}"
        chat = tokenizer.apply_chat_template(
            [{"role": "user", "content": words}], add_generation_prompt=True, tokenize=False
        )  # fmt: skip
        rows.append(tokenizer(chat, add_special_tokens=False)["input_ids"])
    return rows


def question(chance: random.Random, label: str) -> str:
    """One request of the make-believe world."""
    verbs, things = (WRONGS, GUARDED) if label == "harmful" else (VERBS, THINGS)
    return f"How do I {chance.choice(verbs)} {chance.choice(things)}? In {chance.randrange(2, 900)} words."


def fit(model: Path, guard: Path) -> None:
    """The guard, unless it is there."""
    import sri_sdk
    from sri_sdk.config.load import load_config
    from sri_sdk.files import write_text
    from sri_sdk.strict_json import write

    if (guard / "bundle").exists():
        return
    folder, chance, taken = guard.with_name(f"{guard.name}-prompts"), random.Random(0), set[str]()
    folder.mkdir(parents=True, exist_ok=True)
    for split, counts in {
        "fit": {"harmless": 140, "harmful": 90},
        "calibration": {"harmless": 45, "harmful": 4},
    }.items():
        lines = []
        for label, count in counts.items():
            while count:
                text = question(chance, label)
                if text not in taken:
                    taken.add(text)
                    lines.append(write({"text": text, "label": label}))
                    count -= 1
        write_text(folder / f"{split}.jsonl", "\n".join(lines) + "\n")
    config = folder / "guard.yaml"
    refusals = ", ".join(each for thing in GUARDED for each in (thing, thing.removesuffix("s")))
    write_text(config, GUARD.format(model=model, folder=folder, guard=guard, tokens=TOKENS, refusals=refusals))
    sri_sdk.fit(load_config(config))
