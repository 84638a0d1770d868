"""What docs/production offers is run as far as a test can: the same command, settings, probes and limits."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from sri_sdk import strict_json
from sri_sdk.bundle.files import write_files
from sri_sdk.bundle.signature import new_keys, sign
from sri_sdk.serve.settings import read_settings
from tests.serve.conftest import certificate
from tests.serve.conftest import running as serving

FILES = Path(__file__).parents[2] / "docs" / "production"
TOKEN = "0123456789abcdef0123456789abcdef"


def unit() -> dict[str, str]:
    lines = (FILES / "sri-serve.service").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def deployment() -> dict:
    documents = yaml.safe_load_all((FILES / "kubernetes.yaml").read_text(encoding="utf-8"))
    return next(each for each in documents if each["kind"] == "Deployment")["spec"]["template"]["spec"]


def arguments() -> list[str]:
    return shlex.split(unit()["ExecStart"])[1:]


def test_unit_image_and_manifest_start_the_same_server() -> None:
    image = (FILES / "Dockerfile").read_text(encoding="utf-8")
    entry, command = (strict_json.parse(re.search(rf"^{word} (.*)$", image, re.M)[1]) for word in ("ENTRYPOINT", "CMD"))
    assert [*entry, *command][1:] == arguments()
    assert [*entry[1:], *deployment()["containers"][0]["args"]] == arguments()


def test_whoever_stops_the_server_waits_longer_than_it_drains() -> None:
    drain = read_settings(FILES / "serve.yaml", {}).limits.drain_seconds
    assert float(unit()["TimeoutStopSec"]) > drain
    assert deployment()["terminationGracePeriodSeconds"] > drain


@pytest.fixture
def place(tmp_path, fitted):
    """The machine of the example below a folder: signed bundle, key, tokens, settings; and the command."""
    etc, state = tmp_path / "etc", tmp_path / "var"
    (etc / "data").mkdir(parents=True)
    state.mkdir()
    private, public = new_keys()
    (etc / "guard.key.pub").write_bytes(public)
    files = {file.name: file.read_bytes() for file in fitted.path.iterdir()}
    signed = {**files, "manifest.sig": sign(files["manifest.json"], private)}
    write_files(etc / "data" / "chat.zip", signed, zipped=True)
    # As Kubernetes mounts secrets: by way of a link.
    (etc / "bundles").mkdir()
    (etc / "bundles" / "chat.zip").symlink_to(etc / "data" / "chat.zip")
    (etc / "tokens").write_text(f"model:{TOKEN} read write\n", encoding="utf-8")
    text = (FILES / "serve.yaml").read_text(encoding="utf-8")
    text = text.replace("/etc/sri", str(etc)).replace("/var/lib/sri", str(state)).replace("port: 8000", "port: 0")
    (etc / "serve.yaml").write_text(text, encoding="utf-8")
    return [sys.executable, "-m", "sri_sdk.cli", *(each.replace("/etc/sri", str(etc)) for each in arguments())]


def ask(port: int, path: str, body=None) -> tuple[int, dict]:
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        data=None if body is None else strict_json.write(body).encode(),
        headers={"authorization": f"Bearer {TOKEN}"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return answer.status, strict_json.parse(answer.read())
    except urllib.error.HTTPError as err:
        return err.code, strict_json.parse(err.read())


def running(command: list[str]) -> tuple[subprocess.Popen, int]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    with process.stdout as said:
        for line in said:
            if found := re.search(r"serving on .*:(\d+)", line):
                return process, int(found[1])
    raise AssertionError("the server ended before it served")


def test_the_example_serves_answers_its_probes_and_keeps_what_it_acknowledged(place) -> None:
    verdict = {
        "schema": 1, "request_id": "r1", "status": "flagged", "reasons": ["score_above_threshold"], "score": 2.0,
        "threshold": 1.0, "p_value": 0.001, "rule": "final", "bundle": "b" * 64,
    }  # fmt: skip
    process, port = running(place)
    try:
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert ask(port, deployment()["containers"][0][name]["httpGet"]["path"])[0] == 200
        assert ask(port, "/v1/verdicts", {"verdicts": [verdict]}) == (200, {"stored": 1, "known": 0})
    finally:
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        # It ends by the signal that it got, as service managers expect.
        assert process.wait(30) in (0, -signal.SIGTERM)
    assert time.monotonic() - began < float(unit()["TimeoutStopSec"])
    process, port = running(place)
    try:
        status, found = ask(port, "/v1/verdicts/r1")
        assert status == 200 and found["verdict"]["status"] == "flagged"
    finally:
        process.terminate()
        process.wait(30)


def health() -> list[str]:
    """The image's health check as it runs here."""
    image = (FILES / "Dockerfile").read_text(encoding="utf-8")
    return [sys.executable, *strict_json.parse(re.search(r"^HEALTHCHECK .* CMD (.*)$", image, re.M)[1])[1:]]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_the_images_health_check_asks_whether_the_process_answers(build, tmp_path, tls) -> None:
    given = {"tls": certificate(tmp_path)} if tls else {}
    with serving(build(**given), **given) as address:
        healthy = {"SRI_HEALTH": f"{address}/v2/health/live"}
        assert subprocess.run(health(), env={**os.environ, **healthy}, capture_output=True).returncode == 0
        sick = {"SRI_HEALTH": f"{address}/nothing"}
        assert subprocess.run(health(), env={**os.environ, **sick}, capture_output=True).returncode != 0


def test_nothing_restarts_a_server_for_not_being_ready() -> None:
    container = deployment()["containers"][0]
    assert all(container[each]["httpGet"]["path"] == "/v2/health/live" for each in ("startupProbe", "livenessProbe"))
    assert "health/live" in (FILES / "Dockerfile").read_text(encoding="utf-8")


def test_the_unit_is_one_that_systemd_takes(tmp_path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    text = (FILES / "sri-serve.service").read_text(encoding="utf-8").replace("/opt/sri/bin/sri", "/bin/true")
    (tmp_path / "sri-serve.service").write_text(text, encoding="utf-8")
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "sri-serve.service")], capture_output=True, text=True
    )
    assert (said.returncode, said.stderr.strip()) == (0, "")
