"""A server's application on the made-up guard, and servers on free ports."""

import contextlib
import shutil
import subprocess
import threading

import pytest
from sri_exporter_onnx.exporter import OnnxExporter
from sri_plugin_toy.detector import ToyDetector

from sri_sdk.files import replacing
from sri_sdk.fitting.build import fit_guard
from sri_sdk.serve.build import build_app
from sri_sdk.serve.server import Server
from sri_sdk.serve.settings import ServeSettings


@pytest.fixture(scope="session")
def build(fitted):
    """build(**settings): an application that serves the guard as `sri`."""

    def make(features=(), **more):
        bundles = more.pop("bundles", {"sri": {"path": fitted.path}})
        return build_app(ServeSettings.model_validate({"bundles": bundles, **more}), features)

    return make


@pytest.fixture(scope="session")
def app(build):
    return build().app


@contextlib.contextmanager
def running(built, **settings):
    """A server in a thread; yields its address."""
    settings = ServeSettings.model_validate({"port": 0, **settings})
    ready, found = threading.Event(), []

    def started(address, _):
        found.append(address)
        ready.set()

    server = Server(settings, built, started)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert ready.wait(30), "the server does not start"
        yield found[0]
    finally:
        server.stop()
        thread.join(30)
        assert not thread.is_alive(), "the server does not end"


def certificate(folder):
    """`tls` of a server on 127.0.0.1, made anew below a folder."""
    files = {"certificate": folder / "certificate.pem", "key": folder / "key.pem"}
    made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x".split()
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", files["key"], "-out", files["certificate"]]
    subprocess.run(made, check=True, capture_output=True)
    return files


@pytest.fixture
def serving(build):
    """serving(**settings): a context with the address of a server."""

    def make(**settings):
        return running(build(**settings), **settings)

    return make


@pytest.fixture(scope="session")
def other(tmp_path_factory, anchors, make_signals):
    """Another guard of the same model: other thresholds, another digest."""
    folds = make_signals(200, 11), make_signals(200, 12), make_signals(399, 13)
    target = tmp_path_factory.mktemp("other") / "bundle"
    return fit_guard(ToyDetector(), "toy", *folds, anchors=anchors, exporter=OnnxExporter(), alpha=0.2, target=target)


@pytest.fixture
def place(fitted, tmp_path):
    """put(bundle) -> the path at which it now lies: what an operator does who replaces a bundle."""
    path = tmp_path / "live"

    def put(bundle):
        with replacing(path) as made:
            shutil.copytree(bundle.path, made)
        return path

    put(fitted)
    return put
