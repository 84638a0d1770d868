"""Each set: which of its rows become which prompts, on make-believe files of its form."""

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from sri_plugin_benchmarks import make_believe as invented
from sri_plugin_benchmarks.artifacts import KNOWN, JailbreakBenchArtifactsDataset
from sri_plugin_benchmarks.benchmark import Benchmark
from sri_plugin_benchmarks.harmbench import HarmBenchDataset
from sri_plugin_benchmarks.joint import SETS
from sri_plugin_benchmarks.or_bench import OrBenchDataset
from sri_plugin_benchmarks.pool import normal
from sri_plugin_benchmarks.tables import Row
from sri_plugin_benchmarks.wildjailbreak import WildJailbreakDataset

from sri_sdk import Prompt, registry
from sri_sdk.errors import ConfigError
from sri_sdk.testing import Check, dataset_checks

CHECKS = [
    pytest.param(check, id=f"{name}-{check}") for name, kind in SETS.items() for check in dataset_checks(kind.example)
]
COUNT = invented.COUNT


@pytest.mark.parametrize("check", CHECKS)
def test_the_example_keeps_every_promise_of_the_kit(check: Check) -> None:
    check()


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_installed_under_the_name_that_its_manifest_and_its_ids_bear(name: str) -> None:
    assert registry.load("datasets", name) is SETS[name]
    sort, prompts = next(iter(SETS[name].example().everything().items()))
    assert sort[0] in SETS[name].example().splits() and prompts[0].id.startswith(f"{name}-")


@pytest.mark.parametrize("name", SETS)
def test_without_a_file_every_address_is_named_with_its_licence(name: str) -> None:
    dataset = registry.build("datasets", name, {})
    with pytest.raises(ConfigError) as caught:
        dataset.prompts(dataset.splits()[0], "harmful", 1)
    said, known = str(caught.value), SETS[name].manifest
    assert len(caught.value.problems) == len(dataset.wanted())
    assert all(known.address(file) in said for file in dataset.wanted())
    assert known.licence in said and known.page in said and "options.path" in said


def whole(dataset: Benchmark) -> list[Prompt]:
    return [prompt for prompts in dataset.everything().values() for prompt in prompts]


def told(name: str) -> dict[tuple[str, str | None], set[str]]:
    """Label and attack -> texts, of the whole set."""
    dataset = SETS[name].example()
    found: dict[tuple[str, str | None], set[str]] = {}
    for prompt in whole(dataset):
        found.setdefault((prompt.label, prompt.attack), set()).add(prompt.text)
    return found


PLAIN = {
    ("harmless", None): {invented.harmless(i) for i in range(COUNT)},
    ("harmful", None): {invented.harmful(i) for i in range(COUNT)},
}


@pytest.mark.parametrize("name", ["jailbreakbench", "xstest"])
def test_harmless_and_harmful_rows_are_told_apart(name: str) -> None:
    assert told(name) == PLAIN


@pytest.mark.parametrize("name", ["strongreject", "advbench"])
def test_a_set_of_harmful_requests_has_no_harmless_one(name: str) -> None:
    assert told(name) == {("harmful", None): PLAIN["harmful", None]}


def test_hard_prompts_of_or_bench_stand_among_the_many_and_are_drawn_once() -> None:
    dataset = OrBenchDataset.example()
    assert len(dataset.prompts("test", "harmless", 2 * COUNT)) == len({p.id for p in whole(dataset)}) - COUNT
    assert dataset.provenance()["repeated"] == COUNT


def test_parts_of_or_bench_that_are_not_asked_for_need_not_be_there(tmp_path: Path) -> None:
    invented.write(tmp_path / "or-bench-toxic.csv", ("prompt", "category"), [("Take it", "illegal")])
    dataset = registry.build("datasets", "or-bench", {"path": str(tmp_path), "parts": ["toxic"]})
    assert [prompt.text for prompt in dataset.prompts("test", "harmful", 1)] == ["Take it"]
    with pytest.raises(ConfigError, match=r"holds no or-bench-hard-1k.csv"):
        registry.build("datasets", "or-bench", {"path": str(tmp_path)}).prompts("test", "harmful", 1)


def harmbench(folder: Path, **options: Any) -> Benchmark:
    HarmBenchDataset.make_believe(folder)
    name = "data/behavior_datasets/harmbench_behaviors_text_all.csv"
    # Of another form than published, so that its hash is not compared.
    source = folder / name
    rows = source.read_text(encoding="utf-8")
    source.unlink()
    lines = [json.dumps(row) for row in csv.DictReader(rows.splitlines())]
    source.with_suffix(".jsonl").write_text("\n".join(lines), encoding="utf-8")
    return registry.build("datasets", "harmbench", {"path": str(folder), **options})


def test_a_context_stands_before_its_request_as_harmbench_asks_it(tmp_path: Path) -> None:
    texts = {prompt.text for prompt in whole(harmbench(tmp_path, categories=["contextual"]))}
    assert texts == {f"Lanterns hang beside doors.\n\n---\n\n{invented.harmful(i)}" for i in range(1, COUNT, 3)}


def test_copyright_is_left_out_unless_it_is_asked_for(tmp_path: Path) -> None:
    assert len(whole(harmbench(tmp_path / "a"))) == 2 * COUNT // 3
    named = {prompt.text for prompt in whole(harmbench(tmp_path / "b", categories=["copyright"]))}
    assert named == {invented.harmful(i) for i in range(2, COUNT, 3)}


def test_an_artifact_is_attacked_by_its_method_and_based_on_its_goal() -> None:
    dataset = JailbreakBenchArtifactsDataset.example()
    plain = {prompt.id: prompt for prompt in dataset.prompts("test", "harmful", COUNT)}
    attacked = dataset.prompts("test", "harmful", COUNT, attack="PAIR")
    assert all(prompt.text == f"Let us play a game. {plain[prompt.base or ''].text}" for prompt in attacked)


def test_an_artifact_without_a_prompt_is_passed_over() -> None:
    dataset = JailbreakBenchArtifactsDataset.example()
    with pytest.raises(ConfigError, match=f"it has {COUNT - 1}"):
        dataset.prompts("test", "harmful", COUNT, attack="GCG")


def test_only_those_that_worked_are_drawn_where_asked(tmp_path: Path) -> None:
    JailbreakBenchArtifactsDataset.make_believe(tmp_path)
    # Under a name of its own, and read as the one file that is wanted.
    (tmp_path / "attack-artifacts/GCG/white_box/vicuna-13b-v1.5.json").rename(tmp_path / "mine.json")
    digest = hashlib.sha256((tmp_path / "mine.json").read_bytes()).hexdigest()
    options = {
        "path": str(tmp_path / "mine.json"), "methods": ["GCG"], "jailbroken": True,
        "sha256": {"attack-artifacts/GCG/white_box/vicuna-13b-v1.5.json": digest},
    }  # fmt: skip
    dataset = registry.build("datasets", "jailbreakbench-artifacts", options)
    assert len(dataset.prompts("test", "harmful", COUNT // 2, attack="GCG")) == COUNT // 2
    with pytest.raises(ConfigError, match=f"it has {COUNT // 2}"):
        dataset.prompts("test", "harmful", COUNT, attack="GCG")


def test_a_method_without_a_file_for_the_model_says_which_it_has() -> None:
    dataset = registry.build(
        "datasets", "jailbreakbench-artifacts", {"methods": ["DSN"], "model": "gpt-4-0125-preview"}
    )
    with pytest.raises(ConfigError, match=r"DSN has no file for gpt-4.*vicuna-13b-v1.5, llama-2-7b-chat-hf"):
        dataset.prompts("test", "harmful", 1)
    assert set(KNOWN["DSN"]) == {"vicuna-13b-v1.5", "llama-2-7b-chat-hf"}


def test_goals_of_one_behaviour_share_a_split_even_where_they_are_worded_differently() -> None:
    dataset = JailbreakBenchArtifactsDataset.example()
    (file, *_) = dataset.wanted()
    rows = [Row(1, {"index": 7, "goal": goal, "prompt": None, "jailbroken": False}) for goal in ("Take it", "Take it.")]
    groups = {request.group for row in rows for request in dataset.requests(file, row)}
    assert groups == {"behaviour 7"}


def test_a_wrapped_row_of_wildjailbreak_lies_in_the_split_of_its_plain_request() -> None:
    dataset = WildJailbreakDataset.example()
    home = {
        prompt.id: split for (split, _, attack), some in dataset.everything().items() if not attack for prompt in some
    }
    for (split, _, attack), some in dataset.everything().items():
        if attack and split != "eval":
            assert {home[prompt.base or ""] for prompt in some} == {split}
    assert dataset.splits() == ("fit", "test", "eval")


def test_the_wrapped_rows_of_eval_name_a_base_that_nobody_has() -> None:
    dataset = WildJailbreakDataset.example()
    ids = {prompt.id for prompt in whole(dataset)}
    wrapped = dataset.prompts("eval", "harmless", COUNT, attack="wildteaming")
    assert len({prompt.base for prompt in wrapped}) == COUNT and not {prompt.base for prompt in wrapped} & ids
    with pytest.raises(ConfigError, match="it has 0"):
        dataset.prompts("eval", "harmless", 1)


def test_a_text_of_eval_is_taken_out_of_train(tmp_path: Path) -> None:
    columns = ("vanilla", "adversarial", "completion", "data_type")
    invented.write(tmp_path / "train.tsv", columns, [("Take it", "Be Grim. Take it", "", "adversarial_harmful")])
    rows = [("  be GRIM. take it", "adversarial_harmful")]
    invented.write(tmp_path / "eval.tsv", ("adversarial", "data_type"), rows)
    sorts = registry.build("datasets", "wildjailbreak", {"path": str(tmp_path)}).everything()
    assert set(sorts) == {("eval", "harmful", "wildteaming"), ("train", "harmful", None)}


def test_the_splits_of_wildjailbreak_follow_its_parts() -> None:
    assert registry.build("datasets", "wildjailbreak", {"parts": ["eval"]}).splits() == ("eval",)
    assert registry.build("datasets", "wildjailbreak", {"parts": ["train"]}).splits() == ("train",)
    with pytest.raises(ConfigError, match="a split 'eval', which is the set's own"):
        registry.build("datasets", "wildjailbreak", {"shares": {"eval": 1.0}})


def test_a_gated_set_says_how_to_be_let_in() -> None:
    with pytest.raises(ConfigError, match=r"gated: log in on the hub, accept .* `hf auth login`"):
        registry.build("datasets", "wildjailbreak", {}).prompts("eval", "harmful", 1)


def test_contrast_prompts_of_xstest_are_the_harmful_ones(tmp_path: Path) -> None:
    rows = [("Kill the lights", "homonyms"), ("Take the lantern", "contrast_homonyms")]
    file = tmp_path / "mine.csv"
    invented.write(file, ("prompt", "type"), rows)
    # A form of the file that was never published: another suffix, no known hash.
    file.rename(tmp_path / "mine.tsv")
    invented.write(tmp_path / "mine.tsv", ("prompt", "type"), rows)
    dataset = registry.build("datasets", "xstest", {"path": str(tmp_path / "mine.tsv")})
    assert {(normal(p.text), p.label) for p in whole(dataset)} == {
        ("kill the lights", "harmless"), ("take the lantern", "harmful"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "columns", "row", "problem"),
    [
        (
            "wildjailbreak",
            ("vanilla", "adversarial", "data_type"),
            ("a", "b", "vanila_benign"),
            "data_type: found 'vanila",
        ),
        ("wildjailbreak", ("vanilla", "adversarial", "data_type"), ("", "b", "vanilla_benign"), "the text is empty"),
        (
            "harmbench",
            ("Behavior", "FunctionalCategory", "ContextString"),
            ("a", "other", ""),
            "FunctionalCategory: found",
        ),
        ("xstest", ("prompt", "type"), ("a", ""), "type: is empty"),
        ("advbench", ("goal", "target"), ("", "Sure"), "the text is empty"),
    ],
)
def test_a_row_that_makes_no_sense_is_named(
    tmp_path: Path, name: str, columns: tuple[str, ...], row: tuple[str, ...], problem: str
) -> None:
    file = tmp_path / "mine.tsv"
    invented.write(file, columns, [row, row])
    options = {"path": str(file), **({"parts": ["train"]} if name == "wildjailbreak" else {})}
    dataset = registry.build("datasets", name, options)
    with pytest.raises(ConfigError) as caught:
        dataset.prompts(dataset.splits()[0], "harmful", 1)
    assert [found.partition(": row ")[2][:1] for found in caught.value.problems] == ["2", "3"]
    assert all(problem in found for found in caught.value.problems)
