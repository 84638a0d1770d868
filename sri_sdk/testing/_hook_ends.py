"""The check of end tokens: each of several ends a response, whether the model or the call names them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from sri_sdk.errors import ConformanceError, SriError
from sri_sdk.records import RunView
from sri_sdk.structure import unwrapped
from sri_sdk.testing._hook_case import HookCase, Observed, observe, subject


def every_end_counts(case: HookCase) -> None:
    """`eos_ids`, `lengths`, `on_call` and `plan`, with two end tokens of which either may come."""
    _ends(case)
    seen = observe(case)
    own, other = _two_ends(case, seen)
    _each_ends_a_row(case, seen)
    for pair in ([own, other], [other, own]):
        with _model_says(case, pair) as where:
            if where is None:
                if case.hook.scheme == "autoregressive" and _transformers_generate(case):
                    raise ConformanceError(
                        f"{subject(case)}.eos_ids(): says {list(case.hook.eos_ids())} whatever "
                        "`model.generation_config.eos_token_id` is, by which generate() ends a response. Read it there."
                    )
                break
            if not set(pair) <= set(found := _ends(case)):
                raise ConformanceError(
                    f"{subject(case)}.eos_ids(): says {list(found)} where {where} has {pair}. Each of them ends a "
                    "response: return all."
                )
            _each_ends_a_row(case, seen)
            _steps_stay(case, seen, pair, observe(case))
    _lengths_go_by_the_call(case, seen, other)
    if case.hook.scheme == "autoregressive" and _transformers_generate(case):
        _the_call_may_name_them(case, seen, [own, other])


def _ends(case: HookCase) -> tuple[int, ...]:
    found = case.hook.eos_ids()
    if strange := [each for each in found if not isinstance(each, int)]:
        raise ConformanceError(
            f"{subject(case)}.eos_ids(): says {list(found)}, and {strange[0]!r} is no token id. Configs name one end "
            "token or a list of them: return one flat tuple either way."
        )
    return found


def _two_ends(case: HookCase, seen: Observed) -> tuple[int, int]:
    """A token that ends a response, and one that occurs nowhere."""
    said = {*seen.tokens.flatten().tolist(), *case.encoded.input_ids.flatten().tolist()}
    own = case.hook.eos_ids()
    size = getattr(case.hook.embedding(), "num_embeddings", max(said) + 2)
    taken = {*said, *own, case.hook.mask_id()}
    free = next((token for token in reversed(range(size)) if token not in taken), max(said) + 1)
    return (own[0] if own else free), free


def _each_ends_a_row(case: HookCase, seen: Observed) -> None:
    """`lengths` against a row that holds an end token, and one that holds none."""
    ends = case.hook.eos_ids()
    word = next((token for token in seen.tokens.flatten().tolist() if token not in ends and token >= 0), None)
    if word is None:
        return
    for end in ends:
        rows = seen.tokens.new_tensor([[word, end, word, end], [word] * 4])
        if (found := case.hook.lengths(rows)) != [2, 4]:
            raise ConformanceError(
                f"{subject(case)}.lengths(): of rows {rows.tolist()}, where {end} is in eos_ids(), it says {found}; "
                "[2, 4] expected: up to the first end token, that one included."
            )


def _lengths_go_by_the_call(case: HookCase, seen: Observed, end: int) -> None:
    """`lengths` where `run.eos_ids` names another end token than the model does."""
    word = next((token for token in seen.tokens.flatten().tolist() if token not in case.hook.eos_ids()), -1)
    if word < 0:
        return
    rows = seen.tokens.new_tensor([[word, end, word, word], [word] * 4])
    view = RunView(requests=2, eos_ids=(end,))
    if (found := case.hook.lengths(rows, view)) != [2, 4]:
        raise ConformanceError(
            f"{subject(case)}.lengths(): of rows {rows.tolist()} it says {found} where run.eos_ids is {[end]}; [2, 4] "
            "expected. Where a call named its end tokens, these count, and not the model's own."
        )


@contextmanager
def _model_says(case: HookCase, ends: list[int]) -> Iterator[str | None]:
    """Sets the end tokens where the hook reads them, and says where; None = nowhere that the kit knows."""
    inner, before = unwrapped(case.hook.model), case.hook.eos_ids()
    unheard = next(end for end in ends if end not in before)
    for name in ("generation_config", "config"):
        config: Any = getattr(inner, name, None)
        if not hasattr(config, "eos_token_id"):
            continue
        kept = config.eos_token_id
        try:
            config.eos_token_id = [unheard]
        except (AttributeError, TypeError):
            continue  # A config that is frozen.
        try:
            if case.hook.eos_ids() != before:
                config.eos_token_id = ends
                yield f"model.{name}.eos_token_id"
                return
        finally:
            config.eos_token_id = kept
    yield None


def _steps_stay(case: HookCase, seen: Observed, ends: list[int], again: Observed) -> None:
    if not torch.equal(seen.tokens, again.tokens):
        return  # The family's own call reads its end tokens elsewhere.
    for row, (one, two) in enumerate(zip(seen.run.traces, again.run.traces, strict=True)):
        if one.steps != two.steps or one.reasons != two.reasons:
            raise ConformanceError(
                f"{subject(case)}.plan(): request {row} has {one.steps} steps where {ends[0]} or {ends[1]} alone ends "
                f"responses, and {two.steps} where both do ({', '.join(two.reasons) or 'no reasons'}), with the same "
                "tokens. Look for all of eos_ids() in the rows."
            )


def _transformers_generate(case: HookCase) -> bool:
    generate = getattr(type(unwrapped(case.hook.model)), "generate", None)
    return "generate" in case.hook.calls and (getattr(generate, "__module__", "") or "").startswith("transformers.")


def _the_call_may_name_them(case: HookCase, seen: Observed, ends: list[int]) -> None:
    given = (case.encoded.input_ids,)
    asked: list[Any] = [ends, torch.tensor(ends), ends[1]]
    for value in asked:
        view = RunView(requests=len(seen.tokens))
        try:
            case.hook.on_call("generate", given, {"eos_token_id": value}, view)
        except SriError:
            continue
        wanted = {ends[1]} if value is ends[1] else set(ends)
        if view.eos_ids is None or set(view.eos_ids) != wanted:
            raise ConformanceError(
                f"{subject(case)}.on_call(): generate(eos_token_id={value}) leaves run.eos_ids at "
                f"{None if view.eos_ids is None else list(view.eos_ids)}. Note every end token of the call there: "
                "steps are counted by them."
            )
