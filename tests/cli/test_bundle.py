import json

import pytest
from click.testing import CliRunner

from sri_sdk.cli import main


@pytest.fixture
def sri():
    return lambda *arguments: CliRunner().invoke(main, ["bundle", *map(str, arguments)])


def test_inspect_says_what_is_inside(sri, fitted):
    done = sri("inspect", fitted.path)
    assert done.exit_code == 0, done.output
    for expected in (fitted.digest, "toy (portable)", "signals float32[B, 32, 1]", "online", "sensitive"):
        assert expected in done.stdout


def test_inspect_as_json_leaves_out_the_bytes(sri, fitted):
    value = json.loads(sri("inspect", fitted.path, "--json").stdout)
    assert value["digest"] == fitted.digest
    assert value["rules"]["final"]["scores"] == {"dtype": "float32", "shape": [399]}


def test_verify_agrees_with_an_intact_bundle(sri, fitted):
    assert f"intact, digest {fitted.digest}" in sri("verify", fitted.path).stdout
    value = json.loads(sri("verify", fitted.path, "--json").stdout)
    assert value["ok"]
    assert value["tolerance_used"].keys() == {"signal", "prefix"}


def test_verify_fails_on_a_damaged_one(sri, guard_copy):
    with (guard_copy / "bundle" / "signal.onnx").open("ab") as stream:
        stream.write(b"x")
    done = sri("verify", guard_copy / "bundle")
    assert done.exit_code == 1
    assert "signal.onnx does not match its digest" in done.stderr
