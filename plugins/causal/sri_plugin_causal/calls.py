"""What a `generate` call asks for: the arguments in force, and what of it cannot be watched.

Arguments come from three places, and the nearest one counts: the call itself, the `generation_config` it is given, the
model's own `generation_config`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sri_sdk.errors import ConfigError
from sri_sdk.structure import unwrapped

SHARED_ENDS = ("MaxLengthCriteria", "MaxTimeCriteria")
"""Stopping criteria of transformers that end all rows at once."""
CACHES = ("cache", "past_key_values", "cache_params")
"""Arguments that hold what earlier passes left: the newest name first; the last is that of models without keys."""
BATCHED = ("generate_batch", "init_continuous_batching", "continuous_batching_context_manager")
"""Other ways to generate that transformers' models have: rows of many requests in one flat pass."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of `generate`."""

    given: Mapping[str, Any]
    """Arguments of the call, by name."""
    config: Any
    """The `generation_config` it was given; None = none."""
    own: Any
    """The model's."""
    plain: Any
    """A `generation_config` in which nothing was chosen: what equals it was not chosen either."""

    @classmethod
    def of(cls, model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        """Arguments by name, whichever way they were passed."""
        from transformers import GenerationConfig

        inner = unwrapped(model)
        names = [name for name in inspect.signature(type(inner).generate).parameters if name != "self"]
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        own = getattr(inner, "generation_config", None)
        return cls(given, given.get("generation_config"), own, GenerationConfig())

    def value(self, name: str) -> Any:
        """The value in force."""
        if name in self.given:
            return self.given[name]
        chosen = getattr(self.config, name, None)
        if chosen is not None and chosen != getattr(self.plain, name, None):
            return chosen
        return getattr(self.own, name, chosen)

    def source(self, name: str) -> str:
        """Where that value comes from, for messages."""
        if name in self.given:
            return "the call"
        chosen = getattr(self.config, name, None)
        given = chosen is not None and chosen != getattr(self.plain, name, None)
        return "the generation_config it was given" if given else "model.generation_config"

    def prompt(self) -> Any:
        """[B, L] ids of the prompt; None = none was given as ids."""
        ids = self.given.get("inputs")
        return self.given.get("input_ids") if ids is None else ids

    def cached(self) -> int:
        """Tokens of the prompt that the cache it was given holds already, as at a chat's next turn; 0 = none."""
        return tokens_in(self.given.get("past_key_values")) or 0

    def longest(self) -> int | None:
        """Tokens of the longest response, where stop strings or criteria may end it sooner; None = nothing may.

        Also None where time may end it too: a response that was cut is then like one that has ended.
        """
        criteria, prompt = list(self.given.get("stopping_criteria") or ()), self.prompt()
        names = {type(criterion).__name__ for criterion in criteria}
        rules = names - set(SHARED_ENDS) or self.value("stop_strings") is not None
        if not rules or "MaxTimeCriteria" in names or self.value("max_time") is not None or prompt is None:
            return None
        most = [self.value("max_new_tokens")]
        if most == [None]:
            most = [self.value("max_length")]
            most = [None if most[0] is None else most[0] - prompt.shape[1]]
        most += [c.max_length - prompt.shape[1] for c in criteria if type(c).__name__ == "MaxLengthCriteria"]
        return min((length for length in most if length is not None), default=None)

    def eos_ids(self) -> tuple[int, ...]:
        """Tokens that end a row."""
        ends = self.value("eos_token_id")
        if ends is None:
            return ()
        ends = ends.tolist() if hasattr(ends, "tolist") else ends
        return tuple(int(end) for end in ends) if isinstance(ends, list | tuple) else (int(ends),)


def refuse_what_cannot_be_watched(call: Call, model: Any) -> None:
    """Nothing runs if this raises.

    Raises:
        ConfigError: every argument that stands in the way, and what to do instead.
    """
    problems = [*_modes(call), *_passes(call), *_caches(call, unwrapped(model)), *_stops(call)]
    if problems:
        raise ConfigError("generate() cannot be watched like this: " + "; ".join(problems) + ".", problems)


def _shown(call: Call, name: str) -> str:
    value = call.value(name)
    text = f"{name}={value}" if isinstance(value, bool | int | float | str) else name
    return f"{text} (from {call.source(name)})"


def _modes(call: Call) -> list[str]:
    """Ways to decode in which a row of a pass is not a request, or a pass not a token."""
    found = []
    if (call.value("num_beams") or 1) > 1 or (call.value("num_beam_groups") or 1) > 1:
        name = "num_beams" if (call.value("num_beams") or 1) > 1 else "num_beam_groups"
        found.append(f"{_shown(call, name)}: beam search moves rows about, so a row is not a request; use num_beams=1")
    for name in ("constraints", "force_words_ids"):
        if call.value(name) is not None:
            found.append(f"{_shown(call, name)}: constrained decoding is a beam search; leave it out")
    contrastive = (call.value("penalty_alpha") or 0) > 0 and (call.value("top_k") or 0) > 1
    if contrastive and not call.value("do_sample"):
        found.append(f"{_shown(call, 'penalty_alpha')}: contrastive search runs top_k rows per request; leave it out")
    if call.value("dola_layers") is not None:
        found.append(f"{_shown(call, 'dola_layers')}: DoLa reads other layers than the last; leave it out")
    for name in ("assistant_model", "prompt_lookup_num_tokens", "assistant_early_exit", "use_mtp"):
        if call.value(name) not in (None, False):
            found.append(f"{_shown(call, name)}: assisted decoding checks several tokens per pass; leave it out")
    if (call.value("guidance_scale") or 1) != 1:
        found.append(f"{_shown(call, 'guidance_scale')}: guidance adds passes of its own; use guidance_scale=None")
    if call.given.get("custom_generate") is not None:
        found.append("custom_generate: a loop of its own; leave it out")
    return found


def _passes(call: Call) -> list[str]:
    """What makes passes differ from one prompt followed by one token each."""
    found = []
    if call.value("use_cache") is False:
        found.append(f"{_shown(call, 'use_cache')}: every pass would hold the whole text again; use use_cache=True")
    if call.value("prefill_chunk_size") is not None:
        found.append(f"{_shown(call, 'prefill_chunk_size')}: the prompt comes in pieces; use prefill_chunk_size=None")
    if call.value("token_healing"):
        found.append(f"{_shown(call, 'token_healing')}: it generates a first time to mend the prompt; leave it out")
    if call.given.get("inputs_embeds") is not None:
        found.append("inputs_embeds: a pass is recognised by its token ids, and there are none; pass input_ids")
    elif call.prompt() is not None and getattr(call.prompt(), "is_floating_point", bool)():
        found.append("inputs: a pass is recognised by its token ids, and these are numbers; pass input_ids")
    return found


def _caches(call: Call, model: Any) -> list[str]:
    """Caches that begin in the middle, and those for which transformers compiles the forward pass."""
    found = []
    name = next((name for name in CACHES if call.given.get(name) is not None), CACHES[-1])
    cache = call.given.get(name)
    columns = 0 if call.prompt() is None else call.prompt().shape[1]
    if not hasattr(cache, "get_seq_length") and tokens_in(cache):
        found.append(f"{name} that is not empty, and does not say what it holds; pass the whole prompt without it")
    elif name != CACHES[-1] and call.cached() >= max(columns, 1):
        found.append(
            f"{name} that is not empty and holds {call.cached()} tokens, the prompt {columns}: pass the whole "
            "conversation as input_ids, of which the cache holds the beginning, or leave the cache out"
        )
    kind = call.value("cache_implementation")
    if kind == "paged":
        found.append(f"{_shown(call, 'cache_implementation')}: continuous batching; leave it out")
    if kind == "hybrid" and "cache_implementation" not in call.given:
        # Older checkpoints of Gemma ask for it, and transformers no longer does as they say.
        kind = None
    static = getattr(cache, "is_compileable", False) or (kind is not None and ("static" in kind or "hybrid" in kind))
    forced = getattr(call.value("compile_config"), "_compile_all_devices", False)
    compiles = getattr(getattr(model, "device", None), "type", "cpu") != "cpu" or bool(forced)
    if static and compiles and not call.value("disable_compile"):
        what = _shown(call, "cache_implementation") if kind is not None else name
        found.append(
            f"{what}: transformers compiles the model for it, and what was compiled before the watch is not seen; add "
            "disable_compile=True"
        )
    return found


def tokens_in(cache: Any) -> int | None:
    """Tokens that a cache holds; None = it cannot tell, or there is none."""
    if hasattr(cache, "get_seq_length"):
        try:
            return int(cache.get_seq_length())
        except ValueError:
            # States without a sequence, as of linear attention.
            return None
    return 1 if isinstance(cache, tuple | list) and cache else None


def _stops(call: Call) -> list[str]:
    """Ends that no pass shows: a row they stop goes on as padding while others generate."""
    prompt = call.prompt()
    rows = (1 if prompt is None else len(prompt)) * (call.value("num_return_sequences") or 1)
    if rows == 1:
        return []
    found = []
    if call.value("stop_strings") is not None:
        found.append(
            f"{_shown(call, 'stop_strings')} with {rows} rows: a row they end is padding from there on, and no pass "
            "shows it; generate one row at a time, or end on tokens (eos_token_id)"
        )
    for criterion in call.given.get("stopping_criteria") or ():
        if type(criterion).__name__ not in SHARED_ENDS:
            found.append(
                f"stopping_criteria {type(criterion).__name__} with {rows} rows: a row it ends is padding from there "
                "on, and no pass shows it; generate one row at a time, or end on tokens (eos_token_id)"
            )
    return found
