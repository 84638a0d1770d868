"""What an operator may say, and that a token is never said again."""

import logging

import pytest

import sri_sdk
from sri_sdk.client.address import Address
from sri_sdk.errors import ConfigError
from sri_sdk.records import Verdict

SECRET = "s3cret-token-of-the-test"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://h:1", Address("http", "h", 1)),
        ("https://h/a/b/", Address("https", "h", 443, "/a/b")),
        ("http://[::1]:8", Address("http", "::1", 8)),
        ("unix:/run/s", Address("unix", "/run/s", 0)),
        ("unix:///run/s", Address("unix", "/run/s", 0)),
    ],
)
def test_an_address_is_read(url, found):
    assert Address.parse(url) == found


@pytest.mark.parametrize("url", ["h:1", "ftp://h", "http://", "unix:s", "http://h:99999", "http://h?x=1", "http://h#x"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ConfigError, match=r"VerdictClient: url: "):
        sri_sdk.VerdictClient(url)


def test_a_password_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="pass a token instead") as err:
        sri_sdk.VerdictClient(f"http://me:{SECRET}@h")
    assert SECRET not in str(err.value)


@pytest.mark.parametrize(
    ("url", "private"),
    [("https://h", True), ("unix:/s", True), ("http://127.0.0.1:1", True), ("http://localhost", True),
     ("http://10.0.0.1", False), ("http://scorer", False)],
)  # fmt: skip
def test_it_is_known_who_can_read_what_is_sent(url, private):
    assert Address.parse(url).encrypted_or_here == private


def test_a_token_over_an_open_network_is_warned_of(caplog):
    with sri_sdk.VerdictClient("http://scorer.invalid:1", token=SECRET, heartbeat_s=0.0):
        pass
    assert "the token travels unencrypted" in caplog.text and SECRET not in caplog.text


@pytest.mark.parametrize("token", [f"{SECRET} two", f"{SECRET}\n", "", f"{SECRET}ü", 12345678])
def test_a_token_that_is_none_is_refused_and_not_shown(token):
    with pytest.raises(ConfigError, match="VerdictClient: token: ") as err:
        sri_sdk.VerdictClient("http://h", token=token)
    assert SECRET not in str(err.value) and "12345678" not in str(err.value)


def test_a_misspelt_option_gets_a_suggestion():
    with pytest.raises(ConfigError, match="Did you mean 'tenant'"):
        sri_sdk.VerdictClient("http://h", tennant="acme")


def test_options_that_contradict_each_other_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="keep one of them"):
        sri_sdk.VerdictClient("http://h", token=SECRET, token_file=tmp_path / "t")
    with pytest.raises(ConfigError, match=r"ca_file: is for https"):
        sri_sdk.VerdictClient("http://h", ca_file=tmp_path / "c")


def test_files_that_cannot_be_read_are_named_at_once(tmp_path):
    with pytest.raises(ConfigError, match=r"token_file .*missing: No such file"):
        sri_sdk.VerdictClient("http://h", token_file=tmp_path / "missing")
    (tmp_path / "ca").write_text("no certificate")
    with pytest.raises(ConfigError, match=r"ca_file .*must be a readable PEM file"):
        sri_sdk.VerdictClient("https://h", ca_file=tmp_path / "ca")


def test_the_token_is_sent_and_in_no_log_and_no_text(stub, client_of, caplog, tmp_path):
    stub.token = SECRET
    (tmp_path / "token").write_text(f"{SECRET}\n")
    with caplog.at_level(logging.DEBUG):
        client = client_of(token_file=tmp_path / "token")
        client.emit(Verdict("r1", "clear"))
        assert client.flush(20)
        client.lookup("r1", budget_s=20)
        stub.token = "another"
        client.lookup("r1", budget_s=20)
        stub.answer(500)
        client.emit(Verdict("r2", "clear"))
        client.lookup("r1", budget_s=20)
        stub.wait(lambda: client.counts.retried)
        stub.token = None
    written = SECRET in "".join(
        [caplog.text, repr(client), repr(vars(client)), repr(client.config), str(client.counts)]
    )
    assert caplog.text and not written
    assert stub.requests[0][2]["authorization"] == f"Bearer {SECRET}"


def test_a_token_that_is_replaced_is_used_from_then_on(stub, client_of, tmp_path):
    file = tmp_path / "token"
    file.write_text("old")
    client, stub.token = client_of(token_file=file), "new"
    client.emit(Verdict("r1", "clear"))
    assert stub.wait(lambda: client.counts.retried)
    (tmp_path / "next").write_text("new\n")
    (tmp_path / "next").replace(file)
    assert client.flush(20) and stub.ids == ["r1"]


def test_a_token_file_that_is_away_for_a_moment_changes_nothing(stub, client_of, tmp_path):
    file = tmp_path / "token"
    file.write_text(SECRET)
    client, stub.token = client_of(token_file=file), SECRET
    file.unlink()
    client.emit(Verdict("r1", "clear"))
    assert client.flush(20)
