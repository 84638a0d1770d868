"""The file of a monitor: mistakes are named all at once, before a model is loaded."""

import pytest
from click.testing import CliRunner

from sri_sdk.cli import main
from sri_sdk.errors import ConfigError
from sri_sdk.monitor.reading import read_monitor


def problems(path) -> str:
    with pytest.raises(ConfigError) as found:
        read_monitor(path)
    return "\n".join(found.value.problems)


def test_a_file_of_a_few_lines_is_enough_and_the_defaults_are_safe(write_monitor) -> None:
    told = read_monitor(write_monitor(audit=None, spool=None, sinks=[{"name": "jsonl", "options": {"path": "v"}}]))
    settings = told.settings
    assert settings.spool_path.as_posix() == "out/monitor/toy/spool.db" and settings.sample == 1
    assert not settings.store_texts and settings.audit.rate("flagged") == 1 and settings.audit.rate("clear") == 0.01
    assert settings.audit.rate("not_sampled") == 0
    assert told.policy.flagged == "abort", "the policy is the config's, unless one stands here"


def test_every_mistake_is_named_at_once(write_monitor) -> None:
    said = problems(write_monitor(mode="watch", sampel=1, audit={"clear": 2}, spool={"max_bytes": "1 GB"}))
    for part in (
        "mode: found 'watch', allowed: observe, enforce",
        "sampel: unknown key",
        "audit.clear",
        "spool.max_bytes",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mode": None}, "mode: required, but missing"),
        ({"guard": {"path": "nowhere"}}, "guard.path: nowhere is not there. Fit it first: sri fit"),
        ({"scoring": {"where": "remote"}}, "url: required with where: remote"),
        ({"scoring": {"url": "http://x"}}, "url: goes with where: remote"),
        (
            {"scoring": {"where": "local"}, "policy": {"rule": "online", "flagged": "abort", "unmonitored": "report"}},
            "scoring.where: found 'local' with rule 'online'",
        ),
        ({"requests": {"from": "http", "split": "test"}}, "split: goes with from: dataset"),
        ({"requests": {"from": "dataset"}}, "split: required with from: dataset"),
        ({"requests": {"from": "http", "host": "0.0.0.0"}}, "other machines can reach 0.0.0.0"),
        ({"requests": {"from": "dataset", "split": "test", "harmful": 0.9, "attacks": {"infill": 0.2}}}, "sum to 1.1"),
        ({"config": None, "requests": {"from": "stdin"}}, "requests: needs a config"),
        ({"config": None}, "policy: required without a config"),
        ({"sinks": [{"name": "jsonl", "options": {}}]}, "sinks.0.options.path: required"),
        ({"sinks": [{"name": "jsonlines"}]}, "sinks.0.name"),
        ({"sinks": [{"name": "jsonl", "options": {"path": "a"}}] * 2}, "'jsonl' is there twice"),
        ({"folds": {}}, "not of a monitor"),
        ({"name": "../x"}, "name: "),
    ],
    ids=lambda each: each if isinstance(each, str) else "-",
)  # fmt: skip
def test_a_mistake_says_what_is_allowed(write_monitor, changes, said) -> None:
    assert said in problems(write_monitor(**changes))


def test_a_wrong_config_is_named_in_the_monitor_s_own_file(write_monitor, tmp_path) -> None:
    (tmp_path / "bad.yaml").write_text("version: 1\n")
    said = problems(write_monitor(config=str(tmp_path / "bad.yaml")))
    assert "monitor.yaml: config: " in said and "model: required" in said


def test_the_file_is_checked_by_the_command_that_checks_all_files(write_monitor) -> None:
    good = CliRunner().invoke(main, ["config", "check", str(write_monitor())])
    assert good.exit_code == 0 and "monitor.yaml: ok" in good.stdout
    bad = CliRunner().invoke(main, ["config", "check", str(write_monitor(mode=None))])
    assert bad.exit_code == 1 and "mode: required" in bad.stderr
