"""Dashboards over make-believe stores, called as a server would call them."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette")

from sri_sdk.dashboard.app import build_dashboard
from sri_sdk.serve.store.kept import Retention
from sri_sdk.serve.store.store import VerdictStore
from sri_sdk.serve.tokens import Tokens
from tests.dashboard.make_believe import NOW_MS, Week
from tests.serve.asgi import call

KEEP_ALL = Retention(keep_days=None, keep_rows=None, keep_counts_days=None)
READER, WRITER, ACME = "r" * 20, "w" * 20, "a" * 20


def opened(path, now_ms=NOW_MS):
    """A store whose clock stands still."""
    return VerdictStore.open(f"sqlite:///{path}", kept=KEEP_ALL, clock=lambda: now_ms / 1000)


def filled(path, week):
    """A store with everything that a week has; every other drawn verdict is labelled."""
    now = [NOW_MS / 1000]
    store = VerdictStore.open(f"sqlite:///{path}", kept=KEEP_ALL, clock=lambda: now[0])
    found = week.observations()
    store.observe(found)
    for pulse in week.pulses():
        now[0] = pulse.at / 1000
        store.pulse(pulse).result()
    now[0] = NOW_MS / 1000
    store.show(week.running(), "monitor").result()
    for it in [each for each in found if each.audited][:-4:2]:
        store.label(it.id, "attack" if it.verdict.status == "flagged" else "benign", "night shift")
    return store


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Something is wrong in it, and somebody hostile has been there. Tests only read it."""
    with filled(tmp_path_factory.mktemp("store") / "bad.db", Week(hours=30, per_hour=8)) as found:
        yield found


@pytest.fixture(scope="session")
def calm_store(tmp_path_factory):
    """Nothing is wrong in it."""
    with filled(tmp_path_factory.mktemp("store") / "calm.db", Week(calm=True, hours=30, per_hour=8)) as found:
        yield found


@pytest.fixture
def fresh(tmp_path):
    """An empty store, to write into."""
    with opened(tmp_path / "fresh.db") as found:
        yield found


@pytest.fixture
def tokens(tmp_path):
    """One that reads, one that also writes, and one that does both for one tenant."""
    file = tmp_path / "tokens"
    file.write_text(f"eve:{READER} read\nwalt:{WRITER} read write\nacme:{ACME} read write tenant=acme\n")
    return Tokens(file)


class Browser:
    """Calls one dashboard, and keeps its cookie."""

    def __init__(self, store, tokens=None, hosts=None):
        self.app = build_dashboard(store, tokens=tokens, hosts=hosts, clock=lambda: NOW_MS / 1000).app
        self.cookie = b""

    def ask(self, method, path, body=b"", **headers):
        sent = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
        if not any(name == b"host" for name, _ in sent):
            sent.append((b"host", b"127.0.0.1:8200"))
        if self.cookie:
            sent.append((b"cookie", self.cookie))
        got = call(self.app, method, path, body, sent)
        if (cookie := got.headers.get(b"set-cookie")) is not None:
            self.cookie = cookie.partition(b";")[0]
        return got

    def get(self, path, **headers):
        return self.ask("GET", path, **headers)

    def post(self, path, body, **headers):
        headers = {"origin": b"http://127.0.0.1:8200", "sec_fetch_site": b"same-origin"} | headers
        return self.ask("POST", path, body, **headers)

    def page(self, path):
        """The text of a page that must be there."""
        got = self.get(path)
        assert got.status == 200, (path, got.status, got.body[-600:])
        return got.body.decode()

    def log_in(self, token):
        return self.post("/login", b"token=" + token.encode() + b"&next=%2Faudit")


@pytest.fixture
def browser(store):
    return Browser(store)


@pytest.fixture
def browse():
    return Browser
