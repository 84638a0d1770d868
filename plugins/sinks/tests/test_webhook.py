"""The sink `webhook`: what is posted, who can trust it, and what becomes of what is not taken."""

import base64
import hashlib
import hmac
import shutil
import ssl
import subprocess

import pytest
from sri_plugin_sinks.example_receiver import Receiver, request_ids
from sri_plugin_sinks.http_post import NotTaken, seconds_of
from sri_plugin_sinks.webhook import WebhookSink, secret_of, secrets_of, signature

import sri_sdk
from sri_sdk.errors import ConfigError, SinkRejected
from sri_sdk.options import parse as parse_options
from sri_sdk.strict_json import parse
from sri_sdk.testing import sink_checks


@pytest.fixture
def receiver():
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def sink_of(receiver):
    """sink_of(**options): a sink for the receiver, or another `url`."""
    made = []

    def make(**options):
        made.append(WebhookSink(WebhookSink.Config(**{"url": f"{receiver.url}/hook?key=k", **options})))
        return made[-1]

    yield make
    for sink in made:
        sink.close()


def observations(count, **more):
    return [
        sri_sdk.Observation(sri_sdk.Verdict(f"r{i}", "flagged", ("drift",), 2.0), 1_000 + i, **more)
        for i in range(count)
    ]


def posted(receiver):
    return [parse(body)["data"]["observations"] for _, _, body in receiver.posts]


@pytest.mark.parametrize("check", sink_checks(WebhookSink.example), ids=str)
def test_it_keeps_the_promises_of_a_sink(check):
    check()


def test_one_post_has_a_batch_and_what_it_is(receiver, sink_of):
    sent = observations(3, deployment="chat")
    sink_of().deliver(sent)
    ((path, headers, body),) = receiver.posts
    assert path == "/hook?key=k" and headers["content-type"] == "application/json"
    assert parse(body) == {
        "type": "sri.observations", "timestamp": "1970-01-01T00:00:01.002+00:00",
        "data": {"observations": [each.to_dict() for each in sent]},
    }  # fmt: skip


def test_texts_stay_here_unless_they_are_asked_for(receiver, sink_of):
    told = observations(1, prompt="secret", response="secret", drafts=("secret",))
    sink_of().deliver(told)
    assert b"secret" not in receiver.posts[0][2]
    sink_of(texts=True).deliver(told)
    assert receiver.posts[1][2].count(b"secret") == 3


def test_only_what_was_chosen_is_sent(receiver, sink_of):
    canary = sri_sdk.Observation(sri_sdk.Verdict("c", "flagged"), 1, kind="canary")
    clear = sri_sdk.Observation(sri_sdk.Verdict("q", "clear"), 1)
    sink = sink_of(statuses=["flagged"], kinds=["traffic"])
    sink.deliver([canary, clear, *observations(1)])
    sink.deliver([canary, clear])
    assert request_ids(receiver) == ["r0"] and len(receiver.posts) == 1


def test_the_words_of_the_options_are_those_of_an_observation():
    from typing import get_args, get_type_hints

    from sri_plugin_sinks.chosen import Kind

    assert get_args(Kind) == get_args(get_type_hints(sri_sdk.Observation)["kind"])


# -- signatures --------------------------------------------------------------------------------------------------


SECRETS = [f"whsec_{base64.b64encode(bytes([n]) * 32).decode()}" for n in (1, 2)]


def test_a_receiver_can_check_who_posted_and_when(receiver, sink_of, tmp_path):
    file = tmp_path / "secret"
    file.write_text("\n".join(["# old and new", *SECRETS]))
    sink_of(secret_file=file).deliver(observations(2))
    ((_, headers, body),) = receiver.posts
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = [hmac.new(bytes([n]) * 32, signed, hashlib.sha256).digest() for n in (1, 2)]
    assert headers["webhook-signature"] == " ".join(f"v1,{base64.b64encode(each).decode()}" for each in expected)


def test_a_known_signature():
    """Computed by the reference library of Standard Webhooks, version 1.1.0 for Python."""
    secret = secret_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    found = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_what_is_posted_again_has_the_same_id(receiver, sink_of):
    sink, sent = sink_of(), observations(2)
    for each in (sent, sent, sent[:1]):
        sink.deliver(each)
    first, second, other = [headers["webhook-id"] for _, headers, _ in receiver.posts]
    assert first == second != other


@pytest.mark.parametrize("line", ["", "hunter2", "whsec_hunter2", "whsec_hunter22", "whsec_####hunter2", "# hunter2"])
def test_a_file_without_a_secret_is_refused_before_anything_runs(sink_of, tmp_path, line):
    file = tmp_path / "file"
    file.write_text(line)
    with pytest.raises(ConfigError, match=r"not lines of whsec_.*openssl") as caught:
        sink_of(secret_file=file)
    assert "hunter2" not in str(caught.value).replace(str(file), "")


def test_the_cure_for_a_missing_secret_is_a_command_that_writes_it(sink_of, tmp_path):
    file = tmp_path / "a secret"
    with pytest.raises(ConfigError, match=r"sink webhook: secret_file: .*No such file") as caught:
        sink_of(secret_file=file)
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    subprocess.run(["sh", "-c", str(caught.value).partition("Write one with: ")[2]], check=True)
    assert len(secrets_of(file)) == 1 and file.stat().st_mode & 0o077 == 0
    sink_of(secret_file=file)


def test_nothing_is_posted_unsigned_while_the_secret_is_away(receiver, sink_of, tmp_path):
    file = tmp_path / "secret"
    file.write_text(SECRETS[0])
    sink = sink_of(secret_file=file)
    file.unlink()
    with pytest.raises(NotTaken, match="No such file"):
        sink.deliver(observations(1))
    file.write_text(SECRETS[1])
    sink.deliver(observations(1))
    assert len(receiver.posts) == 1


# -- what is not taken -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 503, 408, 429, 425, 401, 403, 404, None], ids=str)
def test_what_another_try_may_mend_is_not_given_up(receiver, sink_of, status):
    receiver.answers.append(status)
    sink = sink_of()
    with pytest.raises(NotTaken) as caught:
        sink.deliver(observations(2))
    assert "key=k" not in str(caught.value)
    sink.deliver(observations(2))
    assert request_ids(receiver) == ["r0", "r1"]


def test_one_that_is_refused_costs_no_other(receiver, sink_of):
    sent = observations(20)
    receiver.refuses = lambda body: b'"r13"' in body or b'"r4"' in body
    with pytest.raises(SinkRejected) as caught:
        sink_of().deliver(sent)
    assert caught.value.ids == {sent[13].id, sent[4].id} and "400" in caught.value.why
    assert sorted(request_ids(receiver)) == sorted(f"r{i}" for i in range(20) if i not in (4, 13))


def test_one_that_is_no_json_costs_no_other(receiver, sink_of):
    broken = sri_sdk.Observation(sri_sdk.Verdict("half \ud800", "clear"), 1)
    with pytest.raises(SinkRejected) as caught:
        sink_of().deliver([*observations(1), broken])
    assert caught.value.ids == {broken.id} and request_ids(receiver) == ["r0"]


def test_a_redirect_is_not_followed(receiver, sink_of):
    elsewhere = Receiver()
    try:
        receiver.answers.append((307, {"Location": elsewhere.url}))
        with pytest.raises(NotTaken, match="redirects are not followed"):
            sink_of().deliver(observations(1))
        assert not elsewhere.posts
    finally:
        elsewhere.close()


def test_nobody_is_asked_before_the_time_that_was_asked_for(receiver, sink_of):
    receiver.answers.append((429, {"Retry-After": "120"}))
    sink = sink_of()
    for expected in ("answered 429", "asked to wait; 1[12]. s are left"):
        with pytest.raises(NotTaken, match=expected):
            sink.deliver(observations(1))
    assert not receiver.posts


@pytest.mark.parametrize(
    ("told", "seconds"),
    [(None, 0), ("0", 0), ("7", 7), ("99999999", 600), ("-3", 0), ("soon", 0), ("Mon, 01 Jan 1990 00:00:00 GMT", 0),
     ("Fri, 01 Jan 2100 00:00:00 GMT", 600)],
    ids=str,
)  # fmt: skip
def test_how_long_to_wait_is_read_within_bounds(told, seconds):
    assert seconds_of(told) == seconds


def test_a_receiver_that_trickles_is_left_in_time(sink_of):
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()

        def trickle():
            connection, _ = server.accept()
            with connection:
                # A byte within every time of the socket's, for ever.
                while not ended.wait(0.05):
                    try:
                        connection.sendall(b"H")
                    except OSError:
                        return

        thread = threading.Thread(target=trickle)
        thread.start()
        with pytest.raises(NotTaken, match="no answer in time"):
            sink_of(url=f"http://127.0.0.1:{server.getsockname()[1]}", timeout_s=0.3).deliver(observations(1))
        ended.set()
        thread.join()


def test_an_answer_without_end_is_not_read_to_its_end(receiver, sink_of):
    receiver.content = b"x" * 10_000_000
    sink = sink_of()
    for _ in range(2):
        sink.deliver(observations(1))
    assert len(receiver.posts) == 2


def test_a_connection_that_was_closed_while_nobody_used_it_is_opened_again(receiver, sink_of):
    sink = sink_of()
    receiver.answers.extend([200, None])
    sink.deliver(observations(1))
    sink.deliver(observations(1))
    assert len(receiver.posts) == 2


# -- who is talked to --------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path):
    """A file with a certificate for 127.0.0.1, signed by itself, and its key."""
    file, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=receiver", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", file],
        check=True, capture_output=True,
    )  # fmt: skip
    file.write_bytes(file.read_bytes() + key.read_bytes())
    return file


@pytest.fixture
def secure(certificate):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    tls.load_verify_locations(certificate)
    tls.verify_mode = ssl.CERT_REQUIRED
    found = Receiver(tls)
    yield found
    found.close()


def test_over_tls_both_sides_know_each_other(secure, sink_of, certificate):
    sink_of(url=secure.url, ca_file=certificate, client_certificate=certificate).deliver(observations(1))
    assert request_ids(secure) == ["r0"]


def test_one_whose_certificate_is_not_trusted_gets_nothing(secure, sink_of):
    with pytest.raises(NotTaken, match="its certificate is not trusted"):
        sink_of(url=secure.url).deliver(observations(1))
    assert not secure.posts


def test_headers_come_from_a_file_that_may_change(receiver, sink_of, tmp_path):
    file = tmp_path / "headers"
    file.write_text("# who we are\nAuthorization: Bearer one\nX-Route: a b\n")
    sink = sink_of(headers_file=file)
    sink.deliver(observations(1))
    file.write_text("Authorization: Bearer two\n")
    sink.deliver(observations(1))
    first, second = [headers for _, headers, _ in receiver.posts]
    assert (first["authorization"], first["x-route"], second["authorization"]) == ("Bearer one", "a b", "Bearer two")


def test_no_header_of_ours_is_sent_twice(receiver, sink_of, tmp_path):
    file = tmp_path / "headers"
    file.write_text("content-type: text/plain\nWebhook-Id: another\n")
    sink_of(headers_file=file).deliver(observations(1))
    ((_, headers, _),) = receiver.posts
    assert headers["content-type"] == "application/json" and headers["webhook-id"].startswith("sri_")


@pytest.mark.parametrize("line", ["hunter2", ": hunter2", "X-A:hunter2\x07", "Content-Length: 3", "host: hunter2"])
def test_a_line_that_is_no_header_is_refused_and_not_shown(sink_of, tmp_path, line):
    file = tmp_path / "headers"
    file.write_text(f"{line}\n")
    with pytest.raises(ConfigError, match="line 1 is not `Name: value`") as caught:
        sink_of(headers_file=file)
    assert "hunter2" not in str(caught.value)


def test_time_that_ran_out_while_it_connected_counts(receiver, sink_of, monkeypatch):
    import http.client
    import time

    connect = http.client.HTTPConnection.connect
    monkeypatch.setattr(http.client.HTTPConnection, "connect", lambda self: (time.sleep(0.3), connect(self)))
    with pytest.raises(NotTaken, match="no answer in time"):
        sink_of(timeout_s=0.05).deliver(observations(1))
    assert not receiver.posts


def test_closing_ends_a_post_that_hangs(sink_of):
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as server:
        sink = sink_of(url=f"http://127.0.0.1:{server.getsockname()[1]}", timeout_s=120)
        ended = []

        def post():
            with pytest.raises(NotTaken):
                sink.deliver(observations(1))
            ended.append(True)

        thread = threading.Thread(target=post)
        thread.start()
        connection, _ = server.accept()
        with connection:
            connection.recv(1)
            sink.close()
            thread.join(30)
    assert ended


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"url": "ftp://host/"}, "not an address"),
        ({"url": "https://user:word@host/"}, "headers_file"),
        ({"url": "https://host/a b"}, "%XX"),
        ({"url": "https://host:99999/"}, "ort"),
        ({"url": "http://host/", "headers_file": "/etc/headers"}, "unencrypted"),
        ({"url": "http://host/", "texts": True}, "unencrypted"),
        ({"url": "http://host/", "ca_file": "/etc/ca"}, "for https"),
        ({"url": "https://host/", "ca_file": "/nowhere/ca.pem"}, "No such file"),
        ({"url": "https://host/", "secret_file": "/nowhere/secret"}, "No such file"),
        ({"url": "https://host/", "statuses": []}, "at least 1"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_what_cannot_work_is_refused_before_anything_runs(options, why):
    with pytest.raises(ConfigError, match=why) as caught:
        WebhookSink(parse_options(WebhookSink.Config, options, subject="sink webhook"))
    assert "word" not in str(caught.value).replace("password", "")


def test_a_check_reads_the_secret_and_connects_without_posting(receiver, tmp_path):
    def check(**options):
        return WebhookSink.check(WebhookSink.Config(**{"url": receiver.url, **options}), 5.0)

    assert "answers; nothing was posted" in check() and not receiver.posts
    with pytest.raises(ConfigError, match=r"no\.secret.*Write one with"):
        check(secret_file=tmp_path / "no.secret")
    with pytest.raises(NotTaken, match=r"http://127\.0\.0\.1:9: Connection refused"):
        check(url="http://127.0.0.1:9/a-secret-path?key=k")
