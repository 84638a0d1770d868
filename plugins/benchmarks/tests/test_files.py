"""Where files are found, what their hashes decide, and what is said of bad ones."""

import hashlib
import json
import logging
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from sri_plugin_benchmarks import make_believe as invented
from sri_plugin_benchmarks.advbench import AdvBenchDataset
from sri_plugin_benchmarks.files import locate
from sri_plugin_benchmarks.manifest import Manifest
from sri_plugin_benchmarks.pool import Request, pooled, split_of
from sri_plugin_benchmarks.tables import read_rows
from sri_plugin_benchmarks.xstest import XSTestDataset

from sri_sdk import registry
from sri_sdk.errors import ConfigError, MissingExtra

ADV: Manifest = AdvBenchDataset.manifest
(GOALS,) = ADV.files


def advbench(path: Path, **options: Any) -> AdvBenchDataset:
    return registry.build("datasets", "advbench", {"path": str(path), **options})


def goals(file: Path, *texts: str) -> Path:
    invented.write(file, ("goal", "target"), [(text, "Sure") for text in texts])
    return file


# -- forms -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "tsv", "json", "jsonl"])
def test_a_file_may_be_of_any_form(tmp_path: Path, form: str) -> None:
    texts, file = ("One\nline and, another", 'With "quotes"\tand more'), tmp_path / f"harmful_behaviors.{form}"
    objects = [{"goal": text, "target": "Sure", "number": 3} for text in texts]
    if form == "json":
        file.write_text(json.dumps(objects))
    elif form == "jsonl":
        file.write_text("\n\n".join(map(json.dumps, objects)))
    else:
        goals(file, *texts)
    assert {p.text for p in advbench(tmp_path).prompts("test", "harmful", 2)} == set(texts)


def test_a_mark_before_the_first_column_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfgoal,target\r\nOne,Sure\r\n")
    assert [row.text("goal") for row in read_rows(tmp_path / "a.csv", ("goal",))] == ["One"]


def test_a_cell_that_is_not_a_number_is_empty(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"goal": NaN, "target": 1.5}\n')
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf[{"goal": NaN, "target": 1.5}]')
    for name in ("a.jsonl", "a.json"):
        assert [(row.text("goal"), row.text("target")) for row in read_rows(tmp_path / name, ("goal",))] == [
            ("", "1.5")
        ]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"gaol,target\nOne,Sure\n", "column goal is missing; found: gaol, target. Did you mean 'gaol'?"),
        ("a.csv", b"goal,target\nOne\n", "not csv: line 2 has more or fewer cells"),
        ("a.csv", b"goal,target\nOne,Sure,more\n", "not csv: line 2 has more or fewer cells"),
        ("a.csv", b"goal\n\xff\n", "not UTF-8 text, first at byte"),
        ("a.json", b"[{]", "not JSON: Expecting property name"),
        ("a.json", b'{"goal": "One"}', "must hold a list of objects, found dict"),
        ("a.json", b"[1]", "must hold a list of objects, found list"),
        ("a.jsonl", b'{"goal": "One"}\n<html>\n', "line 2: not JSON"),
        ("a.jsonl", b"[1]\n", "line 1: must be an object, found list"),
        ("a.jsonl", b'{"goal": "One"}\n{"goal": "One", "goal": "Two"}\n', "line 2: a key is written twice: 'goal'"),
        ("a.jsonl", b'{"goal": "\\ud800"}\n', "line 1: half of a surrogate pair"),
        ("a.jsonl", b'{"goal": "' + b"x" * 2**24 + b'"}\n', "line 1: more than 16777216 bytes"),
        ("a.json", b"[" * 100_000, "more than 64 levels"),
        ("a.txt", b"One\n", "must end in one of .csv, .tsv, .json, .jsonl"),
    ],
)
def test_a_file_of_another_form_is_refused_with_what_was_found(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        list(read_rows(tmp_path / name, ("goal",)))
    assert str(caught.value).startswith(f"{tmp_path / name}: ") and said in str(caught.value)


def test_many_bad_rows_are_counted_and_not_all_printed(tmp_path: Path) -> None:
    file = goals(tmp_path / "a.tsv", *[" "] * 30)
    with pytest.raises(ConfigError, match="and 10 more") as caught:
        advbench(file).prompts("test", "harmful", 1)
    assert len(caught.value.problems) == 30


# -- places ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place", ["data/advbench/harmful_behaviors.csv", "advbench/harmful_behaviors.csv", "harmful_behaviors.tsv"]
)
def test_a_folder_holds_a_file_as_published_or_without_its_outer_folders(tmp_path: Path, place: str) -> None:
    goals(tmp_path / place, "One")
    assert locate(ADV, GOALS, path=tmp_path).path == tmp_path / place


def test_a_file_that_is_not_in_the_folder_says_what_to_download(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no data/advbench/harmful_behaviors.csv.*Download https://raw.*MIT"):
        advbench(tmp_path).prompts("test", "harmful", 1)
    with pytest.raises(ConfigError, match="nowhere does not exist, seen from"):
        advbench(tmp_path / "nowhere").prompts("test", "harmful", 1)


def test_one_file_cannot_stand_for_several() -> None:
    dataset = registry.build("datasets", "jailbreakbench", {"path": __file__})
    with pytest.raises(ConfigError, match=r"is the file test_files.py, but several are needed, such as harmful-beh"):
        dataset.prompts("test", "harmful", 1)


def test_a_file_whose_name_several_attacks_share_is_not_mistaken(tmp_path: Path) -> None:
    (tmp_path / "black_box").mkdir()
    (tmp_path / "black_box/vicuna-13b-v1.5.json").write_text('{"jailbreaks": []}')
    dataset = registry.build("datasets", "jailbreakbench-artifacts", {"path": str(tmp_path), "methods": ["PAIR"]})
    with pytest.raises(ConfigError, match="holds no attack-artifacts/PAIR/black_box"):
        dataset.prompts("test", "harmful", 1)


# -- hashes ------------------------------------------------------------------------------------------------------


def test_the_hash_of_what_was_read_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = goals(tmp_path / "harmful_behaviors.csv", "One", "one ", "Two")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with caplog.at_level(logging.INFO):
        found = advbench(file).provenance()
    assert found["files"] == [
        {"file": "data/advbench/harmful_behaviors.csv", "revision": "main", "sha256": digest, "expected": None}
    ]
    assert (found["prompts"], found["repeated"], found["licence"]) == (2, 1, "MIT") and digest in caplog.text
    json.dumps(found)


def test_a_pinned_hash_must_be_that_of_the_file(tmp_path: Path) -> None:
    file = goals(tmp_path / "harmful_behaviors.csv", "One")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    pinned = advbench(file, sha256={GOALS.name: digest.upper()})
    assert pinned.provenance()["files"][0]["expected"] == digest
    with pytest.raises(ConfigError, match=rf"sha256 is {digest}, options.sha256 says 0000.*pin it: options.sha256"):
        advbench(file, sha256={GOALS.name: "0" * 64}).provenance()


def test_a_pin_for_a_file_that_the_set_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no file is named harmful_behavior.csv; files: data/advbench"):
        advbench(goals(tmp_path / "a.csv", "One"), sha256={"harmful_behavior.csv": "0" * 64}).provenance()


def test_a_known_hash_is_checked_until_another_release_or_another_file_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "xstest_prompts.csv"
    invented.write(file, ("prompt", "type"), [("Take it", "contrast_x")])
    with pytest.raises(
        ConfigError, match=r"the publication at d7bb5bd\w+ says 11783fb2.*another file, or it is damaged"
    ):
        XSTestDataset(XSTestDataset.Config(path=file)).provenance()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    for options in ({"revision": "v3"}, {"sha256": {file.name: digest}}):
        dataset = XSTestDataset(XSTestDataset.Config(path=file, **options))
        assert len(dataset.prompts("test", "harmful", 1)) == 1


# -- the hub -----------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """A stub of the hub with one file of XSTest; its cache has the hub's layout."""
    asked: list[tuple[Any, ...]] = []
    cached = tmp_path / "hub/datasets--Paul--XSTest/snapshots/abc123/xstest_prompts.csv"
    invented.write(cached, ("prompt", "type"), [("Take it", "contrast_x")])

    def download(repo: str, file: str, *, repo_type: str, revision: str | None) -> str:
        asked.append((repo, file, repo_type, revision))
        if repo != "Paul/XSTest":
            raise OSError("403 Client Error. Access to this dataset is restricted.")
        return str(cached)

    module = types.ModuleType("huggingface_hub")
    module.hf_hub_download = download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return asked


def test_the_hub_is_asked_only_in_words_and_the_commit_it_gave_is_reported(hub: list[tuple[Any, ...]]) -> None:
    with pytest.raises(ConfigError, match=r"set options.download: true to take it from Paul/XSTest"):
        registry.build("datasets", "xstest", {}).provenance()
    assert not hub
    found = registry.build("datasets", "xstest", {"download": True}).provenance()
    assert hub == [("Paul/XSTest", "xstest_prompts.csv", "dataset", None)]
    assert (found["files"][0]["revision"], found["prompts"]) == ("abc123", 1)


def test_a_local_file_beats_the_hub(hub: list[tuple[Any, ...]], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no xstest_prompts.csv"):
        registry.build("datasets", "xstest", {"download": True, "path": str(tmp_path)}).provenance()
    assert not hub


def test_a_closed_gate_says_how_to_be_let_in(hub: list[tuple[Any, ...]]) -> None:
    dataset = registry.build("datasets", "wildjailbreak", {"download": True, "parts": ["eval"]})
    with pytest.raises(ConfigError, match=r"eval/eval.tsv could not be downloaded.*403 Client.*It is gated: log in"):
        dataset.prompts("eval", "harmful", 1)
    # The commit whose form we know, since it is the hub's own.
    assert hub[0][3] == "5ddc12a7894f842b0619b8e1c7ee496b198af009"


def test_a_set_that_is_not_on_the_hub_says_so(hub: list[tuple[Any, ...]]) -> None:
    with pytest.raises(ConfigError, match=r"not on the Hugging Face hub.*Download https://raw.*Then set options.path"):
        registry.build("datasets", "advbench", {"download": True}).provenance()
    assert not hub


def test_without_the_hubs_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match=r"Downloading XSTest needs .* \"sri-sdk\[capture\]\""):
        registry.build("datasets", "xstest", {"download": True}).provenance()


# -- shares ------------------------------------------------------------------------------------------------------


def texts(count: int) -> list[str]:
    return [invented.harmless(number) for number in range(count)]


def test_shares_are_kept_and_do_not_overlap() -> None:
    shares = {"fit": 0.5, "calibration": 0.3}
    homes = [split_of(text, shares) for text in texts(4000)]
    # Four standard deviations of a binomial.
    for split, share in (("fit", 0.5), ("calibration", 0.3), (None, 0.2)):
        assert abs(homes.count(split) / 4000 - share) < 4 * (share * (1 - share) / 4000) ** 0.5


def test_shares_that_add_up_to_one_leave_nobody_out() -> None:
    assert None not in {split_of(text, {"a": 0.7, "b": 0.2, "c": 0.1}) for text in texts(2000)}


@pytest.mark.parametrize("shares", [{}, {"a": 0.7, "b": 0.4}, {"a": 0.0}, {"a": -0.1}, {"a": 1.5}])
def test_shares_that_make_no_sense_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="shares"):
        registry.build("datasets", "advbench", {"shares": shares})


def test_a_row_added_elsewhere_moves_nothing() -> None:
    shares = {"fit": 0.5, "test": 0.5}
    before = pooled("x", [Request(text, "harmless") for text in texts(40)], shares).prompts
    after = pooled("x", [Request(text, "harmless") for text in ["New", *reversed(texts(40))]], shares).prompts
    for sort, prompts in before.items():
        assert [prompt for prompt in after[sort] if prompt.text != "New"] == list(prompts)


def test_a_text_of_both_labels_is_not_drawn_and_is_counted() -> None:
    rows = [Request("One", "harmless"), Request("Two", "harmless"), Request(" ONE", "harmful")]
    pool = pooled("x", rows, {"test": 1.0})
    assert [prompt.text for some in pool.prompts.values() for prompt in some] == ["Two"]
    assert (pool.repeated, pool.contradicting) == (1, 1)
