"""`sri dashboard`, as an operator types it: what it opens, and what it refuses to open."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from sri_sdk.cli import main
from tests.monitor.make_believe import a_day, filled


def sri(*args: str):
    return CliRunner().invoke(main, ["dashboard", *args])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    filled(tmp_path / "v.db", a_day(hours=2)).close()
    return tmp_path / "v.db"


def test_it_shows_the_store_that_a_monitor_writes_until_it_is_ended(store: Path, tmp_path: Path) -> None:
    pytest.importorskip("starlette")
    file = tmp_path / "monitor.yaml"
    file.write_text(f"sinks: [{{name: sql, options: {{url: 'sqlite:///{store}'}}}}]\n")
    command = [sys.executable, "-m", "sri_sdk.cli", "dashboard", str(file), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert first.startswith("dashboard on http://127.0.0.1:")
            with urllib.request.urlopen(first.split()[-1], timeout=60) as answer:
                assert b"What it was like" in answer.read()
        finally:
            os.kill(process.pid, signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
    # uvicorn ends by the signal that it was sent, once everything is closed.
    assert process.returncode in (0, -signal.SIGTERM) and "Traceback" not in errors
    assert "whoever reaches it may see and label everything" in errors


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["sqlite:///{}/none.db"], "no verdict store at"),
        (["{}/none.yaml"], "cannot be read"),
        (["sqlite:///{}/v.db", "--host", "0.0.0.0"], "no tokens are asked for"),
        (["sqlite:///{}/v.db", "--tokens", "{}/none"], "cannot be read as tokens"),
    ],
    ids=["store", "file", "open-to-others", "tokens"],
)
def test_what_cannot_be_shown_is_refused_with_the_next_step(
    store: Path, tmp_path: Path, args: list[str], says: str
) -> None:
    refused = sri(*(each.format(tmp_path) for each in args))
    assert refused.exit_code == 1 and says in refused.output


def test_looking_at_a_store_deletes_nothing_of_it(store: Path) -> None:
    from sri_sdk.monitor.stores import open_store

    with open_store(f"sqlite:///{store}") as found:
        before = found.totals()
        assert before[0] and found.prune() == 0 and found.totals() == before


def test_a_port_that_is_taken_is_said_with_the_option_that_chooses_another(store: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = sri(f"sqlite:///{store}", "--port", str(taken.getsockname()[1]))
    assert done.exit_code == 1 and "running already?" in done.output and "(--port)" in done.output
