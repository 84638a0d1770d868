"""The server on sockets: slow clients, a shutdown that drains, unix sockets, TLS, and the command."""

import contextlib
import http.client
import signal
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from sri_sdk import strict_json
from sri_sdk.errors import ConfigError
from sri_sdk.serve import server as module
from sri_sdk.serve.build import Feature
from sri_sdk.serve.exposed import exposures
from sri_sdk.serve.http import json_answer
from sri_sdk.serve.oip.grpc import _credentials
from sri_sdk.serve.routes import Route
from sri_sdk.serve.server import SlowClients
from sri_sdk.serve.settings import LimitsSection, ServeSettings, TlsSection
from tests.serve.conftest import certificate, running

HEAD = b"POST /v2/models/sri_signal/infer HTTP/1.1\r\nhost: x\r\n"


def connected(address):
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def get(address, path):
    host, port = address.removeprefix("http://").split(":")
    with contextlib.closing(http.client.HTTPConnection(host, int(port), timeout=60)) as connection:
        connection.request("GET", path)
        with connection.getresponse() as answer:
            return answer.status, strict_json.parse(answer.read())


def read_to_the_end(sock):
    """Whatever comes until the server closes the connection, one way or the other."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            found += piece
    return found


@pytest.fixture
def impatient(monkeypatch, serving):
    """A server that waits a fifth of a second for anything."""
    monkeypatch.setattr(module, "LOOKS", 0.1)
    with serving(limits={"seconds": 0.2, "head_seconds": 0.2}) as address:
        yield address


@pytest.mark.parametrize("sent", [b"", b"POST /v2/models", HEAD + b"x-a: "])
def test_a_client_that_never_finishes_its_head_is_cut_off(impatient, sent):
    with connected(impatient) as sock:
        sock.sendall(sent)
        assert read_to_the_end(sock) == b""
    assert get(impatient, "/v2/health/live")[0] == 200


def test_a_client_that_never_finishes_its_body_is_told_and_cut_off(impatient):
    with connected(impatient) as sock:
        sock.sendall(HEAD + b"content-length: 1000\r\n\r\nhalf of it")
        assert read_to_the_end(sock).startswith(b"HTTP/1.1 408")
    assert get(impatient, "/v2/health/live")[0] == 200


def test_a_client_that_trickles_bytes_behind_an_answer_is_cut_off(impatient):
    with connected(impatient) as sock:
        sock.sendall(HEAD + b"content-length: 999999999\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 413")
        with pytest.raises(OSError):  # Reset or broken pipe, as the kernel has it.
            for _ in range(600):
                sock.sendall(b"x")
                time.sleep(0.05)


class Connection(SimpleNamespace):
    """As much of uvicorn's as is looked at."""

    __hash__ = object.__hash__


def test_a_client_that_does_not_read_its_answer_is_cut_off():
    aborted = []
    cycle = SimpleNamespace(response_complete=False)
    reader = Connection(
        cycle=cycle, flow=SimpleNamespace(write_paused=True), timeout_keep_alive_task=None,
        transport=SimpleNamespace(abort=lambda: aborted.append(1)),
    )  # fmt: skip
    looks = SlowClients(LimitsSection(seconds=3, head_seconds=1))
    for _ in range(3):
        looks.once([reader])
    reader.flow.write_paused = False
    looks.once([reader])
    assert not aborted
    reader.flow.write_paused = True
    for _ in range(4):
        looks.once([reader])
    assert aborted == [1]


def test_connections_that_rest_between_requests_stay_open(impatient):
    host, port = impatient.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    with contextlib.closing(connection):
        for _ in range(3):
            connection.request("GET", "/v2/health/live")
            connection.getresponse().read()
            connection.auto_open = 0  # It must be this very connection that goes on.
            time.sleep(0.5)


def test_a_shutdown_lets_running_requests_finish(build):
    begun, go_on = threading.Event(), threading.Event()

    async def slow(request):
        import asyncio

        begun.set()
        await asyncio.to_thread(go_on.wait, 30)
        return json_answer({"done": True})

    built = build([Feature([Route("GET", "/v1/slow", slow, "read")])])
    found = []
    with running(built) as address:
        asking = threading.Thread(target=lambda: found.append(get(address, "/v1/slow")))
        asking.start()
        assert begun.wait(30)
        threading.Timer(0.3, go_on.set).start()
    asking.join(30)
    assert found == [(200, {"done": True})]
    assert built.app.stopping.is_set()


def test_a_server_on_a_unix_socket_takes_the_place_of_a_dead_one(build, tmp_path):
    path = tmp_path / "sri.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with running(build(uds=path), uds=path) as address:
        assert address == f"unix:{path}"
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            sock.sendall(b"GET /v2/health/live HTTP/1.0\r\n\r\n")
            assert read_to_the_end(sock).endswith(b'{"live":true}')
        with pytest.raises(ConfigError, match="another process listens"), module._unix_socket(path):
            pass
    assert not path.exists()
    path.write_text("a file")
    with pytest.raises(ConfigError, match="not a socket"), module._unix_socket(path):
        pass


def test_a_port_that_is_taken_is_a_mistake_with_a_cure(build):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = ServeSettings(port=taken.getsockname()[1])
        with pytest.raises(ConfigError, match="Choose another port"):
            module.Server(settings, build()).run()


def test_tls_is_what_the_settings_say(build, tmp_path):
    import ssl

    tls = certificate(tmp_path)
    with running(build(tls=tls), tls=tls) as address:
        assert address.startswith("https://")
        context = ssl.create_default_context(cafile=tls["certificate"])
        connection = http.client.HTTPSConnection("127.0.0.1", int(address.rsplit(":")[-1]), context=context, timeout=60)
        connection.request("GET", "/v2/health/live")
        assert connection.getresponse().status == 200
        connection.close()


@pytest.mark.parametrize("grpc", [False, True], ids=["http", "grpc"])
def test_a_mistake_in_tls_names_its_file(build, tmp_path, grpc):
    tls = certificate(tmp_path)
    (tmp_path / "other").mkdir()
    other = certificate(tmp_path / "other")
    (tmp_path / "none").write_text("none")
    for wrong, problem in (
        ({"certificate": tmp_path / "gone"}, r"tls\.certificate: .*gone cannot be read"),
        ({"key": tmp_path / "gone"}, r"tls\.key: .*gone cannot be read"),
        ({"key": other["key"]}, "cannot be used together"),
        ({"key": tmp_path / "none"}, "cannot be used together"),
        ({"client_ca": tmp_path / "none"}, r"tls\.client_ca: .*none has no certificates"),
    ):
        section = TlsSection.model_validate({**tls, **wrong})
        with pytest.raises(ConfigError, match=problem):
            if grpc:
                _credentials(section)
            else:
                module.Server(ServeSettings(tls=section), build())


def test_a_certificate_is_read_again_and_half_of_a_pair_is_not(build, tmp_path, caplog):
    import shutil
    import ssl

    tls = certificate(tmp_path)
    (tmp_path / "next").mkdir()
    later = certificate(tmp_path / "next")
    server = module.Server(ServeSettings.model_validate({"tls": tls, "port": 0}), build())

    def shown():
        mine, its = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context(cafile=later["certificate"])
        client = context.wrap_bio(mine, its, server_hostname="127.0.0.1")
        serving = server._config.ssl.wrap_bio(its, mine, server_side=True)
        for _ in range(4):
            for side in (client, serving):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
        return client.getpeercert() is not None

    shutil.copy(later["certificate"], tls["certificate"])
    server._reload()
    assert "cannot be used together" in caplog.text
    with pytest.raises(ssl.SSLError):
        shown()
    shutil.copy(later["key"], tls["key"])
    server._reload()
    assert shown()


@pytest.mark.parametrize(
    "given, said",
    [
        ({"host": "0.0.0.0"}, ["unencrypted"]), ({"host": "::1"}, []), ({"uds": "s"}, []),
        ({"uds": "s", "grpc": {"host": "0.0.0.0", "port": 1}}, ["unencrypted"]),
    ],
    ids=["everybody", "here", "socket", "grpc"],
)  # fmt: skip
def test_tokens_that_others_could_read_are_warned_of(tmp_path, given, said):
    tokens = tmp_path / "tokens"
    tokens.write_text("a:0123456789abcdef read\n")
    tokens.chmod(0o640)
    found = exposures(ServeSettings.model_validate({"tokens": tokens, **given}))
    assert len(found) == len(said) and all(word in each for word, each in zip(said, found, strict=True))
    tokens.chmod(0o644)
    assert f"chmod o-rwx {tokens}" in exposures(ServeSettings.model_validate({"tokens": tokens, **given}))[-1]


# -- the command ---------------------------------------------------------------------------------------------


def test_the_command_serves_reloads_by_sighup_and_ends_by_sigterm(place, fitted, other, tmp_path):
    path = place(fitted)
    tokens = tmp_path / "tokens"
    tokens.write_text("a:0123456789abcdef read\n")
    command = [sys.executable, "-m", "sri_sdk.cli", "serve", f"guard={path}", "--port", "0", "--tokens", str(tokens)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        lines = [process.stdout.readline() for _ in range(2)]
        assert lines[0] == f"guard: version 1, guard {fitted.digest}\n"
        address = lines[1].removeprefix("serving on ").strip()
        assert get(address, "/v2/health/ready") == (200, {"ready": True})
        assert get(address, "/v1/bundles")[0] == 401
        place(other)
        process.send_signal(signal.SIGHUP)
        live = ""
        for _ in range(600):
            with connected(address) as sock:
                sock.sendall(b"GET /v1/bundles HTTP/1.0\r\nauthorization: Bearer 0123456789abcdef\r\n\r\n")
                live = b"".join(iter(lambda sock=sock: sock.recv(65536), b"")).decode()
            if '"live":"2"' in live:
                break
            time.sleep(0.05)
        assert other.digest in live and '"live":"2"' in live
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGTERM)
    assert "Traceback" not in said and "0123456789abcdef" not in said


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--host", "0.0.0.0"], "no tokens are asked for"), (["--config", "none.yaml"], "cannot be read"),
        (["--tokens", "none"], "cannot be read"), (["--digest", "0" * 64], "asked for"),
        (["two=b", "two=c"], "two bundles"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_each(fitted, options, problem, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from sri_sdk.cli import main

    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(main, ["serve", str(fitted.path), "--port", "0", *options])
    assert found.exit_code in (1, 2) and problem in found.output, found.output


def test_a_server_with_nothing_to_serve_says_so():
    from sri_sdk.serve.settings import read_settings

    with pytest.raises(ConfigError, match="nothing to serve"):
        read_settings(None, {})


def test_a_file_and_the_command_line_are_laid_over_each_other(tmp_path):
    from sri_sdk.serve.settings import read_settings

    path = tmp_path / "serve.yaml"
    path.write_text("version: 1\nport: 9000\nhost: 127.0.0.1\nbundles: {one: {path: a, keep: 3}}\nlimits: {rows: 10}\n")
    found = read_settings(path, {"port": 9001, "bundles": {"two": {"path": "b"}}})
    assert (found.port, found.limits.rows, list(found.bundles)) == (9001, 10, ["one", "two"])
    path.write_text("prot: 9000\nlimits: {rows: 0}\n")
    with pytest.raises(ConfigError) as error:
        read_settings(path, {})
    assert len(error.value.problems) == 2 and all(str(path) in each for each in error.value.problems)


def test_a_head_without_end_is_cut_off_before_it_fills_the_memory(serving):
    with serving() as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as client, pytest.raises(ConnectionError):
            client.sendall(b"GET /v2 HTTP/1.1\r\n")
            for _ in range(64):
                client.sendall(b"x: " + b"a" * 2**20 + b"\r\n")
