"""Prompts from JSON lines: what is read, in which order, and what is said of bad lines."""

import json
from pathlib import Path
from typing import Any

import pytest
from sri_plugin_prompts.jsonl import JsonlDataset

from sri_sdk import registry
from sri_sdk.errors import ConfigError
from sri_sdk.testing import Check, dataset_checks


@pytest.mark.parametrize("check", dataset_checks(JsonlDataset.example), ids=str)
def test_the_example_keeps_every_promise_of_the_kit(check: Check) -> None:
    check()


def line(number: int, **more: Any) -> dict[str, Any]:
    return {"text": f"Request {number}", "label": "harmless", **more}


def written(folder: Path, *lines: Any, name: str = "fit.jsonl") -> Path:
    file = folder / name
    file.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines) + "\n", encoding="utf-8")
    return file


def dataset(file: Path, **options: Any) -> JsonlDataset:
    return registry.build("datasets", "jsonl", {"files": {"fit": str(file)}, **options})


def problems(file: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        dataset(file).prompts("fit", "harmless", 1)
    return [problem.removeprefix(f"{file}: ") for problem in caught.value.problems]


def test_every_key_of_a_line_is_read(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        {"id": "x", "text": "Open it", "label": "harmful"},
        {"id": "y", "text": "You are Grim. Open it", "label": "harmful", "attack": "role", "base": "x"},
    )
    found = dataset(file, attacks=["role"])
    assert [(p.id, p.text, p.label, p.attack, p.base) for p in found.prompts("fit", "harmful", 1)] == [
        ("x", "Open it", "harmful", None, None)
    ]
    attacked = found.prompts("fit", "harmful", 1, attack="role")[0]
    assert (attacked.id, attacked.attack, attacked.base) == ("y", "role", "x")
    assert (found.splits(), found.attacks()) == (("fit",), ("role",))


def test_the_order_does_not_follow_the_file(tmp_path: Path) -> None:
    lines = [line(number) for number in range(40)]
    forth = dataset(written(tmp_path, *lines)).prompts("fit", "harmless", 40)
    back = dataset(written(tmp_path, *reversed(lines), name="back.jsonl")).prompts("fit", "harmless", 40)
    assert forth == back
    assert [p.text for p in forth] != [entry["text"] for entry in lines]


def test_a_line_added_anywhere_leaves_the_others_in_their_order(tmp_path: Path) -> None:
    lines = [line(number) for number in range(20)]
    before = dataset(written(tmp_path, *lines)).prompts("fit", "harmless", 20)
    more = dataset(written(tmp_path, *lines[:7], line(99), *lines[7:], name="more.jsonl"))
    after = more.prompts("fit", "harmless", 21)
    assert [p for p in after if p.text != "Request 99"] == before


def test_fewer_are_the_beginning_of_more(tmp_path: Path) -> None:
    found = dataset(written(tmp_path, *[line(number) for number in range(9)]))
    assert found.prompts("fit", "harmless", 4) == found.prompts("fit", "harmless", 9)[:4]


def test_all_bad_lines_are_reported_at_once(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        line(0),
        "{not json",
        "[1, 2]",
        {"text": " ", "label": "harmless"},
        {"text": "a"},
        {"text": "b", "label": "harmles"},
        {"text": "c", "label": "harmless", "lable": "x"},
        {"text": "d", "label": "harmless", "id": 7},
        {"text": "e", "label": "harmless", "id": ""},
        {"text": "f", "label": "harmful", "attack": "role"},
        '{"text": "g", "text": "h", "label": "harmless"}',
        '{"text": "\\ud800", "label": "harmless"}',
        {"text": "i", "label": "harmless", "prefill": "sure <mask:x>"},
        line(1),
    )
    found = problems(file)
    assert [problem.split(":")[0] for problem in found] == [f"line {number}" for number in range(2, 14)]
    said = "\n".join(found)
    for words in (
        "not JSON: Expecting property name", "must be an object, found list", "text: must be a text that is not empty",
        "label: found None", "Did you mean 'harmless'?", "unknown keys lable", "Did you mean 'label'?", "found 7",
        "found ''", "base: missing", "a key is written twice: 'text'", "half of a surrogate pair",
        "found '<mask:x>'",
    ):  # fmt: skip
        assert words in said, words


def test_many_bad_lines_are_counted_and_not_all_printed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="and 10 more") as caught:
        dataset(written(tmp_path, *["nothing"] * 30)).prompts("fit", "harmless", 1)
    assert len(caught.value.problems) == 30
    assert '"label": "harmless" or "harmful"' in str(caught.value)


def test_a_text_or_an_id_that_stands_twice_names_the_first_line(tmp_path: Path) -> None:
    file = written(tmp_path, line(1), line(2, id="x"), {"text": "  REQUEST 1", "label": "harmful"}, line(3, id="x"))
    assert problems(file) == [
        "line 3: text: the same as on line 1; every prompt once",
        "line 4: id 'x': the same as on line 2; every prompt once",
    ]


def test_one_request_may_stand_once_for_each_start_of_its_response(tmp_path: Path) -> None:
    start = {"text": "request 1", "label": "harmful", "attack": "prefill", "base": "x", "prefill": "sure ,"}
    file = written(tmp_path, {"id": "x", "text": "request 1", "label": "harmful"}, start)
    (made,) = dataset(file, attacks=["prefill"]).prompts("fit", "harmful", 1, attack="prefill")
    assert (made.text, made.prefill, made.base) == ("request 1", "sure ,", "x")
    (plain,) = dataset(file).prompts("fit", "harmful", 1)
    assert plain.prefill is None
    assert problems(written(tmp_path, start, {**start, "prefill": "SURE ,", "id": "y"})) == [
        "line 2: text: the same as on line 1; every prompt once"
    ]


def test_empty_lines_other_line_ends_and_a_byte_order_mark_are_no_problem(tmp_path: Path) -> None:
    file = tmp_path / "fit.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + b'{"text": "a", "label": "harmless"}\r\n\r\n{"text": "b", "label": "harmless"}')
    assert {p.text for p in dataset(file).prompts("fit", "harmless", 2)} == {"a", "b"}


def test_a_text_may_hold_characters_that_end_a_line_elsewhere(tmp_path: Path) -> None:
    file = written(tmp_path, '{"text": "one\u2028two\u0085three", "label": "harmless"}')
    assert dataset(file).prompts("fit", "harmless", 1)[0].text == "one\u2028two\u0085three"


def test_too_few_prompts_say_how_many_there_are(tmp_path: Path) -> None:
    found = dataset(written(tmp_path, line(1), line(2, label="harmful")))
    with pytest.raises(ConfigError, match=r"3 harmless prompts without an attack are needed, it has 1\..*split 'fit'"):
        found.prompts("fit", "harmless", 3)


def test_unknown_names_are_refused_with_the_nearest_one(tmp_path: Path) -> None:
    found = dataset(written(tmp_path, line(1)), attacks=["role"])
    with pytest.raises(ConfigError, match=r"unknown split 'fitt'.*Did you mean 'fit'"):
        found.prompts("fitt", "harmless", 1)
    with pytest.raises(ConfigError, match=r"unknown attack 'rolle'.*Did you mean 'role'"):
        found.prompts("fit", "harmful", 1, attack="rolle")


@pytest.mark.parametrize("make", [lambda file: None, lambda file: file.mkdir(), lambda file: file.write_bytes(b"\xff")])
def test_a_file_that_cannot_be_read_says_what_to_write(tmp_path: Path, make: Any) -> None:
    file = tmp_path / "fit.jsonl"
    make(file)
    with pytest.raises(ConfigError, match=r"fit.jsonl: (cannot be read: .*JSON object|not UTF-8 text)"):
        dataset(file).prompts("fit", "harmless", 1)


def test_a_file_is_read_again_once_it_has_changed(tmp_path: Path) -> None:
    file = written(tmp_path, line(1))
    assert len(dataset(file).prompts("fit", "harmless", 1)) == 1
    written(tmp_path, line(1), line(2))
    assert len(dataset(file).prompts("fit", "harmless", 2)) == 2


def test_the_options_need_at_least_one_file() -> None:
    with pytest.raises(ConfigError, match="files"):
        registry.build("datasets", "jsonl", {"files": {}})
