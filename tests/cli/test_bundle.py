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


# -- keys, signatures, zips ------------------------------------------------------------------------------------


@pytest.fixture
def key(sri, tmp_path):
    pytest.importorskip("cryptography")
    done = sri("keygen", tmp_path / "key")
    assert done.exit_code == 0, done.output
    return tmp_path / "key"


def test_keygen_writes_a_private_file_and_prints_no_secret(sri, key):
    assert key.stat().st_mode & 0o777 == 0o600
    secret = key.read_text().splitlines()[1]
    again = sri("keygen", key)
    assert secret not in again.output
    assert again.exit_code == 1
    assert "keys are never overwritten" in again.stderr
    assert key.read_text().splitlines()[1] == secret


@pytest.mark.parametrize("there", ["", ".pub"])
def test_keygen_touches_nothing_where_one_of_its_files_is_there(sri, tmp_path, there):
    (tmp_path / f"key{there}").symlink_to(tmp_path / "nowhere")
    assert sri("keygen", tmp_path / "key").exit_code == 1
    assert [x.name for x in tmp_path.iterdir()] == [f"key{there}"]


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_signed_bundle_verifies_with_its_key_and_with_no_other(sri, key, guard_copy, tmp_path, form):
    bundle = guard_copy / "bundle"
    if form == "zip":
        assert sri("pack", bundle, tmp_path / "guard.zip").exit_code == 0
        bundle = tmp_path / "guard.zip"
    assert sri("sign", bundle, "--key", key).exit_code == 0
    done = sri("verify", bundle, "--public-key", f"{key}.pub")
    assert done.exit_code == 0, done.output
    assert "signed by key" in done.stdout
    assert "names key" in sri("inspect", bundle).stdout
    assert json.loads(sri("verify", bundle, "--public-key", f"{key}.pub", "--json").stdout)["signed_by"]
    sri("keygen", tmp_path / "other")
    refused = sri("verify", bundle, "--public-key", tmp_path / "other.pub")
    assert refused.exit_code == 1
    assert "the signature does not verify" in refused.stderr


def test_signing_twice_needs_a_word(sri, key, guard_copy):
    bundle = guard_copy / "bundle"
    assert sri("sign", bundle, "--key", key).exit_code == 0
    assert "signed already" in sri("sign", bundle, "--key", key).stderr
    assert sri("sign", bundle, "--key", key, "--replace").exit_code == 0


def test_verify_says_what_it_did_not_check(sri, fitted):
    assert "origin not checked" in sri("verify", fitted.path).stdout
    assert f"{fitted.digest} as given" in sri("verify", fitted.path, "--digest", fitted.digest).stdout
    assert "not the bundle with digest" in sri("verify", fitted.path, "--digest", "0" * 64).stderr


def test_packing_twice_gives_the_same_bytes_and_overwrites_nothing(sri, fitted, tmp_path):
    for name in ("a.zip", "b.zip"):
        assert sri("pack", fitted.path, tmp_path / name).exit_code == 0
    content = (tmp_path / "a.zip").read_bytes()
    assert content == (tmp_path / "b.zip").read_bytes()
    assert "exists already" in sri("pack", fitted.path, tmp_path / "a.zip").stderr
    assert sri("pack", tmp_path / "a.zip", tmp_path / "a.zip", "--replace").exit_code == 0
    assert (tmp_path / "a.zip").read_bytes() == content
