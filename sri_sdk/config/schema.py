"""JSON schemas of the YAML files, with the options of the installed plugins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from sri_sdk import registry
from sri_sdk.config.check_fit import PLUGINS
from sri_sdk.config.evaluation import EvaluationConfig
from sri_sdk.config.fit import FitConfig
from sri_sdk.errors import SriError
from sri_sdk.plugin import Config

KINDS: Mapping[str, type[Config]] = {"fit": FitConfig, "evaluation": EvaluationConfig}
"""Kind of file -> its declaration."""


class Place(NamedTuple):
    """Where a file names a plugin."""

    owner: str
    """Definition that has the section, or key of the file with a list of them; empty = the file itself."""
    section: str
    """Key of the section; empty = the owner itself has the plugin's name and options."""
    key: str
    """Key of the plugin's name; its options stand beside it, under `options`."""
    kind: str
    """Kind of plugin."""


PLACES: Mapping[str, tuple[Place, ...]] = {
    "fit": (
        *(Place("", section, key, kind) for section, (key, kind) in PLUGINS.items()),
        Place("sinks", "", "name", "sinks"),
        Place("PartSection", "", "detector", "detectors"),
    ),
    "evaluation": (
        Place("", "prompts", "dataset", "datasets"),
        Place("", "judge", "name", "judges"),
        Place("", "draft_judge", "name", "judges"),
        Place("", "unseen_attacks", "name", "detectors"),
        Place("EvaluatedModel", "model", "hook", "hooks"),
        Place("EvaluatedModel", "sampler", "name", "samplers"),
        Place("GuardEntry", "detector", "name", "detectors"),
        Place("GuardEntry", "baseline", "name", "baselines"),
        Place("PartSection", "", "detector", "detectors"),
        Place("AttackEntry", "", "plugin", "attacks"),
        Place("FromDataset", "", "dataset", "datasets"),
    ),
}


def schema(kind: str = "fit") -> dict[str, Any]:
    """JSON schema of one kind of file, with the options of every installed plugin that loads."""
    return schema_of(KINDS[kind], PLACES[kind])


def schema_of(declared: type[Config], places: Iterable[Place]) -> dict[str, Any]:
    """JSON schema of a file, with the options of every installed plugin that loads.

    Args:
        declared: what the file may say.
        places: where it names plugins.
    """
    whole = declared.model_json_schema()
    definitions = whole["$defs"]
    for place in places:
        if cases := list(_cases(place, definitions)):
            owner = definitions.get(place.owner, whole)
            if place.owner in whole["properties"]:
                owner = whole["properties"][place.owner]["items"]
            owner.setdefault("allOf", []).extend(cases)
    return whole


def _cases(place: Place, definitions: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """`if` this plugin is named, `then` these are its options; for each plugin that loads."""
    for name in dict.fromkeys(info.name for info in registry.installed(place.kind)):
        try:
            prefix = f"{place.kind}-{name}-"
            with registry.blamed(place.kind, name, "describing its options"):
                declared = registry.load(place.kind, name).Config
                options = declared.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
        except SriError:
            # A broken plugin must not hide the documentation of the others; `sri doctor` names it.
            continue
        definitions.update({f"{prefix}{inner}": body for inner, body in options.pop("$defs", {}).items()})
        named: dict[str, Any] = {"properties": {place.key: {"const": name}}, "required": [place.key]}
        then: dict[str, Any] = {"properties": {"options": options}}
        if place.section:
            named, then = ({"properties": {place.section: each}} for each in (named, then))
        yield {"if": named, "then": then}
