"""DiffusionGemma, vLLM's only diffusion model: what its sampler makes of canvases, and what clients write into them."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from operator import attrgetter
from typing import Any

import torch

from sri_plugin_vllm.here import HERE
from sri_sdk.canvas import CANVAS_PRIMED, CANVAS_REWRITTEN
from sri_sdk.engine.settings import EngineSettings
from sri_sdk.errors import ConfigError, ModelMismatch

log = logging.getLogger("sri_sdk.vllm")

Original = Callable[..., Any]

OTHER_SAMPLER = "other_sampler"
SEED, PINS = "diffusion_seed_canvas", "diffusion_pinned"
WRITES: Mapping[str, str] = {SEED: CANVAS_PRIMED, PINS: CANVAS_REWRITTEN}
"""Arguments of a request with which a client infills: what its canvas begins with, and which positions of it are put
back after every step. Each with what the verdict says."""
OTHERS = ("diffusion_canvas_length", "diffusion_max_steps", "diffusion_read_only", "diffusion_constrained")
"""Arguments that make it another sampler than the one that the guard was fitted under."""
ADMISSION = "vllm.v1.engine.input_processor", "validate_diffusion_sampling_params"
"""Where vLLM checks them, in the process that takes requests."""
PHASE, STEP = "is_encoder_phase", "step"
"""What the sampler keeps of each slot: whether its next pass writes a finished canvas, and the steps on this one."""


def reasons_of(params: Any) -> tuple[str, ...]:
    """What a request's sampling parameters do to its canvas, as reason codes."""
    given = _given(params)
    found = [WRITES[name] for name in given if name in WRITES]
    return (*found, OTHER_SAMPLER) if any(name in OTHERS for name in given) else tuple(found)


def _given(params: Any) -> tuple[str, ...]:
    """The arguments that have an effect: vLLM takes no pins and zero for none given, and an empty canvas for one."""
    extra = getattr(params, "extra_args", None) or {}
    return tuple(
        name for name in (*WRITES, *OTHERS) if (extra.get(name) is not None if name == SEED else extra.get(name))
    )


def gate_admission(settings: EngineSettings) -> None:
    """Lets vLLM refuse a request that writes into its canvas, where `tampered` is `abort`; a second time changes
    nothing.

    Raises:
        ConfigError: vLLM checks requests elsewhere.
    """
    if settings.tampered != "abort":
        return
    module, name = ADMISSION
    try:
        place = import_module(module)
        original = getattr(place, name)
    except (ImportError, AttributeError) as err:
        raise ConfigError(
            f"tampered: abort needs vLLM's {name} in {module}, and it is not there. Write `tampered: report`, and such "
            "requests run and are unmonitored."
        ) from err
    if getattr(original, "_sri_wrapped", False):
        return

    @functools.wraps(original)
    def checked(params: Any, *args: Any, **kwargs: Any) -> Any:
        if wrote := [name for name in _given(params) if name in WRITES]:
            from vllm.exceptions import VLLMValidationError

            log.warning("a request was refused: it writes into its canvas (%s)", ", ".join(wrote))
            raise VLLMValidationError(
                f"{', '.join(wrote)}: this engine takes no request that fills in or pins positions of its response. "
                "Leave the argument out.", parameter="extra_args",
            )  # fmt: skip
        return original(params, *args, **kwargs)

    checked._sri_wrapped = True  # type: ignore[attr-defined]  # a mark of ours on a function
    setattr(place, name, checked)


PROFILE = {
    "canvas_length": ("canvas_length", "--diffusion-config canvas_length"),
    "steps": ("diffusion_states.max_denoising_steps", "--diffusion-config max_denoising_steps"),
    "entropy_bound": ("entropy_bound", "generation_config.json"),
    "t_min": ("t_min", "generation_config.json"),
    "t_max": ("t_max", "generation_config.json"),
    "confidence_threshold": ("confidence_threshold", "generation_config.json"),
}
"""What a guard's profile says of its sampler -> where vLLM's sampler has it, and what sets it there."""


def tap_sampler(runner: Any, profile: Mapping[str, Any]) -> None:
    """Puts the tap on the sampler of a runner whose model works on canvases; a second time changes nothing.

    Args:
        runner: vLLM's.
        profile: of the sampler that the guard was fitted under; what it does not name is not compared.

    Raises:
        ConfigError: the sampler is not built as the plugin knows it.
        ModelMismatch: it samples otherwise than the guard's.
    """
    sampler = getattr(runner, "sampler", None)
    kept = getattr(sampler, "diffusion_states", None)
    missing = [name for name in (PHASE, STEP) if not isinstance(getattr(kept, name, None), torch.Tensor)]
    kind = type(sampler)
    if missing or "__call__" not in vars(kind):
        raise ConfigError(
            f"vLLM's sampler {kind.__name__} keeps no diffusion_states with "
            f"{' and '.join(missing) or 'a call of its own'}, so nothing says which passes over a "
            "canvas are steps. Use the release that the plugin was written for, "
            "or unset SRI_VLLM_CONFIG to run without a guard."
        )
    _same_profile(sampler, profile)
    original = vars(kind)["__call__"]
    if getattr(original, "_sri_wrapped", False):
        return

    @functools.wraps(original)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return sample(original, self, *args, **kwargs)

    call._sri_wrapped = True  # type: ignore[attr-defined]  # as above
    kind.__call__ = call  # type: ignore[method-assign]  # as above


def _same_profile(sampler: Any, profile: Mapping[str, Any]) -> None:
    other = []
    for name, (path, source) in PROFILE.items():
        if name not in profile:
            continue
        try:
            found = attrgetter(path)(sampler)
        except AttributeError:
            found = math.nan
        if not math.isclose(found, profile[name], rel_tol=1e-6):
            other.append(f"{name}: {found}, and the guard's is {profile[name]} (set by {source})")
    if other:
        raise ModelMismatch(
            "vLLM's sampler is not the one that the guard was fitted under: " + "; ".join(other) + ". Set what the "
            "guard has, or fit one under these."
        )  # fmt: skip


def sample(original: Original, sampler: Any, logits: Any, input_batch: Any, *args: Any, **kwargs: Any) -> Any:
    """One call of the sampler: what its slots were before, and what it gave out. Nothing waits for the device."""
    tap, before, keys = HERE.tap, None, tuple[str, ...]()
    if tap is not None:
        try:
            keys = tuple(input_batch.req_ids[: input_batch.num_reqs])
            slots = input_batch.idx_mapping[: len(keys)].long()
            kept = sampler.diffusion_states
            # Copies: the sampler writes into these tensors.
            before = (~kept.is_encoder_phase[slots]).long(), kept.step[slots].long()
        except Exception as err:
            _unknown(keys, err)
    output = original(sampler, logits, input_batch, *args, **kwargs)
    if tap is not None and before is not None:
        try:
            tap.sampled(keys, torch.stack([*before, output.num_sampled[: len(keys)].long()], dim=1))
        except Exception as err:
            _unknown(keys, err)
    return output


def _unknown(keys: Sequence[str], err: Exception) -> None:
    """The next pass finds that this one has no account, and its requests are not trusted."""
    log.warning("what the sampler made of %d requests was not taken: %s", len(keys), type(err).__name__)


def canvases_of(batch: Any) -> frozenset[str]:
    """Requests of a batch whose rows are a canvas: those that the sampler is given rows of."""
    rows = batch.cu_num_logits_np
    return frozenset(key for at, key in enumerate(batch.req_ids) if rows[at + 1] > rows[at])
