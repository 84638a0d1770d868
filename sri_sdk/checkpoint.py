"""Loading real weights: one set of options for every family that comes as a Hugging Face checkpoint.

    class MyHook(sri_sdk.Hook):
        class Config(CheckpointConfig):
            pass

        @classmethod
        def load(cls, config):
            return load_checkpoint(config, family="my-family", works_with="transformers>=4.57", auto="AutoModel")

Nothing from a checkpoint is executed unless `trust_remote_code` says so in words, and then the revision must be stated
too. A missing stack, another release of transformers, a checkpoint that is not there: each is one error with its cure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from sri_sdk.errors import ConfigError, MissingExtra, SriError
from sri_sdk.plugin import Config
from sri_sdk.records import LoadedModel

_SPREAD = ("auto", "balanced", "balanced_low_0", "sequential")
"""Words of `device_map` with which accelerate spreads a model over devices."""


class CheckpointConfig(Config):
    """What an operator may write under `model.options` for a family whose weights are a Hugging Face checkpoint.

    A judge or a baseline that runs on a checkpoint extends it too, and says in `subject` and `section` whose options
    they are.
    """

    subject: ClassVar[str] = "hook"
    """Kind of plugin, as messages call it."""
    section: ClassVar[str] = "model.options"
    """Where these options stand in YAML, as messages call it."""

    source: str = Field(min_length=1, description="Folder with the checkpoint, or its id on the hub.")
    revision: str | None = Field(
        default=None, min_length=1,
        description="Commit, tag or branch of a hub checkpoint; pin a commit for anything that must stay as it is.",
    )  # fmt: skip
    trust_remote_code: bool = Field(
        default=False,
        description="Run the Python code that comes with the checkpoint. Needed by families that transformers does not "
        "have; read that code first, and state its revision.",
    )
    code_revision: str | None = Field(
        default=None, min_length=1,
        description="Commit of the code where a checkpoint takes it from another repository than its own.",
    )  # fmt: skip
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="Number format of the weights in memory; auto = as they were saved."
    )
    device_map: str | dict[str, int | str] | None = Field(
        default=None,
        description="Where the weights go: null = one GPU if there is one, else the CPU; cpu, cuda:0; auto = spread "
        "over all GPUs; or module -> device. auto and a mapping need the package accelerate.",
        examples=[None, "cuda:0", "auto", {"": "cpu"}],
    )
    quantization: Literal["8bit", "4bit"] | None = Field(
        default=None, description="Load the weights in 8 or 4 bits; needs the package bitsandbytes. null = no."
    )
    attention: str | None = Field(
        default=None,
        description="Attention code (eager, sdpa, flash_attention_2); null = the model's choice.",
    )
    offline: bool = Field(default=False, description="Never ask the hub: only folders and what was downloaded before.")

    @model_validator(mode="after")
    def _code_is_pinned(self) -> Self:
        if self.trust_remote_code and self.revision is None and not Path(self.source).is_dir():
            raise ValueError(
                "trust_remote_code: true needs `revision`: code from a hub can change under its name; state the commit "
                "you have read"
            )
        return self


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
    _check_stack(f"{config.subject} {family}", works_with, [*needs, *_packages_for(config)])
    if own_code and not config.trust_remote_code:
        raise ConfigError(
            f"{config.section}.trust_remote_code: {family} checkpoints bring their own model code, and it is off. Read "
            f"the code of {config.source!r}, then set trust_remote_code: true and revision: the commit you have read."
        )
    if before is not None:
        before()
    model, tokenizer = _load(config, family, works_with, [auto] if isinstance(auto, str) else list(auto))
    return LoadedModel(model, tokenizer, _named(config))


def _check_stack(whose: str, works_with: str, needs: Sequence[str]) -> None:
    """Every problem of the installed packages at once."""
    from packaging.requirements import Requirement

    problems = []
    for text in (works_with, *needs):
        requirement = Requirement(text)
        try:
            found = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            problems.append(f"{requirement.name} is not installed")
            continue
        # A release candidate or a build from source counts as the release it becomes.
        if not requirement.specifier.contains(found, prereleases=True):
            problems.append(f"{requirement.name} {found} is installed")
    if problems:
        wanted = ", ".join(str(Requirement(text)) for text in (works_with, *needs))
        raise ConfigError(
            f"{whose}: {'; '.join(problems)}. Known to work: {wanted}. Install it in an environment of this "
            f'family: pip install "{works_with}"' + "".join(f' "{text}"' for text in needs) + "."
        )


def _packages_for(config: Any) -> list[str]:
    """Packages that the options themselves ask for."""
    packages = []
    if isinstance(config.device_map, dict) or config.device_map in _SPREAD or config.quantization is not None:
        packages.append("accelerate")
    if config.quantization is not None:
        packages.append("bitsandbytes")
    return packages


def _load(config: Any, family: str, works_with: str, autos: Sequence[str]) -> tuple[Any, Any]:
    import transformers

    shared = {
        "revision": config.revision or "main",
        "trust_remote_code": config.trust_remote_code,
        "local_files_only": config.offline,
    }
    if config.code_revision is not None:
        shared["code_revision"] = config.code_revision
    device = _device(config)
    try:
        if config.trust_remote_code and config.code_revision is None:
            _refuse_code_from_elsewhere(config, shared)
        options = {**shared, **_model_options(config)}
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
        raise _not_loaded(config, family, works_with, err) from err
    _refuse_random_weights(config, family, model, report)
    # transformers places quantised weights itself, and they cannot be moved.
    if device is not None and getattr(model, "hf_quantizer", None) is None:
        try:
            model = model.to(device)
        except (RuntimeError, AssertionError) as err:
            reason = " ".join(str(err).split())[:300].rstrip(". ")
            raise ConfigError(
                f"{config.section}.device_map: the weights of {_named(config)} do not go to {device}: {reason}. Choose "
                "another device, auto to spread them, or quantization to make them smaller."
            ) from err
    return model.eval(), tokenizer


def _refuse_code_from_elsewhere(config: Any, shared: dict[str, Any]) -> None:
    """A checkpoint may name code of another repository, which its own revision does not pin."""
    from transformers import PretrainedConfig
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    facts, _ = PretrainedConfig.get_config_dict(config.source, **shared)
    # The tokenizer has a file and a map of its own.
    maps = [facts.get("auto_map") or {}, get_tokenizer_config(config.source, **shared).get("auto_map") or {}]
    entries = [found for map_ in maps for found in (map_.values() if isinstance(map_, dict) else [map_])]
    named = [x for found in entries for x in (found if isinstance(found, list) else [found])]
    elsewhere = sorted({x.partition("--")[0] for x in named if isinstance(x, str) and "--" in x} - {config.source})
    if elsewhere:
        raise ConfigError(
            f"{config.section}.code_revision: {_named(config)} takes its code from {', '.join(elsewhere)}, which "
            "`revision` does not pin. Read that code, then set code_revision: the commit you have read."
        )


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


def _refuse_random_weights(config: Any, family: str, model: Any, report: Mapping[str, Any]) -> None:
    """What a checkpoint lacks is filled with random numbers and a warning; no signal may be made of that."""
    if config.quantization is not None:
        # Quantised weights go by other names.
        return
    weights = dict(model.named_parameters(remove_duplicate=False))
    lacking = set(report["missing_keys"]) & set(weights)
    # A head that shares the embedding's numbers is missing from a file by right.
    shared = {id(weight) for name, weight in weights.items() if name not in lacking}
    random = sorted(name for name in lacking if id(weights[name]) not in shared)
    if random:
        raise ConfigError(
            f"{config.subject} {family}: {_named(config)} has no weights for {len(random)} of the model's "
            f"{len(weights)} parts, such as {random[0]}: they would be random. It was saved from another kind of model "
            f"than {type(model).__name__}; {_other_family(config)}."
        )


def _class(auto: str) -> Any:
    from importlib import import_module

    module, _, name = auto.rpartition(":")
    return getattr(import_module(module or "transformers"), name)


def _model_options(config: Any) -> dict[str, Any]:
    import torch
    import transformers

    # transformers 4.56 renamed it; both names are understood for a while, on different sides.
    name = "dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"
    options: dict[str, Any] = {name: "auto" if config.dtype == "auto" else getattr(torch, config.dtype)}
    if isinstance(config.device_map, dict) or config.device_map in _SPREAD:
        options["device_map"] = config.device_map
    elif config.quantization is not None and config.device_map is not None:
        options["device_map"] = {"": config.device_map}
    if config.attention is not None:
        options["attn_implementation"] = config.attention
    if config.quantization is not None:
        bits = {"load_in_8bit": True} if config.quantization == "8bit" else {"load_in_4bit": True}
        options["quantization_config"] = transformers.BitsAndBytesConfig(**bits)
    return options


def _device(config: Any) -> Any:
    """Where the whole model goes; None = transformers spreads it."""
    import torch

    if isinstance(config.device_map, dict) or config.device_map in _SPREAD:
        return None
    if config.device_map is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(config.device_map)
    except RuntimeError as err:
        raise ConfigError(
            f"{config.section}.device_map: found {config.device_map!r}, allowed: null, a device such as cpu or cuda:0, "
            f"{', '.join(_SPREAD)}, or module -> device."
        ) from err


def _other_family(config: Any) -> str:
    """What to do where a checkpoint is of another family."""
    if config.subject == "hook":
        return "name its hook: `sri plugins list --kind hooks`"
    return "choose one that suits this plugin"


def _named(config: Any) -> str:
    """Where the weights came from, as a person would name it."""
    source: str = config.source
    return source if config.revision is None else f"{source}@{config.revision}"


def _not_loaded(config: Any, family: str, works_with: str, err: Exception) -> ConfigError:
    """One sentence for what failed and one for what to do."""
    import transformers

    whole = " ".join(str(err).split())
    reason = whole[:300].rstrip(". ")
    # A path that does not exist is not a valid name on the hub either.
    unfound = isinstance(err, OSError) or type(err).__name__ == "HFValidationError"
    if "trust_remote_code" in whole:
        cure = (
            "This checkpoint brings its own code; read it, then set trust_remote_code: true and revision: the commit "
            "you have read."
        )
    elif config.offline and unfound:
        cure = "offline is true, and this is neither a folder nor downloaded before. Download it, or set it to false."
    elif config.attention is not None and "attention" in whole.lower():
        cure = f"Leave {config.section}.attention out, or name one that this model and this machine have: eager, sdpa."
    elif unfound:
        cure = "Give a folder with config.json, weights and tokenizer, or a hub id; a gated one needs `hf auth login`."
    else:
        cure = (
            f"transformers {transformers.__version__} is installed, known to work: {works_with}. If the checkpoint is "
            f"of another family, {_other_family(config)}."
        )
    return ConfigError(
        f"{config.subject} {family}: {_named(config)} cannot be loaded: {type(err).__name__}: {reason}. {cure}"
    )
