"""What makes a result worthless is counted, shown, kept with the batches, and stops a run."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sri_plugin_lab.hooks import LabDiffusionHook
from sri_plugin_lab.judge import LabJudge

from sri_sdk.cli import main
from sri_sdk.config.fit import LimitsSection
from sri_sdk.config.load import load_config
from sri_sdk.errors import ConfigError
from sri_sdk.fitting.counters import Counters
from sri_sdk.fitting.fit import fit
from sri_sdk.fitting.judged import judged
from sri_sdk.judge import Judge
from sri_sdk.records import Outcome, Prompt
from sri_sdk.thoughts import KNOWN
from tests.fitting.conftest import write_config

ASKED = [Prompt(f"p{i}", f"secret request {i}", "harmful") for i in range(4)]


class Reads(Judge):
    """Keeps what it was shown."""

    def judge(self, prompts: Any, responses: Any) -> list[Outcome]:
        self.seen = list(responses)
        return ["other" if not text else "refusal" if "cannot" in text else "harmful" for text in responses]


class CountsOnly(Reads):
    """Knows how many of its answers could not be read, and not which."""

    unparsable = 0

    def judge(self, prompts: Any, responses: Any) -> list[Outcome]:
        self.unparsable += 1
        return ["harmful", "harmful", "other", "harmful"]


def test_a_judge_is_shown_answers_and_what_has_none_is_counted() -> None:
    judge = Reads()
    texts = ["<think>I cannot</think>Sure.", "<think>I cannot", "", "I cannot"]
    found = judged(judge, KNOWN, ASKED, texts)
    assert judge.seen == ["Sure.", "", "", "I cannot"]
    assert found.outcomes == ["harmful", "other", "other", "refusal"]
    assert found.counts == {"unfinished": ["p1"], "empty": ["p2"]}


def test_a_judge_that_counts_and_cannot_tell_which_is_believed() -> None:
    assert judged(CountsOnly(), KNOWN, ASKED, ["a"] * 4).counts == {"unparsable": ["p2"]}


def counters(**limits: Any) -> Counters:
    return Counters(LimitsSection(**limits))


def test_too_large_a_share_stops_with_its_count_an_example_and_what_to_do() -> None:
    made = counters()
    made.add("train", 40, {"unparsable": [f"p{i}" for i in range(5)]})
    made.check("train", ended=False)  # Five of forty may be three of a hundred.
    with pytest.raises(ConfigError) as stopped:
        made.check("train", ended=True)
    for part in (
        "train: unparsable: 5 of 40",
        "12.5 %",
        "'p0'",
        "limits.unusable, which is 10 %",
        "max_tokens",
        "kept",
    ):
        assert part in str(stopped.value)


def test_what_is_certain_stops_before_the_stage_has_ended() -> None:
    made = counters()
    made.add("train", 20, {"unfinished": [f"p{i}" for i in range(12)]})
    with pytest.raises(ConfigError, match="unfinished: 12 of 20 responses end within a thought"):
        made.check("train", ended=False)


def test_a_few_responses_stop_nothing_and_are_warned_about_with_their_number(caplog) -> None:
    made = counters()
    made.add("test", 19, {"empty": [f"p{i}" for i in range(19)]})
    with caplog.at_level(logging.WARNING, "sri_sdk.fitting"):
        made.check("test", ended=True)
        made.check("test", ended=True)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "empty: 19 of 19" in line and "limits.least is 20" in line


def test_many_small_stages_stop_together() -> None:
    made = counters()
    made.add("a", 12, {"empty": [f"p{i}" for i in range(6)]})
    made.check("a", ended=True)
    made.add("b", 12, {})
    with pytest.raises(ConfigError, match="all stages so far: empty: 6 of 24"):
        made.check("b", ended=True)


@pytest.mark.parametrize(
    ("limits", "stops"), [({"unusable": 1.0}, False), ({"unusable": 0.3}, True), ({"least": 50}, False)]
)
def test_the_limits_are_the_operators(limits: dict[str, Any], stops: bool) -> None:
    made = counters(**limits)
    made.add("train", 40, {"empty": [f"p{i}" for i in range(20)]})
    if stops:
        with pytest.raises(ConfigError):
            made.check("train", ended=True)
    else:
        made.check("train", ended=True)


def test_a_fit_stops_by_its_counters_and_a_continued_one_still_knows_them(tmp_path: Path, monkeypatch) -> None:
    plain = LabDiffusionHook.decode

    def thinks(self: Any, tokenizer: Any, tokens: Any) -> list[str]:
        return [f"<think>{text}" for text in plain(self, tokenizer, tokens)]

    path = write_config(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(LabDiffusionHook, "decode", thinks)
        with pytest.raises(ConfigError, match="anchors: unfinished: 24 of 24"):
            fit(load_config(path))
    asked: list[str] = []
    monkeypatch.setattr(LabJudge, "judge", lambda self, prompts, texts: asked.extend(texts))
    with pytest.raises(ConfigError, match="anchors: unfinished: 24 of 24"):
        fit(load_config(path))
    assert not asked, "what was generated is kept, and its counts with it"


def test_a_fit_shows_its_counters_and_thoughts_change_no_outcome(tmp_path: Path, monkeypatch) -> None:
    plain = LabDiffusionHook.decode

    def thinks(self: Any, tokenizer: Any, tokens: Any) -> list[str]:
        return [f"<think>sorry , i cannot</think>{text}" for text in plain(self, tokenizer, tokens)]

    monkeypatch.setattr(LabDiffusionHook, "decode", thinks)
    done = CliRunner().invoke(main, ["fit", str(write_config(tmp_path)), "--json"])
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["counters"]["anchors"]["unparsable"] == {"k": 0, "n": 24, "example": None}
    assert found["counters"].keys() == {"anchors", "train", "reference", "calibration", "test"}
    assert found["anchors"]["harmless"]["used"] > 4, "a refusal that is only thought of is none"
    shown = CliRunner().invoke(main, ["fit", str(tmp_path / "small.yaml")])
    assert "unparsable  0 / 99" in shown.stdout and "unfinished" in shown.stdout
