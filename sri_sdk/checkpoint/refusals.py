"""What stops a checkpoint from being loaded, and the cure for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from sri_sdk.errors import ConfigError


def check_stack(whose: str, works_with: str, needs: Sequence[str]) -> None:
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


def refuse_code_from_elsewhere(config: Any, shared: dict[str, Any]) -> None:
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
            f"{config.section}.code_revision: {name_of(config)} takes its code from {', '.join(elsewhere)}, which "
            "`revision` does not pin. Read that code, then set code_revision: the commit you have read."
        )


def refuse_random_weights(config: Any, family: str, model: Any, report: Mapping[str, Any]) -> None:
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
            f"{config.subject} {family}: {name_of(config)} has no weights for {len(random)} of the model's "
            f"{len(weights)} parts, such as {random[0]}: they would be random. It was saved from another kind of model "
            f"than {type(model).__name__}; {_other_family(config)}."
        )


def _other_family(config: Any) -> str:
    """What to do where a checkpoint is of another family."""
    if config.subject == "hook":
        return "name its hook: `sri plugins list --kind hooks`"
    return "choose one that suits this plugin"


def name_of(config: Any) -> str:
    """Where the weights came from, as a person would name it."""
    source: str = config.source
    return source if config.revision is None else f"{source}@{config.revision}"


def not_loaded(config: Any, family: str, works_with: str, err: Exception) -> ConfigError:
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
        f"{config.subject} {family}: {name_of(config)} cannot be loaded: {type(err).__name__}: {reason}. {cure}"
    )
