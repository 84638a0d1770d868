"""The fine-tune: every weight but the token table, and of that the mask's row; it goes on where it was interrupted."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.real.diffusion.batches import Batch, chosen, stack
from benchmarks.real.diffusion.masking import how_many, loss, places, reading_rows
from benchmarks.real.diffusion.rows import Row
from sri_sdk.errors import ConfigError
from sri_sdk.files import replacing

MASK_TIMES = 10.0
"""Learning rate of the mask's row, as a multiple: it begins as nothing in particular, all else as it should be."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is made of; another plan is another run."""

    steps: int
    rows: int = 16
    """Rows per step."""
    canvas: int = 32
    """Tokens of an answer."""
    rate: float = 3e-4
    """Highest learning rate."""
    warmup: int = 10
    """Steps until it is reached; from there it falls linearly to 0."""
    seed: int = 0

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        rising = (step + 1) / max(1, min(self.warmup, self.steps))
        falling = (self.steps - step) / max(1, self.steps - self.warmup)
        return self.rate * min(1.0, rising, falling)


@dataclass(frozen=True, slots=True)
class Progress:
    """One step that was made."""

    step: int
    loss: float
    """Nats per token."""
    tokens: int
    """Of the step, prompts included, padding not."""
    cpu_s: float
    """Seconds of all threads."""


class Training:
    """A model in training, and the optimiser's state."""

    def __init__(self, model: Any, plan: Plan, folder: Path) -> None:
        """Goes on from what `folder` holds.

        Raises:
            ConfigError: the folder is of another plan.
        """
        import torch

        self._model, self._plan, self._folder = model.train(), plan, folder
        self._table = model.model.embed_tokens.weight.requires_grad_(False)
        self._mask_id = int(model.config.mask_token_id)
        self._mask = torch.nn.Parameter(self._table[self._mask_id].clone())
        named = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self._named: dict[str, Any] = {**named, "mask": self._mask}
        groups = [{"params": list(named.values()), "times": 1.0}, {"params": [self._mask], "times": MASK_TIMES}]
        self._adam = torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98), weight_decay=0.0)
        self.step = 0
        if self._file().is_file():
            self._resume()

    def run(self, rows: Sequence[Row], *, keep_every: int = 50, seconds: float | None = None) -> Iterator[Progress]:
        """Trains until the plan is done or the time is up; the state is kept then, and every `keep_every` steps."""
        began = time.monotonic()
        end = int(self._model.config.eos_token_id)
        while self.step < self._plan.steps and (seconds is None or time.monotonic() - began < seconds):
            picked = chosen(self.step, self._plan.rows, len(rows), self._plan.seed)
            batch = stack([rows[i] for i in picked], self._plan.canvas, end)
            before = time.process_time()
            value = self._make(batch)
            yield Progress(self.step, value, int(batch.real.sum()), time.process_time() - before)
            self.step += 1
            if self.step % keep_every == 0:
                self.keep()
        self.keep()

    def _make(self, batch: Batch) -> float:
        import torch

        plan = self._plan
        generator = torch.Generator().manual_seed(plan.seed * 1_000_003 + 500_009 + self.step)
        counts = how_many(len(batch.answers), plan.canvas, generator)
        masked = places(counts, plan.canvas, generator)
        value = loss(self.logits(batch, masked), batch.answers[masked], counts)
        for group in self._adam.param_groups:
            group["lr"] = plan.rate_at(self.step) * group["times"]
        self._adam.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._named.values(), 1.0)
        self._adam.step()
        return float(value.detach())

    def logits(self, batch: Batch, masked: Any) -> Any:
        """[M, V] of the masked tokens ([B, R] bool), row after row; the head is not asked about any others."""
        import torch

        ids = batch.canvas(masked, self._mask_id)
        states = self._model.model(
            inputs_embeds=torch.where((ids == self._mask_id)[..., None], self._mask, self._table[ids]),
            attention_mask=batch.real, position_ids=batch.positions(),
        ).last_hidden_state  # fmt: skip
        read = states[reading_rows(masked, batch.prompts.shape[1])]
        logits = read @ self._table.T
        # The table is both embedding and head. Only the mask's row of it learns, also that it is never the answer.
        logits[:, self._mask_id] = read @ self._mask
        return logits

    def write(self, tokenizer: Any, target: Path) -> None:
        """The model as a checkpoint; the folder is whole or absent."""
        import torch

        with torch.no_grad():
            self._table[self._mask_id] = self._mask
        with replacing(target) as made:
            self._model.eval().save_pretrained(made)
            tokenizer.save_pretrained(made)
        self._model.train()

    def keep(self) -> None:
        """Weights, moments and step, in one file."""
        import torch
        from safetensors.torch import save_file

        kept = {f"weight {name}": weight.detach() for name, weight in self._named.items()}
        for name, weight in self._named.items():
            state = self._adam.state.get(weight)
            if state:
                kept |= {f"first {name}": state["exp_avg"], f"second {name}": state["exp_avg_sq"]}
        kept["step"] = torch.tensor(self.step)
        self._folder.mkdir(parents=True, exist_ok=True)
        with replacing(self._file()) as made:
            save_file(kept, made, metadata={"plan": repr(self._plan)})

    def _file(self) -> Path:
        return self._folder / "training.safetensors"

    def _resume(self) -> None:
        import torch
        from safetensors import safe_open

        with safe_open(self._file(), framework="pt") as kept:
            found = (kept.metadata() or {}).get("plan")
            if found != repr(self._plan):
                raise ConfigError(
                    f"{self._file()}: begun as {found}, now asked for {self._plan!r}. Ask for the same, or name "
                    "another folder."
                )
            self.step = int(kept.get_tensor("step"))
            with torch.no_grad():
                for name, weight in self._named.items():
                    weight.copy_(kept.get_tensor(f"weight {name}"))
                    if self.step:
                        self._adam.state[weight] = {
                            "step": torch.tensor(float(self.step)),
                            "exp_avg": kept.get_tensor(f"first {name}"),
                            "exp_avg_sq": kept.get_tensor(f"second {name}"),
                        }
