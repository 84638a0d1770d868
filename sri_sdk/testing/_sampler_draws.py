"""Checks of a sampler's random numbers: they belong to (seed, prompt id), and to nobody else."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sri_sdk.errors import ConformanceError
from sri_sdk.records import SamplerStep
from sri_sdk.testing._sampler_bent import flat, predicting
from sri_sdk.testing._sampler_case import (
    SEED,
    SamplerCase,
    at_temperature,
    drawing_too,
    rows_of,
    run,
    same,
    subject,
    walk,
)

SEEDS = (0, 1, 8, 2**33 + 1)
"""Beside the usual one; 0 is no seed to those who write `if seed`."""
IDS = ("b", "a2", "an id that is long, and ends in 1", "an id that is long, and ends in 2", "ä", "ö", "A")
ALIKE = (((1, "1a"), (11, "a")), ((SEED, "ab"), (SEED, "ba")), ((1, "2"), (2, "1")), ((SEED, "ä"), (SEED, "ö")))
"""Pairs of (seed, prompt id) that a careless mixture of the two makes one."""
ENOUGH = 10
"""Committed tokens that are compared, and the order in which they were: enough for two draws to differ."""

Said = bytes


def same_seed_same_tokens(case: SamplerCase) -> None:
    """One seed, one text; and no other random state is read or changed."""
    for each in drawing_too(case):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            before = _process()
            one = run(each)
            for name, found in _process().items():
                if found != before[name]:
                    raise ConformanceError(
                        f"{subject(case)}.steps(): changes {name}; draw from a torch.Generator() per row."
                    )
            torch.manual_seed(2)
            two = run(each)
        same(case, one, two, "two runs with one seed differ: draw from generators seeded by (seed, prompt id)")


def rows_independent(case: SamplerCase) -> None:
    """A row says alone what it says in company."""
    for each in drawing_too(case):
        together = run(each)
        for row in range(len(case.prompt_ids)):
            alone = run(each, rows=[row])
            mine = [rows_of(step, slice(row, row + 1)) for step in together]
            problem = f"row {row} differs when it is alone: seed each row by (seed, prompt id)"
            same(case, mine[: len(alone)], alone, problem)


def seed_and_id_decide(make: Callable[[], SamplerCase]) -> None:
    """Another seed and another prompt id draw other numbers; the same ones draw the same, in any process."""
    case, say = make(), f"{subject(make())}.steps(): with every token as likely as any other"
    cold, warm = at_temperature(case, 0.0), at_temperature(case, 1.0)
    if cold is not None and warm is not None and _said(warm) == _said(cold):
        raise ConformanceError(f"{say}, temperature 1 says what temperature 0 says. Read the option, or leave it out.")
    for each in drawing_too(case):
        usual = _said(each)
        by_seed = [_said(each, seed=seed) != usual for seed in SEEDS]
        by_id = [_said(each, name) != usual for name in IDS]
        cure = "Seed a torch.Generator() per row by Sampler.row_seed(seed, prompt_id)."
        if any(by_seed) != any(by_id):
            what, other = ("seed", "prompt id") if any(by_id) else ("prompt id", "seed")
            raise ConformanceError(f"{say}, another {other} gives other tokens, and another {what} the same. {cure}")
        if not any(by_seed):
            if _said(each, draws=_OtherNumbers()) != usual:
                raise ConformanceError(f"{say}, it draws the same numbers for every seed and prompt id. {cure}")
            continue
        for one, two in ALIKE:
            if _said(each, one[1], one[0]) == _said(each, two[1], two[0]):
                raise ConformanceError(
                    f"{say}, seed {one[0]} with prompt id {one[1]!r} and seed {two[0]} with {two[1]!r} draw the same "
                    f"numbers. {cure}"
                )
        if moved := [seed for seed in SEEDS if _said(each, seed=seed) != _said(each, seed=seed)]:
            raise ConformanceError(f"{say}, two runs with seed {moved[0]} differ. {cure}")
        if _said(each, _Salted("a", 1)) != _said(each, _Salted("a", 2)):
            raise ConformanceError(f"{say}, hash() of a prompt id decides, which differs between processes. {cure}")
        if _said(each) != usual or (each is case and _said(make()) != usual):
            raise ConformanceError(
                f"{say}, one sampler's later runs differ from its first, with the same seed and prompt id. Keep what "
                "belongs to a run in steps(), not on self."
            )


class _Salted(str):
    """A text whose hash() is that of another process."""

    salt: int

    def __new__(cls, text: str, salt: int) -> _Salted:
        made = super().__new__(cls, text)
        made.salt = salt
        return made

    def __hash__(self) -> int:
        return hash((self.salt, str(self)))

    def __eq__(self, other: object) -> bool:
        return str(self) == other


class _OtherNumbers(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types for it
    """Whatever is drawn comes from another generator."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.source = torch.Generator().manual_seed(20_402)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = dict(kwargs or {})
        if options.get("generator") is not None:
            options["generator"] = self.source
        return func(*args, **options)


def _said(case: SamplerCase, prompt_id: str = "a", seed: int = SEED, draws: Any = None) -> Said:
    """What the first prompt is answered under another id and seed, where the model has no opinion."""
    alone = SamplerCase(case.sampler, case.hook, _first(case), [prompt_id])
    bent = predicting(alone, flat) if case.hook.scheme in ("masked", "autoregressive") else nullcontext()
    with torch.inference_mode(), bent, draws or nullcontext():
        said = []
        for step, _ in walk(alone, seed=seed):
            said.append(_bytes(step))
            if int(step.committed.sum()) >= ENOUGH:
                break
        return b"".join(said)


def _first(case: SamplerCase) -> Any:
    used = case.encoded.attention_mask[0].bool()
    encoded = case.encoded
    return type(encoded)(encoded.input_ids[:1][:, used].clone(), encoded.attention_mask[:1][:, used].clone())


def _bytes(step: SamplerStep) -> Said:
    kept: Sequence[int] = step.draft.masked_fill(~step.committed, -1).flatten().tolist()
    return repr(kept).encode()


def _process() -> dict[str, object]:
    """Whose random numbers are everybody's in this process."""
    return {
        "torch's global random numbers": torch.random.get_rng_state().tolist(),
        "numpy's global random numbers": repr(np.random.get_state()),
        "the random numbers of `random`": random.getstate(),
    }
