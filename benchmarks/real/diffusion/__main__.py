"""A masked diffusion model from a causal checkpoint, step by step; each continues where it was interrupted.

    python -m benchmarks.real.diffusion convert   # the same weights, looking both ways
    python -m benchmarks.real.diffusion answer    # the causal model answers questions
    python -m benchmarks.real.diffusion train     # the masked one learns to give these answers
    python -m benchmarks.real.diffusion measure   # against the causal model, token frequencies, and no training

Everything is written below --out. Questions and answers stay there; `quality.json` holds numbers only.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.real.diffusion import layout, quality
from benchmarks.real.diffusion.questions import Question, of_prompts, questions
from benchmarks.real.diffusion.rows import Row, answer, read
from benchmarks.real.diffusion.training import Plan, Training
from sri_sdk import strict_json
from sri_sdk.errors import SriError
from sri_sdk.files import write_text

MASK = "<empty_output>"
"""A token of notebooks' outputs, which no chat uses."""
SAMPLERS: dict[str, dict[str, Any]] = {
    "low-confidence": {}, "low-confidence, blocks of 8": {"block": 8}, "left-to-right": {},
}  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """One step of the recipe."""
    asked = _parser().parse_args(arguments)
    import torch

    torch.set_num_threads(asked.threads)
    try:
        {"convert": _convert, "answer": _answer, "train": _train, "measure": _measure}[asked.step](asked)
    except SriError as err:
        sys.exit(f"Error: {err}")


def _convert(asked: argparse.Namespace) -> None:
    target = asked.out / "untrained"
    if not (target / "config.json").is_file():
        layout.convert(asked.source, target, MASK)
    print(f"{target}: the causal weights as an EuroBertForMaskedLM")


def _answer(asked: argparse.Namespace) -> None:
    tokenizer, causal = _tokenizer(asked.source), _causal(asked)
    todo, began = _asked(asked), time.monotonic()
    for count in answer(causal, tokenizer, layout.TEMPLATE, todo, asked.out / "rows.jsonl", tokens=asked.canvas):
        print(f"{count} of {len(todo)} answers, {time.monotonic() - began:.0f} s", flush=True)


def _asked(asked: argparse.Namespace) -> list[Question]:
    """The questions, 96 held-out ones first, then the others in an order drawn once: the first n are a sample."""
    own = questions()
    random.Random(asked.seed).shuffle(own)
    harmless = [q for q in own if q.held_out][:96] + [q for q in own if not q.held_out]
    return [*harmless[: asked.questions], *(() if asked.prompts is None else of_prompts(asked.prompts.read_bytes()))]


def _train(asked: argparse.Namespace) -> None:
    rows = [row for row in read(asked.out / "rows.jsonl") if not row.held_out]
    plan = Plan(asked.steps, asked.rows, asked.canvas, asked.rate, seed=asked.seed)
    training = Training(_masked(asked.out / "untrained"), plan, asked.out)
    began, tokens, cpu = time.monotonic(), 0, 0.0
    last = None if asked.minutes is None else asked.minutes * 60
    for done in training.run(rows, seconds=last):
        tokens, cpu = tokens + done.tokens, cpu + done.cpu_s
        print(
            f"step {done.step + 1} of {plan.steps}: {done.loss:.3f} nats a token; {time.monotonic() - began:.0f} s, "
            f"{tokens / cpu:.0f} tokens per CPU second",
            flush=True,
        )
    training.write(_tokenizer(asked.out / "untrained"), asked.out / "model")
    print(f"{asked.out / 'model'}: after {training.step} steps")


def _measure(asked: argparse.Namespace) -> None:
    rows = read(asked.out / "rows.jsonl")
    seen, new = [row for row in rows if not row.held_out], [row for row in rows if row.held_out][: asked.measured]
    causal, canvas = _causal(asked), asked.canvas
    found: dict[str, Any] = {
        "rows": len(new), "canvas": canvas, "causal": quality.as_numbers(quality.of_causal(causal, new, canvas)),
        "unigram": quality.as_numbers(quality.of_unigram(seen, new, causal.config.vocab_size)),
        "texts": {"causal": quality.as_numbers(quality.of_texts(causal, new, [row.answer for row in new]))},
    }  # fmt: skip
    for name in ("untrained", "model"):
        if not (asked.out / name / "config.json").is_file():
            continue
        model = _masked(asked.out / name)
        found[name] = {r: quality.as_numbers(fit) for r, fit in quality.by_ratio(model, new, canvas).items()}
        found[name]["next"] = quality.as_numbers(quality.of_next(model, new, canvas))
        for label, options in SAMPLERS.items():
            given = {"tokens": canvas, "steps": canvas, **options}
            some = new[: asked.texts]
            texts = quality.write(model, some, sampler=label.partition(",")[0], **given)
            found["texts"][f"{name}, {label}"] = quality.as_numbers(quality.of_texts(causal, some, texts))
            _show(some[: asked.show], texts, asked.out, f"{name}, {label}")
            write_text(asked.out / "quality.json", strict_json.write(found, indent=1) + "\n")
        write_text(asked.out / "quality.json", strict_json.write(found, indent=1) + "\n")
    print((asked.out / "quality.json").read_text(encoding="utf-8"))


def _show(rows: list[Row], texts: list[list[int]], out: Path, label: str) -> None:
    """Some of what was written, to be read and judged; kept nowhere."""
    tokenizer = _tokenizer(out / "untrained")
    for row, text in zip(rows, texts, strict=False):
        print(f"[{label}] {row.id}: {tokenizer.decode(text)!r}", flush=True)


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _causal(asked: argparse.Namespace) -> Any:
    import torch
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM.from_pretrained(asked.source, dtype=torch.float32, local_files_only=True).eval()


def _masked(folder: Path) -> Any:
    import torch
    from transformers import EuroBertForMaskedLM

    return EuroBertForMaskedLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()


def _parser() -> argparse.ArgumentParser:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks.real.diffusion", description=__doc__, formatter_class=shape)
    parser.add_argument("step", choices=["convert", "answer", "train", "measure"])
    parser.add_argument("--source", type=Path, default=Path("out/real/model"), help="the causal checkpoint")
    parser.add_argument("--out", type=Path, default=Path("out/real/diffusion"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--canvas", type=int, default=32, help="tokens of an answer")
    parser.add_argument("--questions", type=int, default=1296, help="answer: own ones; the first 96 are held out")
    parser.add_argument("--prompts", type=Path, help="answer: more prompts, a file of the dataset jsonl")
    parser.add_argument("--steps", type=int, default=1500, help="train: steps of the whole run")
    parser.add_argument("--rows", type=int, default=16, help="train: answers per step")
    parser.add_argument("--rate", type=float, default=Plan(1).rate, help="train: highest learning rate")
    parser.add_argument("--minutes", type=float, help="train: stop after so long, to go on another time")
    parser.add_argument("--measured", type=int, default=256, help="measure: held-out answers")
    parser.add_argument("--texts", type=int, default=32, help="measure: of these, so many are written by each sampler")
    parser.add_argument("--show", type=int, default=0, help="measure: print so many texts, kept nowhere")
    return parser


if __name__ == "__main__":
    main()
