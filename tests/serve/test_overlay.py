"""The command line over the file: field by field, and no proof that a bundle must give is lost on the way."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from sri_sdk.bundle.files import write_files
from sri_sdk.bundle.signature import new_keys, sign
from sri_sdk.cli import main
from sri_sdk.errors import ConfigError
from sri_sdk.serve.settings import read_settings

WHOLE = """
version: 1
bundles:
  chat: {path: chat.zip, trust: {public_key: own.pub}, shadow: {path: next.zip}, keep: 3, hold: true}
grpc: {host: "::1", port: 8001, threads: 3}
"""


@pytest.fixture
def file(tmp_path):
    """file(text) -> the path of a file of settings."""

    def write(text):
        path = tmp_path / "serve.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_the_path_of_a_bundle_from_the_command_line_leaves_its_proof_shadow_and_versions(file):
    chat = read_settings(file(WHOLE), {"bundles": {"chat": {"path": Path("other.zip")}}}).bundles["chat"]
    assert (chat.path, chat.trust.public_key) == (Path("other.zip"), Path("own.pub"))
    assert (chat.shadow.path, chat.keep, chat.hold) == (Path("next.zip"), 3, True)


def test_a_port_of_grpc_from_the_command_line_leaves_host_and_threads(file):
    grpc = read_settings(file(WHOLE), {"grpc": {"port": 9001}}).grpc
    assert (grpc.port, grpc.host, grpc.threads) == (9001, "::1", 3)


def test_a_section_that_is_none_stays_a_mistake_whatever_the_command_line_says(file):
    with pytest.raises(ConfigError, match="bundles"):
        read_settings(file("bundles: nonsense\n"), {"bundles": {"chat": {"path": Path("a.zip")}}})


def test_a_key_from_the_command_line_is_asked_of_every_bundle_and_shadow_without_one(file):
    text = "bundles: {a: {path: a.zip, shadow: {path: b.zip}}, c: {path: c.zip, trust: {public_key: own.pub}}}\n"
    found = read_settings(file(text), {}, public_key=Path("key.pub")).bundles
    assert found["a"].trust.public_key == found["a"].shadow.trust.public_key == Path("key.pub")
    assert found["c"].trust.public_key == Path("own.pub")
    over = {"bundles": {"c": {"path": Path("c.zip")}}}
    assert read_settings(file(text), over, public_key=Path("key.pub")).bundles["c"].trust.public_key == Path("key.pub")


@pytest.mark.parametrize(
    "text, given, problem",
    [
        ("bundles: {a: {path: a, trust: {public_key: own.pub}}}", {"public_key": Path("k")}, "--public-key: every"),
        ("store: {}", {"public_key": Path("k")}, "--public-key: there is no bundle"),
        ("store: {}", {"digest": "0" * 64}, "--digest: is of one bundle, and there are 0"),
        ("bundles: {a: {path: a}, b: {path: b}}", {"digest": "0" * 64}, "there are 2: a, b"),
        ("bundles: {a: {path: a}}", {"digest": "0" * 63}, "--digest: must be the 64 hex"),
    ],
)  # fmt: skip
def test_a_proof_that_would_count_for_nothing_is_refused(file, text, given, problem):
    with pytest.raises(ConfigError, match=problem):
        read_settings(file(text), {}, **given)


def test_a_digest_from_the_command_line_is_of_the_only_bundle_wherever_it_is_named(file):
    text = "bundles: {a: {path: a, trust: {public_key: own.pub}, shadow: {path: b}}}"
    (found,) = read_settings(file(text), {}, digest="A" * 64).bundles.values()
    assert (found.trust.digest, found.trust.public_key, found.shadow.trust.digest) == ("a" * 64, Path("own.pub"), None)


@pytest.mark.parametrize(
    "option, problem",
    [
        (["--public-key", "missing.pub"], "missing.pub"),
        (["--public-key", "stranger.pub"], "signature"),
        (["--digest", "0" * 64], "digest"),
    ],
)
def test_the_command_starts_no_bundle_of_a_file_that_does_not_prove_what_it_asks_for(
    file, fitted, tmp_path, monkeypatch, option, problem
):
    monkeypatch.chdir(tmp_path)
    private, _ = new_keys()
    files = {each.name: each.read_bytes() for each in fitted.path.iterdir()}
    write_files(tmp_path / "a.zip", {**files, "manifest.sig": sign(files["manifest.json"], private)}, zipped=True)
    (tmp_path / "stranger.pub").write_bytes(new_keys()[1])
    path = file("bundles: {a: {path: a.zip}}\nport: 0\n")
    monkeypatch.setattr("sri_sdk.serve.server.Server.run", lambda self: None)
    found = CliRunner().invoke(main, ["serve", "--config", str(path), *option])
    assert found.exit_code == 1 and problem in found.output, found.output
    assert CliRunner().invoke(main, ["serve", "--config", str(path)]).exit_code == 0


def test_a_port_from_the_command_line_counts_more_than_a_socket_of_the_file(file, monkeypatch):
    seen = []
    monkeypatch.setattr("sri_sdk.serve.server.serve", lambda settings, **_: seen.append(settings))
    path = file("store: {}\nuds: a.sock\n")
    assert CliRunner().invoke(main, ["serve", "--config", str(path), "--port", "1234"]).exit_code == 0
    assert (seen[0].uds, seen[0].port) == (None, 1234)
    assert CliRunner().invoke(main, ["serve", "--config", str(path), "--uds", "b", "--port", "1"]).exit_code == 2


def test_nobody_is_asked_for_tokens_and_let_in_without_them_at_once(file):
    with pytest.raises(ConfigError, match="tokens and no_auth"):
        read_settings(file("store: {}\ntokens: t\n"), {"no_auth": True})
