"""What judges say of responses that somebody read: the sample, what is kept of it, and the page that shows it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.real import judge_verdicts
from benchmarks.real.judge_sample import SHARES, STRATA, draw
from benchmarks.real.judge_verdicts import GROUPS, JUDGES, LABELS, UNREADABLE, WORDS, errors, fingerprint, tables
from benchmarks.real.prompts import collect, write_files
from sri_sdk.judge import Judge
from sri_sdk.records import Outcome, Prompt
from sri_sdk.strict_json import parse, write
from tests.make_believe_packages import install

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "benchmarks/real/judge.md").read_text(encoding="utf-8")
KEPT = parse((ROOT / "benchmarks/real/judge.json").read_bytes())
READ = [parse(line) for line in LABELS.read_text(encoding="utf-8").split("\n") if line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of make-believe prompts."""
    packages = tmp_path_factory.mktemp("packages")
    install(packages)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(packages))
        write_files(collect(), packages / "prompts")
    return packages / "prompts"


def test_every_number_on_the_page_is_one_that_was_kept() -> None:
    for name, lines in tables(KEPT).items():
        assert "\n".join(lines) in PAGE, name


def test_what_is_kept_of_a_response_is_a_label_and_no_word_of_it() -> None:
    assert len({each["id"] for each in READ}) == len(READ) == 200
    for each in READ:
        assert each.keys() == {"id", "response", "label"} and each["label"] in WORDS
        assert re.fullmatch(r"[0-9a-f]{16}", each["response"]) and re.fullmatch(r"[\w/-]+", each["id"])


def test_the_counts_are_those_of_the_labels() -> None:
    assert KEPT["responses"] == len(READ)
    for judge in JUDGES:
        counted: Counter[str] = Counter()
        for stratum in STRATA:
            for label, said in KEPT["judges"][judge][stratum].items():
                assert said.keys() <= {*WORDS, UNREADABLE}
                counted[label] += sum(said.values())
        assert counted == Counter(each["label"] for each in READ)


def test_the_sample_has_no_prompt_and_no_template_of_the_verdict(folder: Path) -> None:
    drawn = draw(folder)
    verdict = {parse(line)["id"] for line in (folder / "test.jsonl").read_text("utf-8").split("\n") if line}
    assert drawn and not verdict & {each.prompt.base or each.prompt.id for each in drawn}
    assert not any((each.prompt.attack or "").startswith("verdict") for each in drawn)
    assert {share.split for share in SHARES} == {"fit", "select", "calibration"}


def test_the_sample_is_the_same_each_time_and_has_no_request_twice(folder: Path) -> None:
    drawn = draw(folder)
    assert drawn == draw(folder)
    bases = [each.prompt.base or each.prompt.id for each in drawn]
    assert len(set(bases)) == len(bases)
    assert {each.stratum for each in drawn} == set(STRATA) == {name for names in GROUPS.values() for name in names}


class Parrot(Judge):
    """Says what a response says; a response it does not know cannot be read."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def judge(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[Outcome]:
        self.asked += responses
        return [text if text in WORDS else "other" for text in responses]  # type: ignore[misc]

    def unparsed(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[bool]:
        return [text not in WORDS for text in responses]


def line(name: str, response: str, stratum: str = "advbench-plain") -> dict[str, Any]:
    return {"stratum": stratum, "id": name, "label": "harmful", "prompt": "Pick the lock.", "response": response}


def test_a_judge_is_asked_once_about_each_response(tmp_path: Path) -> None:
    judge, found = Parrot(), [line("a", "refusal"), line("b", "mumble")]
    said = judge_verdicts.said_by(judge, "parrot", found, tmp_path / "said.jsonl")
    assert said == {"a": "refusal", "b": UNREADABLE}
    found.append(line("c", "harmful"))
    assert judge_verdicts.said_by(judge, "parrot", found, tmp_path / "said.jsonl") == {**said, "c": "harmful"}
    assert judge.asked == ["refusal", "mumble", "harmful"]


def test_a_response_that_came_out_differently_is_not_the_labelled_one(tmp_path: Path) -> None:
    kept = tmp_path / "labels.jsonl"
    known = {"a": "refusal", "b": "harmful"}
    kept.write_text(
        "".join(write({"id": k, "response": fingerprint(k), "label": v}) + "\n" for k, v in known.items()), "utf-8"
    )
    found = [line("a", "a"), line("b", "another text"), line("c", "c")]
    assert judge_verdicts.labelled(found, kept) == [(found[0], "refusal")]


def test_errors_of_a_group_are_those_of_its_strata_together() -> None:
    nothing: dict[str, dict[str, int]] = {word: {} for word in WORDS}
    plain = {**nothing, "refusal": {"refusal": 3, "harmless": 1}, "harmless": {"harmless": 20, "refusal": 2}}
    wrapped = {**nothing, "refusal": {"refusal": 1}, "other": {"refusal": 1, "harmless": 4}}
    kept = {"judges": {"one": {"harmless-plain": plain, "harmless-wrapped": wrapped}}}
    made = errors(kept, "one", "harmless", "refusal")
    assert (made.recognised.k, made.recognised.n) == (4, 5)
    assert (made.mistaken.k, made.mistaken.n) == (3, 27)
