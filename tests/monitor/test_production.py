"""The files that docs/monitor.md hands to an operator are ones that work."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sri_sdk.monitor.reading import is_monitor, read_monitor

FILES = Path("docs/production")


def test_the_example_is_a_file_that_a_monitor_reads(toy_folder, tmp_path) -> None:
    text = (FILES / "monitor.yaml").read_text(encoding="utf-8")
    file = tmp_path / "monitor.yaml"
    file.write_text(text.replace("path: out/lab-diffusion", f"path: {toy_folder / 'guard'}"), encoding="utf-8")
    told = read_monitor(file)
    assert is_monitor(file) and told.settings.mode == "observe" and told.settings.canaries is not None
    assert told.policy.may_withhold, "else there is nothing to count"
    assert not told.settings.store_texts


def test_the_trial_asks_itself_and_ends_and_writes_where_the_example_writes(toy_folder, tmp_path) -> None:
    told = {}
    for name in ("monitor", "monitor-trial"):
        text = (FILES / f"{name}.yaml").read_text(encoding="utf-8")
        file = tmp_path / f"{name}.yaml"
        file.write_text(text.replace("path: out/lab-diffusion", f"path: {toy_folder / 'guard'}"), encoding="utf-8")
        told[name] = read_monitor(file).settings
    trial, example = told["monitor-trial"], told["monitor"]
    assert trial.requests is not None and trial.requests.source == "dataset" and trial.requests.count is not None
    assert trial.sinks[0] == example.sinks[0] and trial.name != example.name and trial.spool_path != example.spool_path


def test_prometheus_asks_the_ports_on_which_the_examples_tell_it() -> None:
    asked = (FILES / "prometheus.yaml").read_text(encoding="utf-8")
    for name in ("monitor", "monitor-trial"):
        (port,) = re.findall(r"name: prometheus, options: \{port: (\d+)\}", (FILES / f"{name}.yaml").read_text("utf-8"))
        assert f"127.0.0.1:{port}" in asked
    assert "rule_files: [alerts.yaml]" in asked and (FILES / "alerts.yaml").is_file()


def test_the_page_of_alarms_names_reasons_that_exist() -> None:
    page = Path("docs/when-it-alarms.md").read_text(encoding="utf-8")
    table = page[page.index("| reason | means | do |") :].split("\n\n", 1)[0]
    named = {code for row in table.splitlines()[2:] for code in re.findall(r"`([a-z_]+)`", row.split("|")[1])}
    known = set(
        re.findall(r"^\| `([a-z_]+)`", Path("docs/errors-and-cures.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert named and named <= known, named - known


def test_the_first_hour_is_typed_in_one_terminal_in_as_many_lines_as_the_page_says() -> None:
    page = Path("docs/first-hour.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    typed = [line for block in blocks for line in block.splitlines() if line]
    assert len(typed) == 10 and "ten lines to type, in one terminal" in page
    assert typed[0].endswith(". .venv/bin/activate"), "so that the others find `sri`"
    for line in typed:
        stays = line.startswith(("sri monitor", "sri dashboard", "prometheus"))
        assert line.endswith(" &") is stays, line


def test_both_pages_say_the_same_of_how_long_the_fit_takes() -> None:
    for name in ("first-hour", "monitor"):
        (line,) = re.findall(
            r"^sri fit configs/lab-diffusion\.yaml .*$", Path(f"docs/{name}.md").read_text("utf-8"), re.M
        )
        assert "two minutes of one core" in line


def test_the_unit_is_one_that_systemd_takes(tmp_path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    unit = tmp_path / "sri-monitor.service"
    text = (FILES / "sri-monitor.service").read_text(encoding="utf-8")
    unit.write_text(text.replace("/opt/sri/bin/sri", "/bin/true"), encoding="utf-8")
    said = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True)
    assert (said.returncode, said.stderr.strip()) == (0, "")
