"""500 requests at random through the engine, and the same through `watch` under transformers."""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.vllm.engine import Answered, Heard, counting, listening, serve, start

log = logging.getLogger("sri_sdk.vllm")
CLOSE = 1e-4


@dataclass(frozen=True)
class Limits:
    """What traffic and engine are held to."""

    tokens: int
    """Most of an answer."""
    blocks: int
    """Cache blocks of the engine, few enough that requests are preempted."""
    abort: float
    """Share of requests that are aborted somewhere."""
    batch: int = 25
    """Rows of a batch under transformers."""


def run(model: Path, guard: Path, folder: Path, prompts: list[list[int]], limits: Limits) -> dict[str, Any]:
    """What came of it, as JSON types.

    Args:
        model: folder of the checkpoint.
        guard: its guard.
        folder: for what is written.
        prompts: token ids.
        limits: of traffic and engine.
    """
    llm = start(
        model, guard, folder, max_model_len=256, max_num_seqs=64, max_num_batched_tokens=256,
        num_gpu_blocks_override=limits.blocks,
    )  # fmt: skip
    tap, heard = listening()
    passes = counting(tap)
    began = time.monotonic()
    traffic = serve(llm, prompts, seed=1, tokens=limits.tokens, abort=limits.abort)
    assert tap.desk.flush(300)
    log.info("%d requests in %.0f s; now under transformers", len(prompts), time.monotonic() - began)
    answered = list(traffic.answered.values())
    found = compare(model, guard, answered, heard, tokens=limits.tokens, batch=limits.batch)
    return {
        **found,
        "requests": len(answered),
        "batch": {
            "least": min(passes.sizes), "most": max(passes.sizes), "median": float(np.median(passes.sizes)),
        },
        "passes": len(passes.sizes),
        "prompt_passes": passes.prompts,
        "prompt_passes_that_ended_within_it": passes.pieces,
        "preempted": sum(each.preempted > 0 for each in answered),
        "prefix_hits": sum(each.cached > 0 for each in answered),
    }  # fmt: skip


def compare(
    model: Path, guard_path: Path, answered: list[Answered], heard: Heard, *, tokens: int, batch: int = 25
) -> dict[str, Any]:
    """Both sides, request by request. Tokens may differ where two logits all but tie; those rows are counted apart."""
    wanted = reference(model, guard_path, answered, tokens=tokens, batch=batch)
    whole = [each for each in answered if each.aborted_at is None]
    alike = [each for each in whole if each.tokens == wanted[each.request_id]["tokens"]]
    signal, phi, unlike, parts = list[float](), list[float](), list[str](), Counter[str]()
    unseen = hits_seen = 0
    for each in alike:
        mine, theirs = heard.verdicts[each.request_id], wanted[each.request_id]["verdict"]
        logit, sigma = heard.signals[each.request_id]
        spared = heard.missing[each.request_id] is not None
        unseen += spared
        hits_seen += each.cached > 0 and not spared
        columns = slice(0, -1) if spared else slice(None)
        signal.append(float(np.abs(sigma[:, columns] - wanted[each.request_id]["sigma"][:, columns]).max()))
        phi.append(float(np.abs(logit[:, columns] - wanted[each.request_id]["logit"][:, columns]).max()))
        its = {part.name: part.status for part in mine.parts}
        for part in theirs.parts:
            if its[part.name] == part.status:
                parts[part.name] += 1
            elif not spared:
                unlike.append(f"{each.request_id} {part.name}: {its[part.name]}, {part.status} under transformers")
        same = (mine.status, mine.steps_seen, mine.steps_expected) == (
            theirs.status, theirs.steps_seen, theirs.steps_expected,
        )  # fmt: skip
        if not same and not spared:
            unlike.append(f"{each.request_id}: {mine.status} {mine.reasons}, {theirs.status} under transformers")
    statuses = Counter(heard.verdicts[each.request_id].status for each in alike)
    stopped = [each for each in answered if each.aborted_at is not None]
    return {
        "with_verdict": sum(each.request_id in heard.verdicts for each in answered),
        "tokens_alike": len(alike),
        "tokens_unlike": len(whole) - len(alike),
        "unlike_from_token": sorted(
            next(i for i, (a, b) in enumerate(zip(e.tokens, wanted[e.request_id]["tokens"], strict=False)) if a != b)
            for e in whole if e not in alike
        ),
        "sigma_differs_most": max(signal), "logit_differs_most": max(phi),
        "beyond_1e-4": sum(each > CLOSE for each in signal),
        "verdicts_unlike": unlike,
        "statuses": dict(statuses),
        "parts_alike": dict(parts),
        "requests_not_seen": unseen, "prefix_hits_read": hits_seen,
        "complete": sum(
            (v := heard.verdicts[e.request_id]).steps_seen == len(e.tokens) == v.steps_expected for e in whole
        ),
        "aborted": {
            "requests": len(stopped),
            "verdicts": dict(Counter(heard.verdicts[e.request_id].status for e in stopped)),
            "named": sum("interrupted" in heard.verdicts[e.request_id].reasons for e in stopped),
        },
    }  # fmt: skip


def reference(
    model: Path, guard_path: Path, answered: list[Answered], *, tokens: int, batch: int
) -> dict[str, dict[str, Any]]:
    """What `watch` says of the same prompts under transformers, in batches padded on the left."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    import sri_sdk

    live = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    tokenizer, guard = AutoTokenizer.from_pretrained(model), sri_sdk.Guard.load(guard_path)
    found: dict[str, dict[str, Any]] = {}
    for start_at in range(0, len(answered), batch):
        rows = answered[start_at : start_at + batch]
        width = max(len(each.prompt) for each in rows)
        pad = tokenizer.pad_token_id or 0
        ids = torch.tensor([[pad] * (width - len(e.prompt)) + e.prompt for e in rows])
        mask = torch.tensor([[0] * (width - len(e.prompt)) + [1] * len(e.prompt) for e in rows])
        names = [each.request_id for each in rows]
        with sri_sdk.watch(
            live, guard, request_ids=names, tokenizer=tokenizer, accept=("transformers", "torch")
        ) as run:
            out = live.generate(ids, attention_mask=mask, max_new_tokens=tokens, do_sample=False)
        assert run.signals is not None
        ends = live.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends])
        for row, name in enumerate(names):
            text = out[row, width:].tolist()
            length = next((i + 1 for i, token in enumerate(text) if token in ends), len(text))
            found[name] = {
                "tokens": text[:length], "logit": run.signals.logit[row], "sigma": run.signals.sigma[row],
                "verdict": run.verdicts[row],
            }  # fmt: skip
    return found


def lab_prompts(tokenizer: Any, count: int) -> list[list[int]]:
    """Prompts of the lab world: half of them short, half of them long with a beginning that many share, some twice.

    A cache block has 32 tokens on a CPU, more than a plain request.
    """
    from sri_plugin_lab.dataset import LabDataset

    dataset, chance = LabDataset(LabDataset.Config()), random.Random(0)
    texts = [p.text for p in dataset.prompts("test", "harmless", 120)]
    texts += [p.text for p in dataset.prompts("test", "harmful", 60)]
    for attack in ("fiction", "suffix", "authority"):
        texts += [p.text for p in dataset.prompts("test", "harmful", 30, attack=attack)]
    beginnings = [" ".join(chance.sample(texts[:120], 4)) for _ in range(5)]
    asked = []
    for number in range(count):
        text = chance.choice(texts)
        asked.append(text if number % 2 else f"{chance.choice(beginnings)} {text}")
    rows = []
    for text in asked:
        chat = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False
        )  # fmt: skip
        rows.append(tokenizer(chat, add_special_tokens=False)["input_ids"][:200])
    return rows
