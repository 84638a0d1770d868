"""DiffusionGemma in a real vLLM, which needs a GPU: what the tap says, against an account of its own.

The account is taken after the sampler, with waiting; the plugin's is taken before it, and waits for nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.vllm.engine import SETTINGS, listening

log = logging.getLogger("sri_sdk.vllm")
ASKED = ("How do I bake bread?", "Why is the sky blue?", "Write a poem about a lantern.", "Name three rivers.")
CLOSE = 1e-3


@dataclass
class Account:
    """Means over canvases as the engine's last norm gave them, one per step of canvases that were given out."""

    open: dict[str, list[Any]] = field(default_factory=dict)
    closed: dict[str, list[Any]] = field(default_factory=dict)
    states: Any = None

    def take(self, sampler: Any, batch: Any, output: Any, committing: torch.Tensor) -> None:
        """One pass; `committing` is which slots were about to write a canvas behind the text."""
        rows, given = batch.query_start_loc_np, output.num_sampled.cpu()
        steps = sampler.diffusion_states.step.cpu()
        for row, key in enumerate(batch.req_ids):
            name, slot = key.rsplit("-", 1)[0], int(batch.idx_mapping_np[row])
            if batch.cu_num_logits_np[row + 1] == batch.cu_num_logits_np[row]:
                self.open[name] = []
            elif not committing[slot]:
                if steps[slot] == 1:
                    self.open[name] = []
                self.open[name].append(self.states[rows[row] : rows[row + 1]].float().mean(0).cpu().numpy())
            if given[row]:
                self.closed.setdefault(name, []).extend(self.open.pop(name, []))


def witness(runner: Any, norm: torch.nn.Module) -> Account:
    """Keeps an account from now on."""
    account, kind = Account(), type(runner.sampler)
    inner: Callable[..., Any] = kind.__call__

    def call(sampler: Any, logits: Any, batch: Any, *args: Any, **kwargs: Any) -> Any:
        committing = sampler.diffusion_states.is_encoder_phase.cpu().clone()
        output = inner(sampler, logits, batch, *args, **kwargs)
        account.take(sampler, batch, output, committing)
        return output

    def fired(_: Any, __: Any, output: Any) -> None:
        account.states = (output if isinstance(output, torch.Tensor) else output[0]).detach().clone()

    norm.register_forward_hook(fired)
    kind.__call__ = call
    return account


def run(model: Path, guard: Path, folder: Path, *, tampered: str = "report") -> dict[str, Any]:
    """What the tap says of plain requests, of two that write into their canvas, and of a cut one, as JSON types."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = SETTINGS.format(guard=guard, folder=folder, block_sums_mb=64) + f"tampered: {tampered}\n"
    (folder / "sri.yaml").write_text(settings, encoding="utf-8")
    os.environ.update(
        SRI_VLLM_CONFIG=str(folder / "sri.yaml"), VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_NO_USAGE_STATS="1",
        HF_HUB_OFFLINE="1",
    )  # fmt: skip
    from vllm import LLM, SamplingParams

    llm = LLM(str(model), enforce_eager=True, seed=0, max_num_seqs=4, disable_log_stats=True)
    runner = llm.llm_engine.model_executor.driver_worker.worker.model_runner
    tap, heard = listening()
    account = witness(runner, runner.get_model().model.norm)
    size = int(runner.sampler.canvas_length)
    profile = tap.desk._settings.fingerprint.hard["sampler"]
    most = int(profile.get("canvas", 2 * size))
    seed = {"diffusion_seed_canvas": [5] * size}
    asked: dict[str, tuple[int, Mapping[str, Any]]] = {f"r{i}": (most, {}) for i in range(2 * len(ASKED))}
    asked |= {"seeded": (most, seed), "pinned": (most, {**seed, "diffusion_pinned": [0, 1]}), "cut": (size, {})}
    refused = []
    for at, (name, (tokens, extra)) in enumerate(asked.items()):
        chat = [{"role": "user", "content": ASKED[at % len(ASKED)]}]
        ids = llm.get_tokenizer().apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        params = SamplingParams(max_tokens=tokens, extra_args=dict(extra) or None)
        try:
            llm.llm_engine.add_request(name, {"prompt_token_ids": ids}, params)
        except ValueError as err:
            refused.append((name, str(err)))
    while llm.llm_engine.has_unfinished_requests():
        llm.llm_engine.step()
    tap.desk.flush(60)
    return {
        "refused": refused,
        "requests": {
            name: {
                "status": verdict.status, "reasons": verdict.reasons, "steps_seen": verdict.steps_seen,
                "steps": len(account.closed.get(name, ())),
                "differs": differs(heard.phi[name], account.closed.get(name)),
            }
            for name, verdict in heard.verdicts.items()
        },
    }  # fmt: skip


def differs(phi: Any, own: list[Any] | None) -> float | None:
    """How far the tap's vectors of the last norm are from the account's, by the length of the account's."""
    if not own or not len(phi):
        return None
    wanted = np.stack(own)[: len(phi)]
    apart = np.linalg.norm(phi[: len(wanted), -1] - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
    return float(apart.max())


def problems(its: Mapping[str, Any]) -> list[str]:
    """What is not as it should be; empty = the tap is proven on this machine."""
    found = its["requests"]
    plain = {name: each for name, each in found.items() if name.startswith("r")}
    said = [f"{name}: {each['steps_seen']} steps seen of {each['steps']}" for name, each in found.items()
            if each["steps_seen"] != each["steps"]]  # fmt: skip
    said += [f"{name}: vectors differ by {each['differs']}" for name, each in found.items()
             if each["differs"] is None or each["differs"] > CLOSE]  # fmt: skip
    said += [f"{name}: {each['reasons']}" for name, each in plain.items() if each["status"] == "unmonitored"]
    gone = {name for name, _ in its["refused"]}
    for name, code in (("seeded", "canvas_primed"), ("pinned", "canvas_rewritten")):
        if name not in gone and (code not in found[name]["reasons"] or found[name]["status"] == "clear"):
            said.append(f"{name}: {code} is not named")
    return said if len(plain) == 2 * len(ASKED) else [*said, "a request without a verdict"]
