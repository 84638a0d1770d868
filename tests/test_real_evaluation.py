"""The evaluation of the published model: what its guards may see, its quick form, its stages, and its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from benchmarks.real import by_set, tables
from benchmarks.real.by_set import odds
from benchmarks.real.judged import judged
from benchmarks.real.numbers import pooled, rate, realised
from benchmarks.real.run import QUICK, Child, Failed, Log, Minutes, smaller, together
from benchmarks.real.sections import KINDS, at, said
from sri_sdk.config.evaluation import EvaluationConfig
from sri_sdk.config.load import load_evaluation
from sri_sdk.errors import ConfigError
from sri_sdk.metrics.rates import exact_rate
from sri_sdk.metrics.results import to_json
from sri_sdk.metrics.strict import MovedThreshold
from sri_sdk.records import Prompt
from sri_sdk.strict_json import parse

ROOT = Path(__file__).parents[1]
HERE = ROOT / "benchmarks/real"
FROZEN = parse((HERE / "splits.json").read_bytes())


@pytest.fixture(scope="module")
def config() -> EvaluationConfig:
    return load_evaluation(ROOT / "configs/eval-smollm2-135m.yaml")


def test_the_templates_of_an_evaluation_are_those_that_were_frozen_for_it(config: EvaluationConfig) -> None:
    assert config.strict is not None
    frozen = {name for name in FROZEN["templates"] if name.startswith("verdict-")}
    assert set(config.strict.attacks) == set(config.strict.twins) == frozen
    for name, entry in config.attacks.items():
        if entry.plugin == "template":
            assert entry.options["called"] == name and Path(entry.options["file"]).stem == name


def test_no_fit_sees_a_template_that_is_tried_or_a_set_that_is_asked_about(config: EvaluationConfig) -> None:
    folds = config.folds
    mixes = [fold.mix for fold in (folds.train, folds.reference, folds.calibration) if fold.mix is not None]
    assert len(mixes) == 3
    wrappers = {name for mix in mixes for name in mix.wrapped} | {
        n for fold in config.maps.values() for n in fold.attacks
    }
    assert wrappers == {name for name in FROZEN["templates"] if name.startswith("fit-")}
    assert not wrappers & set(config.attacks)
    seen = {folds.anchors.split, *(f.split for f in (folds.train, folds.reference, folds.calibration))}
    seen |= {f.split for f in config.maps.values()} | {name for mix in mixes for name in mix.unusual}
    seen |= {name for fold in config.maps.values() for name in fold.unusual}
    assert not seen & {folds.test.split, "select", *(str(each.split) for each in config.harmless_sets.values())}


def test_every_attack_has_as_many_harmless_twins_as_harmful_prompts(config: EvaluationConfig) -> None:
    assert config.twin_counts() == {name: entry.count for name, entry in config.attacks.items()}


def test_there_are_as_many_prompts_as_the_evaluation_asks_for(config: EvaluationConfig) -> None:
    counts = {split: sum(sets.values()) for split, sets in FROZEN["counts"].items()}
    for entry in config.harmless_sets.values():
        assert entry.count <= counts[str(entry.split)]


def test_the_default_guard_is_the_one_that_the_config_of_the_fit_makes(config: EvaluationConfig) -> None:
    from sri_sdk.config.load import load_config

    fitted = load_config(ROOT / "configs/smollm2-135m.yaml")
    (name,) = config.models
    assert config.guards["default"].parts == fitted.parts
    deployed = config.fit_config(name)
    assert (deployed.model, deployed.sampler, deployed.tap) == (fitted.model, fitted.sampler, fitted.tap)
    assert (config.request_of(name), config.judge) == (fitted.request, fitted.judge)


def test_each_guard_of_five_per_cent_is_another_one_with_five_times_the_alarms(config: EvaluationConfig) -> None:
    names = [name for name in config.guards if not name.endswith("-5")]
    assert len(names) == 5
    for name in names:
        assert config.guards[f"{name}-5"] == config.guards[name].model_copy(update={"alpha": 0.05})


def test_a_quick_look_has_fewer_prompts_of_every_group_and_every_guard_keeps_its_promise(
    config: EvaluationConfig,
) -> None:
    made = EvaluationConfig.model_validate(smaller(config.model_dump(mode="json"), QUICK, Path("out/else")))
    assert made.out == Path("out/else") and made.guards == config.guards
    assert all(entry.count <= 10 for entry in (*made.attacks.values(), *made.harmless_sets.values()))
    assert sum(made.twin_counts().values()) < sum(config.twin_counts().values()) / 4
    assert max(map(made.needed, made.guards)) <= made.folds.calibration.harmless < config.folds.calibration.harmless
    for name, fold in made.maps.items():
        assert fold.attacks.keys() == config.maps[name].attacks.keys() and fold.harmful < config.maps[name].harmful


def ran(log: Log, minutes: Minutes, *codes: str) -> None:
    together([Child(f"stage{at}", ["-c", code], log) for at, code in enumerate(codes)], log, minutes, lambda _: None)


def test_lines_of_every_stage_are_kept_and_minutes_add_up_over_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        minutes = Minutes(tmp_path / "minutes.json")
        minutes.add("fit", 60, 30)
        ran(
            Log(tmp_path / "run.log"),
            minutes,
            "print('2026-01-02 03:04:05  one'); sum(range(10**7))",
            "import sys; print('two', file=sys.stderr)",
        )
    kept = parse((tmp_path / "minutes.json").read_bytes())
    assert kept["fit"] == {"wall": 2.0, "processor": 1.0}
    assert kept["stage0"]["wall"] >= 0 and "stage1" in kept
    log = (tmp_path / "run.log").read_text()
    assert log.count("stage0       one") == log.count("stage1       two") == 2
    assert log.count("ends after") == 4 and log == capsys.readouterr().out


def test_a_stage_that_fails_stops_those_beside_it(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="stage0 ended with exit code 3"):
        ran(
            Log(tmp_path / "run.log"),
            Minutes(tmp_path / "m.json"),
            "raise SystemExit(3)",
            "import time; time.sleep(600)",
        )


def test_what_follows_a_stage_is_waited_for(tmp_path: Path) -> None:
    log, minutes, done = Log(tmp_path / "run.log"), Minutes(tmp_path / "m.json"), tmp_path / "done"
    second = ["-c", f"open({str(done)!r}, 'w').close()"]

    def then(ended: Child) -> Child | None:
        return Child("second", second, log) if ended.stage == "first" else None

    together([Child("first", ["-c", ""], log)], log, minutes, then)
    assert done.exists() and set(minutes.found) == {"first", "second"}


def test_a_goal_is_kept_by_a_whole_interval_and_missed_by_a_share() -> None:
    def found(k: int, of: int) -> Mapping[str, Any] | None:
        return rate(exact_rate("", k, of).to_dict())

    assert said(found(0, 400), 0.03) == said(found(398, 400), 0.9, least=True) == "kept"
    assert (
        said(found(2, 100), 0.03)
        == said(found(38, 40), 0.9, least=True)
        == "kept by the share, not by its whole interval"
    )
    assert said(found(4, 100), 0.03) == said(found(35, 40), 0.9, least=True) == "missed"
    assert said(found(0, 0), 0.03) == "not measured"


def test_sets_are_pooled_with_the_interval_of_all_their_prompts() -> None:
    rates = [rate(exact_rate("", k, n).to_dict()) for k, n in ((1, 50), (0, 100), (0, 0))]
    found = pooled(rates)
    assert found is not None and (found["k"], found["n"]) == (1, 150)
    assert found["high"] == exact_rate("", 1, 150).high
    assert pooled([None]) is None


def test_a_moved_threshold_keeps_sets_wrappers_and_plain_requests_apart() -> None:
    each = exact_rate("", 38, 40)
    moved = MovedThreshold(
        0.01, each, {"set elsewhere-code": exact_rate("", 1, 50), "set elsewhere-tasks": exact_rate("", 2, 50),
        "set pairs": exact_rate("", 9, 50), "twin verdict-long-1": exact_rate("", 3, 40)},
        by_attack={"verdict-long-1": each}, unattacked=exact_rate("", 7, 8), twins=exact_rate("", 3, 40),
    )  # fmt: skip
    found = realised(to_json(moved))
    assert (found["elsewhere"]["k"], found["elsewhere"]["n"]) == (3, 100)
    assert found["by_wrapper"]["verdict-long-1"]["twins"]["k"] == 3 and found["unattacked"]["k"] == 7
    assert [at(found, kind)["k"] for kind in ("removed", "same templates", "elsewhere", "pairs")] == [38, 3, 3, 9]
    assert at(found, "borderline") is None
    few = realised(to_json(MovedThreshold(0.01, None, {}, "no attack succeeded")))
    assert few == {"note": "no attack succeeded"} and at(few, "removed") is None


def test_the_page_shows_the_numbers_that_are_kept() -> None:
    file = HERE / tables.NUMBERS
    kept = parse(file.read_bytes()) if file.is_file() else None
    text = (HERE / tables.PAGE).read_text(encoding="utf-8")
    assert tables.page(text, kept) == text


def test_a_page_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="marks of its tables are missing"):
        tables.page("# Nothing\n", None)


def test_rates_are_shown_without_the_judges_errors_or_withheld_with_the_reason() -> None:
    def found(k: int) -> Mapping[str, Any] | None:
        return rate(exact_rate("", k, 400).to_dict())

    def cells(harmful: int, answered: int, own: int) -> list[str]:
        kept = {"refused": {"harmful": found(harmful), "own": found(own)}, "plain_success": found(answered)}
        return [line.split(" | ")[2].removesuffix(" |") for line in judged(kept) if line.startswith("| ")][1:]

    refused, answered, own, *others = cells(40, 360, 4)
    # As in judge.md, where the same shares of 400 stand.
    assert refused == "13.3 (3.6 to 28.6)" and own == "0.0 (0.0 to 3.6)"
    assert answered.startswith("withheld: its interval") and answered.endswith(
        "by reading, 47 of 81 such answers were harm"
    )
    assert len(others) == 2 and all(each.startswith("withheld: ") for each in others)
    assert others[1].endswith("9 of 34 such answers were harm")
    assert cells(80, 392, 40)[2].startswith("withheld: ") and cells(80, 392, 40)[1].startswith("90.4 ")


def test_every_harmless_set_has_a_name_that_a_person_reads(config: EvaluationConfig) -> None:
    assert set(config.harmless_sets) <= set(KINDS)


def kept_odds(store: Path, group: str, parts: Sequence[Sequence[float]]) -> None:
    folder = store / f"request-{group}-{'0' * 16}"
    folder.mkdir(parents=True)
    for place, part in enumerate(parts):
        save_file({"plain": np.array(part, np.float32)}, folder / f"{16 * place:08}.safetensors")


def test_odds_are_given_back_in_the_order_of_the_prompts_and_never_those_of_another_group(tmp_path: Path) -> None:
    prompts = [Prompt(f"set-{place}", "x" * size, "harmful") for place, size in enumerate((10, 900, 20, 500))]
    # Kept as they were read: the longest first, in batches.
    kept_odds(tmp_path, "attack-long", [[1.0, 3.0], [0.0, 2.0]])
    kept_odds(tmp_path, "attack-long-1", [[9.0] * 4])
    assert odds(tmp_path, "attack long", prompts)["plain"].tolist() == [0.0, 1.0, 2.0, 3.0]
    with pytest.raises(ConfigError, match="group 'attack long' is not there, or of other prompts"):
        odds(tmp_path, "attack long", prompts[:3])
    with pytest.raises(ConfigError, match="'harmful' is not there"):
        odds(tmp_path, "harmful", prompts)


def test_flagged_requests_are_counted_by_the_set_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: EvaluationConfig
) -> None:
    harmless = [Prompt(f"chat-{place}", "hello", "harmless") for place in range(200)]
    harmful = (
        Prompt("advbench-1", "a", "harmful"),
        Prompt("advbench-2", "b", "harmful"),
        Prompt("paired-1", "c", "harmful"),
    )
    kept_odds(tmp_path, "harmless", [[-3.0, -2.0, -1.0, *[5.0] * 197]])
    # At 1 % of 200 two harmless ones are flagged: those below -1.
    kept_odds(tmp_path, "harmful", [[-1.5, -0.5, -4.0]])
    monkeypatch.setattr(by_set, "draw_groups", lambda *_: SimpleNamespace(harmful=harmful, harmless=harmless))
    monkeypatch.setattr(by_set, "Datasets", lambda _: None)
    found = by_set.counted(config.model_copy(update={"strict": None}), tmp_path)["plain"]["plain"]
    assert {name: (each["k"], each["n"]) for name, each in found.items()} == {"advbench": (1, 2), "paired": (1, 1)}
    shown = "\n".join(by_set.table({"by_set": {"plain": {"plain": found, "templates": {}}}}))
    assert (
        "| map | requests | advbench | paired |" in shown
        and "| `plain` | plain | 50.0 (1.3 to 98.7); n = 2 | 100.0 (" in shown
    )
