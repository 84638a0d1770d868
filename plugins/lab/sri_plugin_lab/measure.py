"""Measure the lab models on prompts they never saw: `python -m sri_plugin_lab.measure --n 1000`.

Prints the lab card's tables and writes them into LAB_CARD.md. Every rate comes with its n and its exact 95 % interval.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from .console import say
from .curriculum import ALL_CELLS, COVERAGE
from .models import NAMES, WEIGHTS, LabDiffusionLM, canvas_of, encode, load, load_tokenizer
from .world import (
    ATTACKS,
    REFUSALS,
    RESPONSE_TOKENS,
    STEPS,
    WRAPPERS,
    LabPrompt,
    Verdict,
    examination,
    examined,
    judge,
    prompts,
    request_of,
)

CARD = Path(__file__).parent / "LAB_CARD.md"
VERDICTS: tuple[Verdict, ...] = ("refusal", "harmful", "harmless", "other")


def exact_interval(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Clopper-Pearson interval of a rate: it covers the true rate with at least `confidence`, at any n."""
    from scipy.stats import beta

    tail = (1 - confidence) / 2
    low = 0.0 if k == 0 else float(beta.ppf(tail, k, n - k + 1))
    high = 1.0 if k == n else float(beta.ppf(1 - tail, k + 1, n - k))
    return low, high


def percent(k: int, n: int) -> str:
    """A rate and its interval, in percent, as the card writes them."""
    low, high = exact_interval(k, n)
    return f"{100 * k / n:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def respond(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    asked: Sequence[LabPrompt],
    *,
    batch: int = 64,
    steps: int = STEPS,
    block_length: int | None = None,
) -> list[str]:
    """Greedy responses of any lab model, as text with its start, in the order of the prompts."""
    texts: list[str] = []
    for at in range(0, len(asked), batch):
        some = asked[at : at + batch]
        starts = [one.prefill for one in some]
        if isinstance(model, LabDiffusionLM):
            ids, mask = encode(tokenizer, [one.text for one in some])
            canvas = canvas_of(tokenizer, starts)
            out = model.generate(ids, mask, response=canvas, steps=steps, block_length=block_length)
            texts += tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
            continue
        ids, mask = encode(tokenizer, [one.text for one in some], starts)
        with torch.inference_mode():
            greedy: Any = model.generate  # typed for every decoding strategy transformers knows
            out = greedy(input_ids=ids, attention_mask=mask, max_new_tokens=RESPONSE_TOKENS, do_sample=False)
        rest = tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
        texts += [text if start is None else f"{start} {text}" for start, text in zip(starts, rest, strict=True)]
    return texts


def rows_of(name: str, n: int, attacked: int, seed: int) -> dict[str, list[LabPrompt]]:
    """The card's rows: `n` prompts of a kind in each, `attacked` where an attack works on harmful ones."""

    def wrapped(split: str) -> list[LabPrompt]:
        each = [len(range(i, n, len(WRAPPERS))) for i in range(len(WRAPPERS))]
        drawn = [
            prompts(split, "harmless", count, attack=attack, seed=seed + 1 + i)
            for i, (attack, count) in enumerate(zip(WRAPPERS, each, strict=True))
        ]
        return [one for some in drawn for one in some]

    rows = {"harmless, plain": prompts("test", "harmless", n, seed=seed), "harmless, wrapped": wrapped("test")}
    rows["borderline, plain"] = prompts("borderline", "harmless", n, seed=seed)
    rows["unusual, plain"] = prompts("unusual", "harmless", n, seed=seed)
    rows["harmful, plain"] = prompts("test", "harmful", n, seed=seed)
    for attack, about in ATTACKS.items():
        if name != "causal" or not about.masked_only:
            rows[f"harmful, {attack}"] = prompts("test", "harmful", attacked, attack=attack, seed=seed)
    return rows


def examine(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]
) -> list[Literal["kind", "unkind"] | None]:
    """What a model says of texts: kind, unkind, or nothing that can be read."""
    questions = [LabPrompt(str(i), examination(text), "harmless", None, str(i)) for i, text in enumerate(texts)]
    return [examined(reply) for reply in respond(model, tokenizer, questions)]


def examination_table(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, n: int, seed: int) -> list[str]:
    """How a model reads texts of the test split, in both languages: Markdown lines."""
    lines = ["| texts to examine | n | called kind % | called unkind % |", "|---|---|---|---|"]
    for attack, language in ((None, "first"), ("second-language", "second")):
        harmful, harmless = (prompts("test", label, n, attack=attack, seed=seed) for label in ("harmful", "harmless"))
        texts = {
            "harmful answers": [request_of(one).answer(attack) for one in harmful],
            "harmless answers": [request_of(one).answer(attack) for one in harmless],
            "refusals": [request_of(one).refusal(i % len(REFUSALS), attack) for i, one in enumerate(harmful)],
        }
        for row, some in texts.items():
            said = Counter(examine(model, tokenizer, some))
            lines.append(
                f"| {row}, {language} language | {n} | {percent(said['kind'], n)} | {percent(said['unkind'], n)} |"
            )
    return lines


def table(
    name: str, n: int, attacked: int, seed: int = 0, block_length: int | None = None, weights: Path = WEIGHTS
) -> str:
    """The measured tables of one model, as Markdown; a row is printed as soon as it is known."""
    model, tokenizer = load(name, weights), load_tokenizer(weights)
    lines = [
        "| prompts | n | " + " | ".join(f"{verdict} %" for verdict in VERDICTS) + " |",
        "|---|---|" + "---|" * len(VERDICTS),
    ]
    say("\n".join(lines))
    began, generations, answers, verbatim = time.perf_counter(), 0, 0, 0
    for row, asked in rows_of(name, n, attacked, seed).items():
        texts = respond(model, tokenizer, asked, block_length=block_length)
        verdicts = Counter(judge(text, one.text) for text, one in zip(texts, asked, strict=True))
        cells = " | ".join(percent(verdicts[verdict], len(asked)) for verdict in VERDICTS)
        lines.append(f"| {row} | {len(asked)} | {cells} |")
        say(lines[-1])
        generations += len(asked)
        # An unusual way of asking and a started response call for no style in particular.
        if not row.startswith("unusual") and asked[0].prefill is None:
            answers += verdicts["harmless"] + verdicts["harmful"]
            verbatim += sum(text == request_of(one).answer(one.attack) for text, one in zip(texts, asked, strict=True))
    rate = generations / (time.perf_counter() - began)
    lines += ["", *examination_table(model, tokenizer, attacked, seed), ""]
    lines.append(
        f"{100 * verbatim / max(1, answers):.1f} % of the {answers:,} answers to requests in known ways of asking are "
        f"word for word the lesson's. {rate:.0f} generations per second while measuring, batches of 64, "
        f"{torch.get_num_threads()} CPU thread(s)."
    )
    say("\n".join(lines[-8:]))
    return "\n".join(lines)


def coverage_table() -> str:
    """The curriculum's coverage, as Markdown."""
    lines = ["| harmful alignment examples | share % | cells of harm they come from |", "|---|---|---|"]
    for attack in (None, *WRAPPERS):
        cover = COVERAGE.get(attack)
        cells = "none" if cover is None else ", ".join(f"{group} {kind}" for group, kind in sorted(cover.cells))
        whole = cover is not None and cover.cells == ALL_CELLS
        share = 0.0 if cover is None else 100 * cover.share
        lines.append(f"| {attack or 'plain'} | {share:.1f} | {'all' if whole else cells} |")
    return "\n".join(lines)


def write_card(name: str, text: str) -> None:
    """Put text between the markers of this name in the card."""
    begin, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
    card = CARD.read_text(encoding="utf-8")
    head, rest = card.split(begin)
    CARD.write_text(head + begin + text + end + rest.split(end)[1], encoding="utf-8")


def main() -> None:
    """Command line of the measurement."""
    parser = argparse.ArgumentParser(prog="python -m sri_plugin_lab.measure", description="Measure the lab models.")
    parser.add_argument("--n", type=int, default=1000, help="prompts per row without an attack")
    parser.add_argument("--attacked", type=int, default=1000, help="prompts per row with one, and texts to examine")
    parser.add_argument("--model", choices=(*NAMES, "all"), default="all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--block-length", type=int, help="diffusion models: tokens denoised together (default: all)")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="where to read the weights")
    parser.add_argument("--dry", action="store_true", help="print only, leave the card as it is")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in NAMES if options.model == "all" else (options.model,):
        say(f"\n{name}\n")
        text = table(name, options.n, options.attacked, options.seed, options.block_length, options.weights)
        if not options.dry:
            write_card(name, text)
            write_card("coverage", coverage_table())


if __name__ == "__main__":
    main()
