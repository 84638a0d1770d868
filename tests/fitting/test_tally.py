"""What dooms a fit is said early, and where nothing can help the fit stops at once."""

import logging
from pathlib import Path

import pytest
from click.testing import CliRunner
from sri_plugin_lab.judge import LabJudge

from sri_sdk.cli import bars, main
from sri_sdk.config.load import load_config
from sri_sdk.errors import ConfigError
from sri_sdk.fitting.collect import both_classes_first
from sri_sdk.fitting.fit import fit
from sri_sdk.fitting.forecast import Forecast, words
from sri_sdk.fitting.tally import FEW_COUNTED, Tally, refuse_few
from sri_sdk.records import Prompt
from tests.fitting.conftest import SMALL, write_config


def prompts(harmless: int, harmful: int) -> list[Prompt]:
    return [
        *(Prompt(f"a{i}", f"bake {i}", "harmless") for i in range(harmless)),
        *(Prompt(f"b{i}", f"steal {i}", "harmful") for i in range(harmful)),
    ]


def test_the_first_batch_of_each_class_comes_before_the_rest() -> None:
    assert both_classes_first(prompts(100, 100), 32) == [0, 96, 32, 64, 128, 160, 192]
    assert both_classes_first(prompts(3, 3), 64) == [0]
    assert both_classes_first(prompts(100, 0), 50) == [0, 50]


def test_a_model_that_refuses_too_little_is_warned_about_after_its_first_batch(caplog) -> None:
    fold = prompts(100, 100)
    tally = Tally("anchors", fold, LabJudge())
    with caplog.at_level(logging.INFO, "sri_sdk.fitting"):
        tally.add(fold[100:120], ["refusal"] * 2 + ["harmful"] * 18)
        tally.anchors()
        tally.anchors()
        tally.say()
    warning, line = [record.getMessage() for record in caplog.records]
    assert "2 of the first 20 harmful prompts were refused, so about 10 of 100 will count" in warning
    assert line == "anchors: harmless 0 (); harmful 20 (18 harmful, 2 refusal)"


def test_enough_refusals_are_not_worth_a_warning(caplog) -> None:
    fold = prompts(0, 100)
    tally = Tally("anchors", fold, LabJudge())
    tally.add(fold[:20], ["refusal"] * (20 * FEW_COUNTED // 100) + ["other"] * (20 - 20 * FEW_COUNTED // 100))
    tally.anchors()
    assert not caplog.records


def test_an_anchor_that_can_no_longer_get_enough_stops_the_fit() -> None:
    fold = prompts(0, 10)
    tally = Tally("anchors", fold, LabJudge())
    tally.add(fold[:6], ["harmful"] * 6)
    tally.anchors()
    tally.add(fold[6:7], ["harmful"])
    with pytest.raises(ConfigError, match="0 of 7 harmful prompts were refused; at least 4 must be"):
        tally.anchors()


@pytest.mark.parametrize(("used", "good"), [(0, False), (1, False), (3, False), (4, True)])
def test_an_anchor_of_fewer_than_four_generations_is_refused(used: int, good: bool) -> None:
    counts = {"harmless": {"used": 50, "seen": 50}, "harmful": {"used": used, "seen": 50}}
    if good:
        refuse_few(counts)
        return
    with pytest.raises(ConfigError, match=f"{used} of 50 harmful prompts .* at least 4 must be"):
        refuse_few(counts)


def test_mostly_refused_harmless_prompts_and_unreadable_answers_of_a_judge_are_warned_about(caplog) -> None:
    fold, judge = prompts(40, 0), LabJudge()
    judge.unparsable = 7
    tally = Tally("train", fold, judge)
    judge.unparsable += 3
    tally.add(fold[:20], ["refusal"] * 15 + ["harmless"] * 5)
    tally.refusals()
    about_judge, refused = [record.getMessage() for record in caplog.records]
    assert "no usable answer for 3 of 20 responses" in about_judge
    assert "15 of the first 20 harmless prompts were refused" in refused


def test_a_fit_whose_model_refuses_nothing_stops_before_the_rest_is_generated(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(LabJudge, "judge", lambda self, prompts, responses: ["harmless"] * len(prompts))
    folds = {**SMALL["folds"], "anchors": {"split": "fit", "harmless": 60, "harmful": 12}}
    config = load_config(write_config(tmp_path, folds=folds))
    seen: list[int] = []
    with pytest.raises(ConfigError, match="0 of 12 harmful prompts were refused"):
        fit(config, lambda stage, done, total: seen.append(done))
    assert max(seen) == 12, "of 72"
    # What was generated is kept, and says the same at once.
    with pytest.raises(ConfigError, match="0 of 12 harmful prompts were refused"):
        fit(config)


def test_without_a_terminal_progress_is_lines_with_the_time_and_what_the_judge_found(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["fit", str(write_config(tmp_path)), "--json"])
    assert done.exit_code == 0, done.stderr
    lines = done.stderr.splitlines()
    assert all(line[:4].isdigit() and line[10] == " " and line[13] == ":" for line in lines), lines
    said = [line[21:] for line in lines]
    assert said[0].startswith("loading the model of hook lab-diffusion; then ")
    assert "anchors 0 of 24" in said and any(line.startswith("anchors 24 of 24") for line in said)
    assert any(line.startswith("anchors: harmless 12 (") for line in said)
    assert any(line.startswith("warning: anchors: ") and "20 or more are better" in line for line in said)
    assert any(line.startswith("calibration: harmless 19 (") for line in said)


def test_a_long_stage_says_a_line_from_time_to_time(monkeypatch, capsys) -> None:
    now = [0.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: now[0])
    advance = bars._lines()
    for done in range(0, 101):
        now[0] = done * 2.0
        advance("train", done, 100)
    lines = [line[21:] for line in capsys.readouterr().err.splitlines()]
    assert len(lines) == 8 and lines[0] == "train 0 of 100"
    assert lines[1] == "train 15 of 100, 0.5/s, about 3 min left in this stage"
    assert lines[-1] == "train 100 of 100, 0.5/s"


def test_what_a_former_run_made_is_found_within_a_moment_and_has_no_pace(monkeypatch, capsys) -> None:
    now = [0.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: now[0])
    advance = bars._lines()
    for done, at in ((0, 0.0), (100, bars.FOUND / 2)):
        now[0] = at
        advance("train", done, 100)
    assert [line[21:] for line in capsys.readouterr().err.splitlines()] == ["train 0 of 100", "train 100 of 100"]


def test_the_time_to_expect_is_said_once_after_a_batch_that_was_really_generated(monkeypatch, caplog) -> None:
    now = [0.0]
    monkeypatch.setattr("sri_sdk.fitting.forecast.time.monotonic", lambda: now[0])
    forecast = Forecast(1000, lambda *_: None)
    with caplog.at_level(logging.INFO, "sri_sdk.fitting"):
        for done, at in ((0, 0.0), (100, 0.1), (200, 20.1), (300, 40.1)):
            now[0] = at
            forecast("anchors", done, 500)
    assert [record.getMessage() for record in caplog.records] == ["5 prompts/s: about 3 min for the 800 prompts left"]
    assert [words(x) for x in (4, 99, 700, 12_000)] == ["4 s", "99 s", "12 min", "3 h 20 min"]


def test_requests_that_are_only_read_say_nothing_of_the_time_that_answers_take(monkeypatch, caplog) -> None:
    now = [0.0]
    monkeypatch.setattr("sri_sdk.fitting.forecast.time.monotonic", lambda: now[0])
    forecast = Forecast(100, lambda *_: None)
    with caplog.at_level(logging.INFO, "sri_sdk.fitting"):
        for stage, done, at in (("request", 0, 0.0), ("request", 50, 2.0), ("train", 0, 2.0), ("train", 10, 12.0)):
            now[0] = at
            forecast(stage, done, 100)
    assert [record.getMessage() for record in caplog.records] == ["1 prompts/s: about 90 s for the 90 prompts left"]
