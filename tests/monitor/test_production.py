"""The files that docs/monitor.md hands to an operator are ones that work."""

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


def test_the_unit_is_one_that_systemd_takes(tmp_path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    unit = tmp_path / "sri-monitor.service"
    text = (FILES / "sri-monitor.service").read_text(encoding="utf-8")
    unit.write_text(text.replace("/opt/sri/bin/sri", "/bin/true"), encoding="utf-8")
    said = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True)
    assert (said.returncode, said.stderr.strip()) == (0, "")
