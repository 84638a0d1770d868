"""The options of a checkpoint, and what they mean to transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from sri_sdk.errors import ConfigError
from sri_sdk.plugin import Config

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


def packages_for(config: Any) -> list[str]:
    """Packages that the options themselves ask for."""
    packages = []
    if isinstance(config.device_map, dict) or config.device_map in _SPREAD or config.quantization is not None:
        packages.append("accelerate")
    if config.quantization is not None:
        packages.append("bitsandbytes")
    return packages


def model_options(config: Any) -> dict[str, Any]:
    """Arguments of `from_pretrained` that concern the model alone."""
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


def device_of(config: Any) -> Any:
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
