"""The JSON schemas of the YAML files."""

from typing import Any

import pytest

from sri_sdk.config.evaluation import EvaluationConfig
from sri_sdk.config.schema import KINDS, PLACES, schema


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_describes_every_field(kind: str) -> None:
    whole = schema(kind)
    bare = [
        f"{owner}.{name}"
        for owner, model in {whole["title"]: whole, **whole["$defs"]}.items()
        for name, field in model.get("properties", {}).items()
        if "description" not in field and "$ref" not in field
    ]
    assert bare == []


def test_the_schema_of_a_deployment_has_the_options_of_its_plugins() -> None:
    toy = {"properties": {"model": {"properties": {"hook": {"const": "toy"}}, "required": ["hook"]}}}
    then = case(schema()["allOf"], toy)
    assert "seed" in then["properties"]["model"]["properties"]["options"]["properties"]


def test_the_schema_of_an_evaluation_has_the_options_of_plugins_wherever_it_names_one() -> None:
    whole = schema("evaluation")
    assert whole["title"] == "EvaluationConfig"
    for place in PLACES["evaluation"]:
        owner = whole["$defs"][place.owner] if place.owner else whole
        assert (place.section or place.key) in owner["properties"], place
    named = {"properties": {"baseline": {"properties": {"name": {"const": "perplexity"}}, "required": ["name"]}}}
    then = case(whole["$defs"]["GuardEntry"]["allOf"], named)
    assert "description" in str(then["properties"]["baseline"]["properties"]["options"]["properties"])
    own = {"properties": {"plugin": {"const": "random-search"}}, "required": ["plugin"]}
    assert case(whole["$defs"]["AttackEntry"]["allOf"], own)["properties"]["options"]["properties"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_reference_of_a_schema_leads_somewhere(kind: str) -> None:
    whole = schema(kind)
    names = {ref.removeprefix("#/$defs/") for ref in references(whole)}
    assert names <= whole["$defs"].keys()


def test_an_evaluation_names_plugins_in_no_other_place() -> None:
    """A section with options belongs to a plugin, so the table of places must have it."""
    definitions = EvaluationConfig.model_json_schema()["$defs"]
    owners = {name for name, body in definitions.items() if "options" in body["properties"]}
    known = {"ModelSection", "PluginSection", "DetectorSection", "PromptsSection", "AttackEntry", "FromDataset"}
    assert owners == known | {"PartSection"}


def case(cases: list[dict[str, Any]], condition: dict[str, Any]) -> dict[str, Any]:
    (found,) = [each["then"] for each in cases if each["if"] == condition]
    return found


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {value["$ref"]} if isinstance(value.get("$ref"), str) else set().union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list) else set()
