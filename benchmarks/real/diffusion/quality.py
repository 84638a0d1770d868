"""How good a masked model is on answers it was not trained on: loss and accuracy per mask ratio, and what it writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from benchmarks.real.diffusion.batches import Batch, stack
from benchmarks.real.diffusion.masking import places, reading_rows
from benchmarks.real.diffusion.rows import Row

if TYPE_CHECKING:
    import torch

RATIOS = (0.125, 0.25, 0.5, 0.75, 1.0)
"""Shares of the canvas that are masked."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How well masked tokens are predicted; tokens behind an answer's end are not counted, they would flatter."""

    nats: float
    """Mean cross-entropy per token."""
    accuracy: float
    """Share whose likeliest token is right."""
    tokens: int


def by_ratio(model: Any, rows: Sequence[Row], canvas: int, *, seed: int = 0, size: int = 16) -> dict[str, Fit]:
    """Fit of a masked model at each of `RATIOS`; the same tokens are masked whichever model is asked."""
    import torch

    found = {}
    for ratio in RATIOS:
        generator = torch.Generator().manual_seed(seed)
        parts = []
        for batch in _batches(model, rows, canvas, size):
            counts = torch.full((len(batch.answers),), max(1, round(ratio * canvas)))
            masked = places(counts, canvas, generator)
            states = _states(model, batch, masked)
            parts.append(_hits(model, states, batch, masked, counted(batch.answers, _end(model))))
        found[str(ratio)] = _fit(parts)
    return found


def of_next(model: Any, rows: Sequence[Row], canvas: int, *, size: int = 16) -> Fit:
    """Fit of the leftmost mask, with nothing but masks behind it: what writing from left to right comes down to.

    Compare with `of_causal`, which sees the same text and no masks. Four places of the canvas are asked, the first too.
    """
    import torch

    parts = []
    for batch in _batches(model, rows, canvas, size):
        for start in range(0, canvas, max(1, canvas // 4)):
            open_ = torch.zeros_like(batch.answers, dtype=torch.bool)
            open_[:, start:] = True
            first = torch.zeros_like(open_)
            first[:, start] = True
            states = _states(model, batch, open_)
            parts.append(_hits(model, states, batch, first, counted(batch.answers, _end(model))))
    return _fit(parts)


def of_causal(model: Any, rows: Sequence[Row], canvas: int, *, size: int = 16) -> Fit:
    """Fit of the causal model, which sees the whole text before each token and nothing behind it."""
    import torch

    parts = []
    for batch in _batches(model, rows, canvas, size):
        everywhere = torch.ones_like(batch.answers, dtype=torch.bool)
        with torch.no_grad():
            states = model.model(
                torch.cat([batch.prompts, batch.answers], 1), attention_mask=batch.real, position_ids=batch.positions()
            ).last_hidden_state
            parts.append(_hits(model, states, batch, everywhere, counted(batch.answers, _end(model))))
    return _fit(parts)


def of_unigram(seen: Sequence[Row], rows: Sequence[Row], vocabulary: int) -> Fit:
    """Fit of the token frequencies of the answers trained on, smoothed by half a token for each of the vocabulary."""
    import torch

    tokens = torch.tensor([token for row in seen for token in row.answer])
    counts = torch.bincount(tokens, minlength=vocabulary).double() + 0.5
    likely = (counts / counts.sum()).log()
    wanted = torch.tensor([token for row in rows for token in row.answer])
    return Fit(float(-likely[wanted].mean()), float((wanted == likely.argmax()).double().mean()), len(wanted))


def counted(answers: torch.Tensor, end: int) -> torch.Tensor:
    """[B, R] bool: tokens up to the first end token, which counts too."""
    ended = (answers == end).long().cumsum(1)
    return (ended == 0) | ((ended == 1) & (answers == end))


@dataclass(frozen=True, slots=True)
class Texts:
    """What was written, judged by the model that it is to resemble. Means over answers."""

    nats: float
    """Of the causal model, per token up to the first end; low for good text, but also for text that repeats itself."""
    distinct: float
    """Different pairs of neighbouring tokens, as a share of all; low where text repeats itself."""
    ended: float
    """Share of answers with an end token."""
    tokens: float
    """Up to the first end token."""
    answers: int


def of_texts(causal: Any, rows: Sequence[Row], answers: Sequence[Sequence[int]]) -> Texts:
    """Judges answers (token ids) to the questions of `rows`."""
    import torch

    end, nats, distinct, lengths = _end(causal), [], [], []
    for row, answer in zip(rows, answers, strict=True):
        text = list(answer[: answer.index(end)]) if end in answer else list(answer)
        lengths.append(len(text))
        pairs = list(pairwise(text))
        if pairs:
            distinct.append(len(set(pairs)) / len(pairs))
        one = Row(row.id, row.prompt, [*text, end] if end in answer else text, held_out=True)
        if one.answer:
            nats.append(of_causal(causal, [one], len(one.answer)).nats)
    ended = sum(end in answer for answer in answers) / len(answers)

    def mean(values: list[Any]) -> float:
        return float(torch.tensor(values, dtype=torch.float64).mean()) if values else float("nan")

    return Texts(mean(nats), mean(distinct), ended, mean(lengths), len(answers))


def write(model: Any, rows: Sequence[Row], *, sampler: str, size: int = 16, **options: Any) -> list[list[int]]:
    """Answers by one of this project's samplers through the hook `masked-lm`, as `sri fit` and `sri run` make them."""
    from sri_sdk import Encoded, registry

    hook = registry.load("hooks", "masked-lm")(model)
    drive, answers = registry.build("samplers", sampler, options), []
    for first in range(0, len(rows), size):
        part = rows[first : first + size]
        batch = stack(part, 1, _end(model))
        prompts = Encoded(batch.prompts, batch.real[:, :-1])
        *_, last = drive.steps(hook, prompts, [row.id for row in part])
        answers += last.draft.tolist()
    return answers


def as_numbers(fit: Fit | Texts) -> dict[str, float]:
    """For a results file, rounded as far as it is meant."""
    return {name: round(value, 4) for name, value in asdict(fit).items()}


def _batches(model: Any, rows: Sequence[Row], canvas: int, size: int) -> list[Batch]:
    return [stack(rows[first : first + size], canvas, _end(model)) for first in range(0, len(rows), size)]


def _states(model: Any, batch: Batch, masked: Any) -> Any:
    """[B, P + R, D] last states of a masked model."""
    import torch

    ids = batch.canvas(masked, int(model.config.mask_token_id))
    with torch.no_grad():
        return model.model(ids, attention_mask=batch.real, position_ids=batch.positions()).last_hidden_state


def _end(model: Any) -> int:
    return int(model.config.eos_token_id)


def _hits(model: Any, states: Any, batch: Batch, masked: Any, counts: Any) -> tuple[Any, Any]:
    """Cross-entropy and hit of each masked token that counts."""
    import torch

    chosen = masked & counts
    with torch.no_grad():
        logits = model.lm_head(states[reading_rows(chosen, batch.prompts.shape[1])]).float()
    wanted = batch.answers[chosen]
    return torch.nn.functional.cross_entropy(logits, wanted, reduction="none"), logits.argmax(-1) == wanted


def _fit(parts: Sequence[tuple[Any, Any]]) -> Fit:
    import torch

    nats, hits = (torch.cat(part).double() for part in zip(*parts, strict=True))
    return Fit(float(nats.mean()), float(hits.mean()), len(nats))
