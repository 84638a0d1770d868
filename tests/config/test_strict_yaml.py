"""YAML that readers disagree on is an error with its line, and no text costs more than a small file may."""

import resource
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, field_validator

from sri_sdk.config.load import load_config
from sri_sdk.config.strict_yaml import MAX_BYTES, YamlProblem, read_yaml
from sri_sdk.errors import ConfigError
from sri_sdk.options import parse
from sri_sdk.plugin import Config
from tests.config.test_config import problems, written


def refused(text: str) -> str:
    with pytest.raises(YamlProblem) as caught:
        read_yaml(text)
    return "\n".join(caught.value.problems)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0", 0), ("-7", -7), ("200", 200), (str(2**53 - 1), 2**53 - 1), (str(1 - 2**53), 1 - 2**53),
        ("0.5", 0.5), ("1e-3", 0.001), ("-2.5E+3", -2500.0), ("1e3", 1000.0),
        ("true", True), ("false", False), ("null", None), ("~", None),
        ("'no'", "no"), ('"0200"', "0200"), ("'2001-01-01'", "2001-01-01"), ("''", ""), ('"null"', "null"),
        ("0.1.2", "0.1.2"), ("7b", "7b"), ("yesterday", "yesterday"), ("a: b", {"a": "b"}), ("on-line", "on-line"),
        ("http://127.0.0.1:80/x", "http://127.0.0.1:80/x"), ("-", [None]), ("|\n 0200\n", "0200\n"),
    ],
)  # fmt: skip
def test_what_all_readers_agree_on_is_read(written: str, value: Any) -> None:
    if written == "-":
        written = "- null"
    found = read_yaml(f"x: {written}" if ": " not in written and "- " not in written else written)
    assert (found["x"] if isinstance(found, dict) and "x" in found else found) == value
    got = found["x"] if isinstance(found, dict) and "x" in found else found
    assert type(got) is type(value)


@pytest.mark.parametrize(
    "word",
    [
        "0200", "032", "08", "-012", "+5", "1_000", "0x1F", "0x_", "0X10", "0b101", "0o17", "3:20", "190:20:30.15",
        "5.", ".5", "-.5", "1e", "1_0.5", "-0", ".inf", "-.INF", ".nan", "inf", "NaN", "1e999", "1" * 10_000,
        str(2**53),
        "0." + "1" * 10_000, "yes", "No", "ON", "off", "True", "FALSE", "Null", "NULL", "2001-01-01",
        "2001-13-45", "2001-01", "2001-12-14 21:59:43", "2001-12-14t21:59:43.10-05:00", "=",
    ],
)  # fmt: skip
def test_what_readers_disagree_on_is_an_error_with_its_line_and_the_cure(word: str) -> None:
    said = refused(f"a: 1\nb:\n  c: [x, {word}]\n")
    assert said.startswith(f"line 3: b.c.1: {word[:40]}")
    assert "quote it: '" in said and len(said) < 300 and "\n" not in said


def test_every_such_word_of_a_file_is_reported_in_the_order_of_its_lines() -> None:
    said = refused("seed: yes\nbatch_size: 032\nyes: 3\n3: x\nz:\n").splitlines()
    assert [line[:6] for line in said] == ["line 1", "line 2", "line 3", "line 4", "line 5"]
    assert "Write true or false" in said[0] and "whole numbers as 200" in said[1] and "nothing is written" in said[4]
    assert said[3] == "line 4: keys must be text, found 3; quote it: '3'"


@pytest.mark.parametrize("tag", ["!!int ''", "!!bool x", "!!str 3", "! 3", "!!set {a, b}", "!x [1]", "!!null ''"])
def test_tags_are_refused_whatever_they_say(tag: str) -> None:
    assert "remove the tag" in refused(f"a: {tag}")


LAUGHS = "\n".join(["a0: &a0 [lol]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30))])
LONG_LAUGHS = "a: &a '" + "x" * 100_000 + "'\nb: [" + "*a, " * 5_000 + "]"
MERGED = "\n".join(
    ["a0: &a0 {k: 1}", *(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 20))]
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: " + "[" * 900 + "]" * 900, "line 1: more than 32 lists"), ("[" * 100_000, "line 1: "),
        ("{a: " * 20_000, "more than 32"), ("- " * 50_000, "more than 32"), ("? " * 50_000, "more than 32"),
        (LAUGHS, "more than 10,000 values"), (LONG_LAUGHS, "more than 10,000 values"), (MERGED, "more than 10,000"),
        ("a: [" + "1," * 100_000, "more than 10,000 values"), ("\n".join(f"k{i}: 1" for i in range(20_000)), "10,000"),
        ("a: &a [*a]", "stands within the value it names"), ("a: *b", "names nothing"),
        ("a: 1\n---\nb: 2", "line 2: a second document"), ("a: 1\n...\n%YAML 1.1\n---\nb: 2", "second document"),
        ('a: "\\UFFFFFFFF"', "an escape names no character"), ('a: "\\uD800"', "line 1: a: 'has"[:9]),
        ('a: "\\x1b[2J"', "has a control character"), ('out: "x\\0"', "has a control character"),
        ("a: 1\nb: \x07", "line 2: not YAML: a control character"),
        ("*" + "a" * 200_000, "line 1: "), ("a: '" + "\n" * 200_000, "not YAML"), ("<<: 3", "line 1: <<: takes"),
    ],
    ids=lambda value: value[:16],
)  # fmt: skip
def test_no_text_costs_more_than_a_small_file_may(text: str, said: str) -> None:
    started, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = refused(text)
    assert said in found and len(found) < 1_000
    assert time.process_time() - started < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "KB"


def test_a_file_that_is_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    with file.open("wb") as large:
        large.truncate(10 * 2**30)
    assert f"is larger than {MAX_BYTES // 1024} KB" in problems(file)[0]
    file.unlink()


def test_aliases_and_merged_keys_of_ordinary_size_are_read() -> None:
    assert read_yaml("a: &a {k: 1, l: 2}\nb: {<<: *a, l: 3}\nc: *a\n") == {
        "a": {"k": 1, "l": 2}, "b": {"k": 1, "l": 3}, "c": {"k": 1, "l": 2},
    }  # fmt: skip


# -- nothing is converted between kinds of values, wherever an option is declared -------------------------------------


class Declared(Config):
    count: int = Field(1, description="Some.")
    share: float = Field(0.5, description="Share.")
    on: bool = Field(False, description="Switch.")
    maybe: int | None = Field(None, description="Perhaps.")
    several: tuple[int, ...] = Field((), description="Several.")
    named: dict[str, float] = Field({}, description="By name.")
    size: int = Field(0, description="In bytes.")

    @field_validator("size", mode="before")
    @classmethod
    def _unit(cls, found: Any) -> Any:
        return int(found.removesuffix(" KB")) * 1024 if isinstance(found, str) and " KB" in found else found


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"count": True}, "count: must be a number, found True"),
        ({"count": "3"}, "count: must be a whole number, found '3', which is text; write 3 without quotes"),
        ({"count": 3.0}, "count: must be a whole number, found 3.0"),
        ({"count": "x" * 999}, "count: must be a whole number, found 'xxx"),
        ({"share": True}, "share: must be a number, found True"),
        ({"share": "0.5"}, "share: must be a number, found '0.5', which is text"),
        ({"on": 1}, "on: must be true or false, found 1"),
        ({"on": "yes"}, "on: must be true or false, found 'yes'"),
        ({"maybe": False}, "maybe: must be a number, found False"),
        ({"several": [1, True]}, "several: must be a number, found [1, True]"),
        ({"named": {"a": "2"}}, "named: must be a number, found {'a': '2'}"),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_refused_and_not_converted(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Declared, options, subject="plugin")
    (problem,) = caught.value.problems
    assert problem.startswith(said) and len(problem) < 250


def test_whole_numbers_are_numbers_and_an_option_may_read_texts_of_its_own() -> None:
    made = parse(Declared, {"share": 1, "several": [1, 2], "size": "64 KB", "named": {"a": 2}}, subject="plugin")
    assert (made.share, made.several, made.size, made.named) == (1.0, (1, 2), 65536, {"a": 2.0})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"folds__train__split": False}, "folds.train.split: must be text, found False"),
        ({"folds__train__split": 5}, "folds.train.split: must be text, found 5; quote it if text is meant: '5'"),
        ({"tap__layers": ["Final"]}, "tap.layers.0: found 'Final', allowed: final, or the number of a block counted "
         "from 0. Did you mean 'final'?"),
        ({"version": "1"}, "version: found '1', which is text; remove the quotes; this release reads 1: write "
         "version: 1"),
        ({"version": True}, "version: found True; this release reads 1: write version: 1"),
        ({"seed": True}, "seed: must be a number, found True"),
        ({"tap__layers": []}, "tap.layers: must hold at least 1 item, found []"),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_once_and_says_what_to_write(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    assert problems(written(tmp_path, **changes)) == [said]


def test_a_word_in_a_whole_file_is_shown_with_file_line_path_and_cure(tmp_path: Path) -> None:
    file = written(tmp_path)
    file.write_text(
        file.read_text().replace("split: calibration", "split: no").replace("harmless: 300", "harmless: 0300")
    )
    found = problems(file)
    assert len(found) == 2
    assert any("folds.calibration.split: no: some YAML readers take it for a boolean" in x for x in found)
    assert any("folds.train.harmless: 0300: readers disagree" in x for x in found)
    with pytest.raises(ConfigError, match=r"lab\.yaml: line"):
        load_config(file)
