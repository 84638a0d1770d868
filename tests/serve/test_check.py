"""`python -m sri_exporter_triton check` against a server that asks for a token, over TLS; and the page's own call."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from sri_exporter_triton.__main__ import command

from sri_sdk import strict_json
from sri_sdk.errors import ConfigError, ScoringError
from tests.serve.conftest import certificate, running

DOCS = Path(__file__).parents[2] / "docs"
TOKEN = "0123456789abcdef"


def test_a_server_with_tokens_and_tls_is_compared_with_its_bundle(build, fitted, tmp_path):
    tls = certificate(tmp_path)
    (tmp_path / "tokens").write_text(f"a:{TOKEN} read write\n")
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    given = {"tls": tls, "tokens": tmp_path / "tokens"}
    with running(build(**given), **given) as address:
        asked = ["check", address, str(fitted.path), "--ca-file", str(tls["certificate"])]
        found = CliRunner().invoke(command, [*asked, "--token-file", str(tmp_path / "token")])
        assert found.exit_code == 0 and "sri_signal: agrees" in found.output, found.output
        refused = CliRunner().invoke(command, asked)
        assert isinstance(refused.exception, ScoringError) and "401" in str(refused.exception)
        for wrong in ("tokens", "nothing"):
            found = CliRunner().invoke(command, [*asked, "--token-file", str(tmp_path / wrong)])
            assert isinstance(found.exception, ConfigError) and TOKEN not in str(found.exception)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_the_call_on_the_page_of_the_server_works_as_it_stands(serving, fitted):
    page = (DOCS / "serve.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```sh\n(DATA=.*?)```", page, re.S)
    with serving() as address:
        script = script.replace("http://localhost:8000", address)
        script = script.replace("FINGERPRINT_DIGEST", fitted.manifest.fingerprint_digest)
        done = subprocess.run(["bash", "-c", script], capture_output=True, check=True, timeout=60)
    outputs = {each["name"]: each["data"] for each in strict_json.parse(done.stdout)["outputs"]}
    assert outputs["status"] in (["clear"], ["flagged"]) and 0 <= outputs["p_value"][0] <= 1
