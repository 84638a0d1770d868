"""Measure the lab models on prompts they never saw: `python -m sri_plugin_lab.measure --n 1000`.

Prints the lab card's tables and writes them into LAB_CARD.md. Every rate comes with its n and its exact 95 % interval.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from .console import say
from .models import NAMES, LabDiffusionLM, encode, load, load_tokenizer
from .world import ATTACKS, RESPONSE_TOKENS, STEPS, LabPrompt, Verdict, judge, prompts, request_of

CARD = Path(__file__).parent / "LAB_CARD.md"
VERDICTS: tuple[Verdict, ...] = ("refusal", "harmful", "harmless", "other")


def _at_most(k: int, n: int, p: float) -> float:
    """Probability of at most `k` successes in `n` trials of chance `p`."""
    log_p, log_q = math.log(p), math.log1p(-p)
    ways = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in range(k + 1)]
    return sum(math.exp(way + i * log_p + (n - i) * log_q) for i, way in enumerate(ways))


def exact_interval(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of a rate: it covers the true rate with at least `confidence`, at any n."""
    tail = (1 - confidence) / 2

    def solve(successes: int, level: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if _at_most(successes, n, middle) > level else (low, middle)
        return (low + high) / 2

    return (0.0 if k == 0 else solve(k - 1, 1 - tail)), (1.0 if k == n else solve(k, tail))


def respond(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    asked: Sequence[LabPrompt],
    *,
    batch: int = 64,
    steps: int = STEPS,
    block_length: int | None = None,
) -> list[str]:
    """Greedy responses of either model, as text, in the order of the prompts."""
    texts: list[str] = []
    for at in range(0, len(asked), batch):
        ids, mask = encode(tokenizer, [one.text for one in asked[at : at + batch]])
        if isinstance(model, LabDiffusionLM):
            out = model.generate(ids, mask, steps=steps, block_length=block_length)
        else:
            with torch.inference_mode():
                greedy: Any = model.generate  # typed for every decoding strategy transformers knows
                out = greedy(input_ids=ids, attention_mask=mask, max_new_tokens=RESPONSE_TOKENS, do_sample=False)
        texts += tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
    return texts


def rows_of(n: int, seed: int, split: str = "test") -> dict[str, list[LabPrompt]]:
    """The card's rows: each a name and `n` prompts of one kind (the wrapped harmless ones share n over the attacks)."""
    names = list(ATTACKS)
    rows = {"harmless, plain": prompts(split, "harmless", n, seed=seed)}
    rows["harmless, wrapped"] = []
    for i, name in enumerate(names):
        share = len(range(i, n, len(names)))
        rows["harmless, wrapped"] += prompts(split, "harmless", share, attack=name, seed=seed + 1 + i)
    rows["harmful, plain"] = prompts(split, "harmful", n, seed=seed)
    for name in names:
        rows[f"harmful, {name}"] = prompts(split, "harmful", n, attack=name, seed=seed)
    return rows


def table(name: str, n: int, seed: int = 0, block_length: int | None = None) -> str:
    """The measured table of one model, as Markdown; a row is printed as soon as it is known."""
    model, tokenizer = load(name), load_tokenizer()
    lines = [
        "| prompts | n | " + " | ".join(f"{verdict} %" for verdict in VERDICTS) + " |",
        "|---|---|" + "---|" * len(VERDICTS),
    ]
    say("\n".join(lines))
    began, generations, answers, verbatim = time.perf_counter(), 0, 0, 0
    for row, asked in rows_of(n, seed).items():
        texts = respond(model, tokenizer, asked, block_length=block_length)
        verdicts = Counter(judge(text, one.text) for text, one in zip(texts, asked, strict=True))
        cells = []
        for verdict in VERDICTS:
            low, high = exact_interval(verdicts[verdict], len(asked))
            cells.append(f"{100 * verdicts[verdict] / len(asked):.1f} [{100 * low:.1f}, {100 * high:.1f}]")
        lines.append(f"| {row} | {len(asked)} | " + " | ".join(cells) + " |")
        say(lines[-1])
        generations += len(asked)
        answers += verdicts["harmless"] + verdicts["harmful"]
        verbatim += sum(text == request_of(one).answer(one.attack) for text, one in zip(texts, asked, strict=True))
    rate = generations / (time.perf_counter() - began)
    threads = torch.get_num_threads()
    faithful = (
        f"{100 * verbatim / max(1, answers):.1f} % of the {answers:,} answers restate every word of their request."
    )
    speed = f"{rate:.0f} generations per second while measuring, batches of 64, {threads} CPU thread(s)."
    lines += ["", f"{faithful} {speed}"]
    say(lines[-1])
    return "\n".join(lines)


def write_card(name: str, text: str) -> None:
    """Put a model's table between its markers in the card."""
    begin, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
    card = CARD.read_text(encoding="utf-8")
    head, rest = card.split(begin)
    CARD.write_text(head + begin + text + end + rest.split(end)[1], encoding="utf-8")


def main() -> None:
    """Command line of the measurement."""
    parser = argparse.ArgumentParser(prog="python -m sri_plugin_lab.measure", description="Measure the lab models.")
    parser.add_argument("--n", type=int, default=1000, help="prompts per row")
    parser.add_argument("--model", choices=(*NAMES, "both"), default="both")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="torch threads")
    parser.add_argument("--block-length", type=int, help="diffusion model: tokens denoised together (default: all)")
    parser.add_argument("--dry", action="store_true", help="print only, leave the card as it is")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in NAMES if options.model == "both" else (options.model,):
        say(f"\n{name}\n")
        text = table(name, options.n, options.seed, options.block_length)
        if not options.dry:
            write_card(name, text)


if __name__ == "__main__":
    main()
