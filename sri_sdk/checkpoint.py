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

from collections.abc import Callable, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from sri_sdk.errors import ConfigError, MissingExtra
from sri_sdk.plugin import Config
from sri_sdk.records import LoadedModel


class CheckpointConfig(Config):
    """What an operator may write under `model.options` for a family whose weights are a Hugging Face checkpoint."""

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
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="Number format of the weights in memory; auto = as they were saved."
    )
    device_map: str | dict[str, int | str] | None = Field(
        default=None,
        description="Where the weights go: null = one GPU if there is one, else the CPU; cpu, cuda:0; auto = spread "
        "over all GPUs; or module -> device. auto and a mapping need the package accelerate.",
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
    _check_stack(family, works_with, [*needs, *_packages_for(config)])
    if own_code and not config.trust_remote_code:
        raise ConfigError(
            f"model.options.trust_remote_code: {family} checkpoints bring their own model code, and it is off. Read "
            f"the code of {config.source!r}, then set trust_remote_code: true and revision: the commit you have read."
        )
    if before is not None:
        before()
    model, tokenizer = _load(config, family, works_with, [auto] if isinstance(auto, str) else list(auto))
    return LoadedModel(model, tokenizer, _named(config))


def _check_stack(family: str, works_with: str, needs: Sequence[str]) -> None:
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
        if found not in requirement.specifier:
            problems.append(f"{requirement.name} {found} is installed")
    if problems:
        wanted = ", ".join(str(Requirement(text)) for text in (works_with, *needs))
        raise ConfigError(
            f"hook {family}: {'; '.join(problems)}. Known to work: {wanted}. Install it in an environment of this "
            f'family: pip install "{works_with}"' + "".join(f' "{text}"' for text in needs) + "."
        )


def _packages_for(config: Any) -> list[str]:
    """Packages that the options themselves ask for."""
    packages = []
    if isinstance(config.device_map, dict) or config.device_map == "auto" or config.quantization is not None:
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
    options = {**shared, **_model_options(config)}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(config.source, **shared)
        failures = []
        for auto in autos:
            try:
                model = _class(auto).from_pretrained(config.source, **options)
                break
            except ValueError as err:
                # "Unrecognized configuration class": the next one may know it.
                failures.append(err)
        else:
            raise failures[0]
    except (OSError, ValueError, KeyError, ImportError, AttributeError, TypeError) as err:
        raise _not_loaded(config, family, works_with, err) from err
    if config.device_map is None:
        model = model.to(_device())
    return model.eval(), tokenizer


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
    if config.device_map is not None:
        options["device_map"] = config.device_map
    if config.attention is not None:
        options["attn_implementation"] = config.attention
    if config.quantization is not None:
        bits = {"load_in_8bit": True} if config.quantization == "8bit" else {"load_in_4bit": True}
        options["quantization_config"] = transformers.BitsAndBytesConfig(**bits)
    return options


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _named(config: Any) -> str:
    """Where the weights came from, as a person would name it."""
    source: str = config.source
    return source if config.revision is None else f"{source}@{config.revision}"


def _not_loaded(config: Any, family: str, works_with: str, err: Exception) -> ConfigError:
    """One sentence for what failed and one for what to do."""
    import transformers

    reason = " ".join(str(err).split())[:300].rstrip(". ")
    if "trust_remote_code" in reason:
        cure = (
            "This checkpoint brings its own code; read it, then set trust_remote_code: true and revision: the commit "
            "you have read."
        )
    elif config.offline and isinstance(err, OSError):
        cure = "offline is true, and this is neither a folder nor downloaded before. Download it, or set it to false."
    elif isinstance(err, OSError):
        cure = "Give a folder with config.json, weights and tokenizer, or a hub id; a gated one needs `hf auth login`."
    else:
        cure = (
            f"transformers {transformers.__version__} is installed, known to work: {works_with}. If the checkpoint is "
            "of another family, name its hook: `sri plugins list --kind hooks`."
        )
    return ConfigError(f"hook {family}: {_named(config)} cannot be loaded: {type(err).__name__}: {reason}. {cure}")
