"""From options to a model and its tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sri_sdk.checkpoint.options import device_of, model_options, packages_for
from sri_sdk.checkpoint.refusals import (
    check_stack,
    name_of,
    not_loaded,
    refuse_code_from_elsewhere,
    refuse_random_weights,
)  # fmt: skip
from sri_sdk.errors import ConfigError, MissingExtra, SriError
from sri_sdk.records import LoadedModel


def load_checkpoint(
    config: Any,
    *,
    family: str,
    works_with: str = "transformers>=4.57",
    auto: str | Sequence[str] = "AutoModelForCausalLM",
    own_code: bool = False,
    needs: Sequence[str] = (),
    before: Callable[[], None] | None = None,
) -> LoadedModel:
    """Loads model and tokenizer.

    Args:
        config: a `CheckpointConfig`, or the options of a hook that extends it.
        family: how messages call the family; usually the plugin's name.
        works_with: requirement on transformers that the family's code is known to run with, such as
            `transformers>=4.57,<5`.
        auto: transformers' class to load with, or a dotted `module:Class`; of several, the first that can.
        own_code: whether the family's model code comes with its checkpoints and not with transformers.
        needs: other packages the family's code imports.
        before: called before anything is loaded, as to prepare what the family's code expects of transformers.

    Raises:
        MissingExtra: torch or transformers is not installed.
        ConfigError: another version or package is needed, code from outside was not allowed, or nothing can be loaded.
    """
    if find_spec("torch") is None or find_spec("transformers") is None:
        raise MissingExtra(f"Loading a {family} model", extra="capture")
    if config.source.startswith((".", "/", "~")) and not Path(config.source).is_dir():
        raise ConfigError(
            f"{config.section}.source: folder {config.source} does not exist, seen from {Path.cwd()}. Give a folder "
            "with config.json, weights and tokenizer, or a hub id such as organisation/name."
        )
    check_stack(f"{config.subject} {family}", works_with, [*needs, *packages_for(config)])
    if own_code and not config.trust_remote_code:
        raise ConfigError(
            f"{config.section}.trust_remote_code: {family} checkpoints bring their own model code, and it is off. Read "
            f"the code of {config.source!r}, then set trust_remote_code: true and revision: the commit you have read."
        )
    if before is not None:
        before()
    model, tokenizer = _load(config, family, works_with, [auto] if isinstance(auto, str) else list(auto))
    return LoadedModel(model, tokenizer, name_of(config))


def _load(config: Any, family: str, works_with: str, autos: Sequence[str]) -> tuple[Any, Any]:
    import transformers

    shared = {
        "revision": config.revision or "main",
        "trust_remote_code": config.trust_remote_code,
        "local_files_only": config.offline,
    }
    if config.code_revision is not None:
        shared["code_revision"] = config.code_revision
    device = device_of(config)
    try:
        if config.trust_remote_code and config.code_revision is None:
            refuse_code_from_elsewhere(config, shared)
        options = {**shared, **model_options(config)}
        tokenizer = transformers.AutoTokenizer.from_pretrained(config.source, **shared)
        failures = []
        for auto in autos:
            try:
                model, report = _with_report(_class(auto), config.source, options)
                break
            except ValueError as err:
                # "Unrecognized configuration class": the next one may know it.
                failures.append(err)
        else:
            raise failures[0]
    except SriError:
        raise
    except Exception as err:
        # Whatever it is: hub, files, packages, code that came with the checkpoint. The cause stays attached.
        raise not_loaded(config, family, works_with, err) from err
    refuse_random_weights(config, family, model, report)
    # transformers places quantised weights itself, and they cannot be moved.
    if device is not None and getattr(model, "hf_quantizer", None) is None:
        try:
            model = model.to(device)
        except (RuntimeError, AssertionError) as err:
            reason = " ".join(str(err).split())[:300].rstrip(". ")
            raise ConfigError(
                f"{config.section}.device_map: the weights of {name_of(config)} do not go to {device}: {reason}. "
                "Choose another device, auto to spread them, or quantization to make them smaller."
            ) from err
    return model.eval(), tokenizer


def _with_report(auto: Any, source: str, options: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
    """The model, and what its checkpoint lacked."""
    try:
        model, report = auto.from_pretrained(source, output_loading_info=True, **options)
        return model, report
    except AttributeError as err:
        if "'tuple' object" not in str(err):
            raise
    # A class that goes on working with what it loaded, as Dream's does, cannot bear a pair: no report then.
    return auto.from_pretrained(source, **options), {"missing_keys": ()}


def _class(auto: str) -> Any:
    from importlib import import_module

    module, _, name = auto.rpartition(":")
    return getattr(import_module(module or "transformers"), name)
