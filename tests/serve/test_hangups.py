"""SIGHUP from the first line of the command to the last, and what a service manager is told meanwhile."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from sri_sdk.serve.hangups import Hangups

SERVER = """
import os, signal, sys
from contextlib import asynccontextmanager
from sri_sdk.cli import main
from sri_sdk.serve import server
from sri_sdk.serve.build import build_app
from sri_sdk.serve.feature import Feature

def hang_up():
    os.kill(os.getpid(), signal.SIGHUP)

@asynccontextmanager
async def part():
    yield
    hang_up()
    print("drained", flush=True)

def build(settings, features):
    hang_up()
    return build_app(settings, [Feature(parts=[part()])])

server.build_app = build
main(["serve", *sys.argv[1:]])
"""


def test_a_server_outlives_hangups_while_it_starts_and_drains_and_obeys_the_first_late(fitted, tmp_path):
    (tmp_path / "tokens").write_text("a:0123456789abcdef read\n")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "m"))
    manager.settimeout(30)
    command = [sys.executable, "-c", SERVER, f"a={fitted.path}", "--port", "0", "--tokens", str(tmp_path / "tokens")]
    with (
        manager,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "m")},
        ) as process,
    ):  # fmt: skip
        assert process.stderr is not None
        # It came before the tokens had been read, perhaps: so they are read once more.
        assert any("read again, 1 tokens" in line for line in process.stderr)
        assert manager.recv(100) == b"READY=1"
        process.send_signal(signal.SIGTERM)
        assert manager.recv(100) == b"STOPPING=1"
        said, errors = process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGTERM) and said.endswith("drained\n") and "read again" not in errors


def test_what_was_there_before_is_there_again():
    heard = []
    before = signal.signal(signal.SIGHUP, lambda *_: heard.append("outside"))
    try:
        with Hangups() as hangups:
            signal.raise_signal(signal.SIGHUP)
            hangups.obey(lambda: heard.append("inside"))
            assert heard == ["inside"]
            hangups.ignore()
            signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        assert heard == ["inside", "outside"]
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("named", ["/nowhere/at/all", "@sri-nobody-listens"])
def test_a_manager_that_cannot_be_reached_is_logged_and_ends_nothing(monkeypatch, caplog, named):
    from sri_sdk.serve.service_manager import tell_manager

    monkeypatch.setenv("NOTIFY_SOCKET", named)
    tell_manager("READY=1")
    assert "was not told READY=1" in caplog.text
