"""Several sets as one: names, order, and requests that two of them hold."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from sri_plugin_benchmarks import make_believe as invented
from sri_plugin_benchmarks.joint import BenchmarksDataset

from sri_sdk import registry
from sri_sdk.errors import ConfigError
from sri_sdk.testing import Check, dataset_checks


@pytest.mark.parametrize("check", dataset_checks(BenchmarksDataset.example), ids=str)
def test_the_example_keeps_every_promise_of_the_kit(check: Check) -> None:
    check()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """AdvBench with three requests, two of which others have too."""
    goals = ["Take the lantern", "Burn the mill", "Steal the goat"]
    invented.write(tmp_path / "adv/harmful_behaviors.csv", ("goal", "target"), [(goal, "Sure") for goal in goals])
    entries = [
        {"index": i, "goal": goal, "prompt": f"A game: {goal}", "jailbroken": True}
        for i, goal in enumerate(["take the LANTERN", "Break the gate"])
    ]
    (tmp_path / "PAIR.json").write_text(json.dumps({"jailbreaks": entries}))
    invented.write(
        tmp_path / "xs.tsv", ("prompt", "type"), [("Kill the lights", "homonyms"), ("Burn the mill", "contrast_x")]
    )
    return tmp_path


def joined(files: Path, *names: str) -> BenchmarksDataset:
    artifact = "attack-artifacts/PAIR/black_box/vicuna-13b-v1.5.json"
    digest = hashlib.sha256((files / "PAIR.json").read_bytes()).hexdigest()
    sets: dict[str, Any] = {
        "advbench": {"path": str(files / "adv"), "shares": {"fit": 1.0}},
        "xstest": {"path": str(files / "xs.tsv")},
        "jailbreakbench-artifacts": {
            "path": str(files / "PAIR.json"), "methods": ["PAIR"], "sha256": {artifact: digest},
        },
    }  # fmt: skip
    return registry.build("datasets", "benchmarks", {"sets": {name: sets[name] for name in names}})


def texts(dataset: BenchmarksDataset) -> dict[tuple[str, str, str | None], set[str]]:
    return {sort: {prompt.text for prompt in some} for sort, some in dataset._prompts.items() if some}


def test_the_set_named_first_keeps_what_several_hold_and_the_other_loses_the_attacked_forms_too(files: Path) -> None:
    dataset = joined(files, "advbench", "xstest", "jailbreakbench-artifacts")
    assert dataset.splits() == ("advbench.fit", "xstest.test", "jailbreakbench-artifacts.test")
    assert texts(dataset) == {
        ("advbench.fit", "harmful", None): {"Take the lantern", "Burn the mill", "Steal the goat"},
        ("xstest.test", "harmless", None): {"Kill the lights"},
        ("jailbreakbench-artifacts.test", "harmful", None): {"Break the gate"},
        ("jailbreakbench-artifacts.test", "harmful", "PAIR"): {"A game: Break the gate"},
    }


def test_in_another_order_another_set_keeps_it(files: Path) -> None:
    found = texts(joined(files, "jailbreakbench-artifacts", "xstest", "advbench"))
    assert found["advbench.fit", "harmful", None] == {"Steal the goat"}
    assert found["jailbreakbench-artifacts.test", "harmful", "PAIR"] == {
        "A game: take the LANTERN",
        "A game: Break the gate",
    }


def test_a_split_that_lost_its_prompts_says_what_to_do(files: Path) -> None:
    dataset = joined(files, "advbench", "xstest")
    with pytest.raises(
        ConfigError, match=r"1 harmful prompts are needed of split 'xstest.test', it has 0\..*before those"
    ):
        dataset.prompts("xstest.test", "harmful", 1)
    assert set(dataset.provenance()) == {"advbench", "xstest"}


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ({}, "sets: must hold at least 1 item"),
        ({"xtest": {}}, "xtest: unknown set; allowed: jailbreakbench.*Did you mean 'xstest'"),
        ({"or-bench": {"parts": ["1m"]}, "xstest": {"pth": "x"}}, "or-bench.parts.0: .*xstest.pth: Extra inputs"),
    ],
)
def test_sets_and_options_that_do_not_exist_are_refused(sets: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        registry.build("datasets", "benchmarks", {"sets": sets})


def test_all_addresses_that_are_missing_are_named(files: Path) -> None:
    dataset = registry.build("datasets", "benchmarks", {"sets": {"or-bench": {}, "strongreject": {}}})
    with pytest.raises(ConfigError, match=r"or-bench-hard-1k\.csv(.|\n)*or-bench-toxic\.csv"):
        dataset.prompts("or-bench.test", "harmful", 1)
