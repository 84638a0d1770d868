"""Checks of what commands do with texts: `load`, `encode`, `tokens` and `decode`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import torch
from pydantic import ValidationError

from sri_sdk.capture.encoded import encode
from sri_sdk.errors import ConformanceError, SriError
from sri_sdk.hook import Hook
from sri_sdk.plugin import Config
from sri_sdk.records import Encoded, LoadedModel, Prompt
from sri_sdk.structure import unwrapped
from sri_sdk.testing._hook_case import HookCase, response, subject

TEXTS = ("bake the bread", "tell me how to feed the pony of the farmer", "is it kind to steal")
"""Requests of three lengths, in plain words: small tokenizers may know few."""
SYSTEM = ("be kind and brief", "say no")


def loads_by_default(case: HookCase) -> bool:
    """Whether `load()` needs no option: then the kit can call it."""
    return _loaded(case) is not None


def has_tokenizer(case: HookCase) -> bool:
    """Whether the case, or `load()` with default options, brings a tokenizer."""
    return case.tokenizer is not None or _loaded(case) is not None


def _loaded(case: HookCase) -> LoadedModel | None:
    try:
        options = type(case.hook).Config()
        return type(case.hook).load(options)
    except (ValidationError, SriError):
        return None


def _tokenizer(case: HookCase) -> Any:
    if case.tokenizer is not None:
        return case.tokenizer
    loaded = _loaded(case)
    return None if loaded is None else loaded.tokenizer


# -- load ----------------------------------------------------------------------------------------------------


def loads_what_is_asked(case: HookCase) -> None:
    """`load()`: a model that the hook fits, the same again, and another one where an option says so."""
    family, where = type(case.hook), f"{subject(case)}.load()"
    usual = family.Config()
    loaded = family.load(usual)
    if not isinstance(loaded, LoadedModel) or not str(loaded.source).strip():
        raise ConformanceError(f"{where}: returns {loaded!r:.80}; a LoadedModel that names its source is needed.")
    if not (match := family.fits(loaded.model)).ok:
        raise ConformanceError(f"{where}: the hook does not fit what it loads: {match.why}.")
    if getattr(loaded.model, "training", False):
        raise ConformanceError(f"{where}: the model is in training mode; call .eval().")
    if _differ(loaded.model, family.load(usual).model):
        raise ConformanceError(
            f"{where}: loaded twice with the same options, the weights differ. A guard fitted on one would be refused "
            "by the other: take the seed from the options."
        )
    for name, other in _other_options(usual):
        if not _differ(loaded.model, family.load(family.Config(**{name: other})).model):
            raise ConformanceError(
                f"{where}: ignores the option `{name}`: {getattr(usual, name)!r} and {other!r} give the same weights."
            )


def _other_options(usual: Config) -> Iterator[tuple[str, Any]]:
    """(option, another value) of those that say which weights there are."""
    for name, field in type(usual).model_fields.items():
        told = f"{name} {field.description or ''}".lower()
        if not {"seed", "weights"} & set(told.replace(".", " ").replace(",", " ").split()):
            continue
        now, choices = getattr(usual, name), get_args(field.annotation)
        if isinstance(now, int) and not isinstance(now, bool):
            yield name, now + 1
        elif isinstance(now, str) and all(isinstance(choice, str) for choice in choices):
            yield from ((name, choice) for choice in choices if choice != now)


def _differ(one: Any, two: Any) -> bool:
    mine, others = (unwrapped(model).state_dict() for model in (one, two))
    return set(mine) != set(others) or any(
        mine[name].shape != others[name].shape or not torch.equal(mine[name], others[name]) for name in mine
    )


# -- encode --------------------------------------------------------------------------------------------------


def texts_are_encoded(case: HookCase) -> None:
    """`encode()`: request and system prompt in every row, padding on the left and nowhere else."""
    where, tokenizer = f"{subject(case)}.encode()", _tokenizer(case)
    made = case.hook.encode(tokenizer, list(TEXTS))
    _is_a_batch(made, where)
    ids, mask = made.input_ids, made.attention_mask
    right = (mask.diff(dim=1) < 0).any(1).nonzero()[:, 0].tolist()
    if right:
        raise ConformanceError(
            f"{where}: padding stands behind the text of row {right[0]}. Pad on the left: the response begins in one "
            "column, right behind the prompts."
        )
    for row, text in enumerate(TEXTS):
        own = case.hook.encode(tokenizer, [text])
        together, single = ids[row][mask[row].bool()], own.input_ids[0]
        if not bool(own.attention_mask.all()) or not torch.equal(together, single):
            raise ConformanceError(
                f"{where}: request {row} is {len(together)} tokens in a batch and {int(own.attention_mask.sum())} of "
                f"{len(single)} alone, or other ones. `attention_mask` is 1 for its tokens and 0 for padding alone."
            )
    prompts = [Prompt(f"request {row}", text, "harmless") for row, text in enumerate(TEXTS)]
    try:
        encode(case.hook, tokenizer, prompts, None)
    except SriError as err:
        raise ConformanceError(f"{where}: {err}") from err
    _system_prompt_is_there(case, tokenizer, made, where)


def _is_a_batch(made: Any, where: str) -> None:
    if not isinstance(made, Encoded):
        raise ConformanceError(f"{where}: returns {type(made).__name__}; an Encoded is needed.")
    shape = [len(TEXTS), made.input_ids.shape[-1]]
    for name in ("input_ids", "attention_mask"):
        found = getattr(made, name)
        if list(found.shape) != shape or found.dtype != torch.int64:
            raise ConformanceError(f"{where}: {name} is {found.dtype} {list(found.shape)}; int64 {shape} is needed.")


def _system_prompt_is_there(case: HookCase, tokenizer: Any, plain: Encoded, where: str) -> None:
    try:
        one, two = (case.hook.encode(tokenizer, list(TEXTS), system) for system in SYSTEM)
    except SriError:
        return  # It says so itself: this family takes none.
    if getattr(tokenizer, "chat_template", None) is not None:
        inherited = [Hook.encode(case.hook, tokenizer, [TEXTS[0]], system).input_ids for system in (None, *SYSTEM)]
        if all(torch.equal(inherited[0], ids) for ids in inherited[1:]):
            return  # The template drops it, and asking for one is refused when prompts are encoded.
    for row, text in enumerate(TEXTS):
        mine, others, bare = (
            each.input_ids[row][each.attention_mask[row].bool()].tolist() for each in (one, two, plain)
        )
        if mine in (others, bare) or len(mine) <= len(bare):
            raise ConformanceError(
                f"{where}: with system_prompt={SYSTEM[0]!r}, {text!r} is {len(mine)} tokens, {len(bare)} without, "
                f"{'the same' if mine == others else 'others'} as with {SYSTEM[1]!r}. Put the system prompt before the "
                "request, or raise a ConfigError if the family takes none."
            )
    if len({tuple(row) for row in one.input_ids.tolist()}) < len(TEXTS):
        raise ConformanceError(f"{where}: with a system prompt, different requests give the same tokens.")


# -- tokens and decode ---------------------------------------------------------------------------------------


def texts_come_back(case: HookCase) -> None:
    """`decode()`: one text per row, up to its end, without special tokens; `tokens()`: plain text alone."""
    tokenizer, hook = _tokenizer(case), case.hook
    rows, special = response(case.generate(case.encoded), case.encoded), _special(case, tokenizer)
    words = next(
        (plain for row in rows.tolist() if len(plain := [t for t in row if t not in special and t >= 0][:4]) > 1), None
    )
    if words is None:
        return  # A model that says nothing but special tokens.
    where = f"{subject(case)}.decode()"
    like = rows.new_tensor
    texts = hook.decode(tokenizer, like([words, words[::-1]]))
    if not isinstance(texts, list) or len(texts) != 2 or not all(isinstance(text, str) for text in texts):
        raise ConformanceError(f"{where}: of 2 rows it makes {texts!r:.80}; a list of 2 texts is needed, one per row.")
    wanted = _plain(texts[0])
    if not wanted:
        raise ConformanceError(f"{where}: tokens {words}, none of them special, become an empty text.")
    for name, token in special.items():
        found = hook.decode(tokenizer, like([[name, *words]]))[0] if token != "end" else None
        if found is not None and _plain(found) != wanted:
            raise ConformanceError(
                f"{where}: token {name}, {token}, shows in the text: {found!r} instead of {texts[0]!r}. Leave special "
                "tokens out (transformers: skip_special_tokens=True)."
            )
    for end in hook.eos_ids():
        found, shown = (hook.decode(tokenizer, like([row]))[0] for row in ([*words, end, *words], [end]))
        # A model's end may be a token that its tokenizer does not call special.
        if _joined(found) not in (_joined(wanted), _joined(wanted + shown)):
            raise ConformanceError(
                f"{where}: a response that ends with token {end}, of eos_ids(), reads {found!r} instead of "
                f"{texts[0]!r}: what stands behind an end is no part of it. Cut each row at `self.lengths(tokens)`."
            )
        row = [*words, *words[::-1]]
        both = hook.decode(tokenizer, like([[words[0], end, *[end] * (len(row) - 2)], row]))
        if both != [hook.decode(tokenizer, like([each]))[0] for each in ([words[0], end], row)]:
            raise ConformanceError(
                f"{where}: a row of {len(row)} tokens beside one that ends after 2 reads {both[1]!r}, and otherwise "
                "when it is alone. Each row has an end of its own."
            )
    _no_special_is_added(case, tokenizer, texts[0], special)
    if hook.mask_id() is not None and hook.block_length() is None:
        _starts_begin_in_column_0(case, tokenizer, texts[0])


def _plain(text: str) -> str:
    return " ".join(text.split())


def _joined(text: str) -> str:
    return "".join(text.split())


def _special(case: HookCase, tokenizer: Any) -> dict[int, str]:
    """Token id -> what it stands for, of tokens that are no text."""
    real = case.encoded.attention_mask.bool()
    found = {int(token): "padding" for token in case.encoded.input_ids[~real].tolist()}
    # Some tokenizers pad with a token that occurs in text.
    found = {token: what for token, what in found.items() if token not in case.encoded.input_ids[real].tolist()}
    known = {int(token): "a special token of the tokenizer" for token in getattr(tokenizer, "all_special_ids", [])}
    found = {**known, **found}
    found.pop(getattr(tokenizer, "unk_token_id", None) or -1, None)
    if (mask := case.hook.mask_id()) is not None:
        found[mask] = "the mask"
    return {**found, **{end: "end" for end in case.hook.eos_ids()}}


def _no_special_is_added(case: HookCase, tokenizer: Any, text: str, special: dict[int, str]) -> None:
    where = f"{subject(case)}.tokens()"
    try:
        ids = case.hook.tokens(tokenizer, text)
    except (AttributeError, TypeError) as err:
        if type(case.hook).tokens is Hook.tokens and case.hook.mask_id() is None:
            return  # Inherited, for tokenizers of transformers; only started responses need it.
        raise ConformanceError(f"{where}: raised {type(err).__name__}: {err}.") from err
    if not isinstance(ids, list) or not all(isinstance(token, int) for token in ids):
        raise ConformanceError(f"{where}: of a text it makes {ids!r:.80}; a list of token ids is needed.")
    added = [f"{token} ({special[token]})" for token in ids if token in special]
    if added:
        raise ConformanceError(
            f"{where}: {text!r} becomes tokens with {', '.join(added)}. Plain text alone: a started response would "
            "hold them in its middle (transformers: add_special_tokens=False)."
        )
    back = case.hook.decode(tokenizer, torch.tensor([ids]))[0]
    if back.rstrip() != text.rstrip():
        raise ConformanceError(f"{where}: {text!r} becomes tokens that decode() reads as {back!r}.")


def _starts_begin_in_column_0(case: HookCase, tokenizer: Any, text: str) -> None:
    hook, mask = case.hook, case.hook.mask_id()
    ids = hook.tokens(tokenizer, text)
    found = hook.start(tokenizer, [text, f"{text}<mask:2>{text}", None]).tolist()
    wanted = [ids + [mask] * (len(ids) + 2), [*ids, mask, mask, *ids], [mask] * (2 * len(ids) + 2)]
    if found != wanted:
        row = next(row for row in range(3) if row >= len(found) or found[row] != wanted[row])
        raise ConformanceError(
            f"{subject(case)}.start(): row {row} of started responses is {found[row : row + 1]}, {wanted[row]} "
            "expected: the tokens of its pieces from column 0 on, the mask for holes and behind its end."
        )
