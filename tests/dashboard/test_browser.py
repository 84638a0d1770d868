"""Every page in Debian's chromium: two widths, two schemes, the keyboard alone, no violation, no other machine.

Pictures go to a temporary folder; `make screenshots` writes those of docs/dashboard/ anew.
"""

import contextlib
import os
import shutil
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from sri_sdk import strict_json
from sri_sdk.dashboard.app import build_dashboard
from sri_sdk.observation import Observation
from sri_sdk.records import Verdict
from sri_sdk.serve.server import Server
from sri_sdk.serve.settings import ServeSettings
from sri_sdk.serve.store.observed import StreamQuery
from sri_sdk.serve.tokens import Tokens
from tests.dashboard.conftest import WRITER, filled, opened
from tests.dashboard.make_believe import BUNDLE, FLAGGED, HOSTILE, HOUR, NOW_MS, Week
from tests.runtimes import packages as npm
from tests.runtimes.programs import Absent

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]

BROWSERS = "chromium", "chromium-browser", "google-chrome", "chrome"
DOCS = Path(__file__).parents[2] / "docs/dashboard"
PICTURES = (
    "now-390-dark", "now-1280-light", "calm-390-light", "history-1280-dark", "live-390-dark", "live-1280-light",
    "verdicts-390-dark", "verdicts-1280-light", "verdict-390-light", "verdict-1280-dark", "audit-390-light",
    "audit-1280-dark", "queue-1280-light", "canary-1280-dark", "replicas-1280-light",
    "health-1280-light", "health-390-dark", "hostile-1280-light",
)  # fmt: skip
"""Those of the documentation."""
PAGES = {
    "now": ("bad", "/"),
    "history": ("bad", "/?since=7d", "#history", 1560),
    "calm": ("calm", "/"),
    "empty": ("empty", "/"),
    "live": ("bad", "/live"),
    "verdicts": ("bad", "/verdicts"),
    "flagged": ("bad", "/verdicts?status=flagged&time=7d"),
    "verdict": ("bad", "/verdicts/" + FLAGGED),
    "hostile": ("bad", "/verdicts/" + HOSTILE),
    "audit": ("bad", "/audit?base=0.5"),
    "queue": ("bad", "/audit", "#queue", 1000, "details.texts summary"),
    "canary": ("bad", "/verdicts/{canary}"),
    "guard": ("replicas", "/verdicts?bundle=" + BUNDLE),
    "replicas": ("replicas", "/", "main", 1240),
    "processes": ("replicas", "/health", "main", 1240),
    "health": ("bad", "/health?since=7d&deployment=chat", "main", 1240),
}


@contextlib.contextmanager
def running(store, tokens=None):
    """A dashboard in a thread; yields its address."""
    built = build_dashboard(store, tokens=tokens, hosts={"127.0.0.1"}, clock=lambda: NOW_MS / 1000)
    ready, found = threading.Event(), []
    server = Server(
        ServeSettings.model_validate({"port": 0}), built, lambda address, _: (found.append(address), ready.set())
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert ready.wait(60), "the dashboard does not start"
        yield found[0]
    finally:
        server.stop()
        thread.join(60)


def replicas(path):
    """A deployment of which one process of three is silent, with generations that nobody judged."""
    week = Week(calm=True, hours=6)
    store = filled(path, week)
    chat = week.pulses()[1]
    for pid, back, begun in ((4712, 900, 70), (4713, 2, 50)):
        with opened(path, NOW_MS - 1000 * back) as other:
            one = {"pid": pid, "started_at": NOW_MS - begun * HOUR, "at": NOW_MS - 1000 * back}
            other.pulse(replace(chat, **one)).result()
    store.observe(
        [Observation(Verdict(f"u{each}", "unmonitored", ("tap_silent",)), NOW_MS - HOUR, deployment="chat")
         for each in range(7)]
    )  # fmt: skip
    return store


@pytest.fixture(scope="module")
def playwright():
    try:
        return npm.ready("web")
    except Absent as err:
        pytest.skip(str(err))


def test_every_page_in_a_browser(playwright, tmp_path):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no chromium or chrome on PATH to open the pages with")
    whole = bool(os.environ.get("SRI_SCREENSHOTS"))
    size = {"hours": 7 * 24} if whole else {"hours": 30, "per_hour": 6}
    (tmp_path / "tokens").write_text(f"walt:{WRITER} read write\n")
    with contextlib.ExitStack() as stack:
        stores = {
            "bad": filled(tmp_path / "bad.db", Week(**size)),
            "calm": filled(tmp_path / "calm.db", Week(calm=True, **size)),
            "empty": opened(tmp_path / "empty.db"),
            "replicas": replicas(tmp_path / "replicas.db"),
            "labelling": filled(tmp_path / "labelling.db", Week(hours=6)),
            "locked": filled(tmp_path / "locked.db", Week(hours=3)),
        }
        sites = {
            name: stack.enter_context(running(each, Tokens(tmp_path / "tokens") if name == "locked" else None))
            for name, each in stores.items()
        }
        missed = stores["bad"].stream(StreamQuery(kind="canary", status="clear", limit=1)).rows[0].observation
        pages = {n: dict(zip(("site", "path", "top", "tall", "open"), each, strict=False)) for n, each in PAGES.items()}
        pages["canary"]["path"] = f"/verdicts/{missed.id}"
        done = subprocess.run(
            ["node", str(Path(__file__).parent / "walk.mjs"), str(playwright), browser, str(tmp_path)],
            input=strict_json.write({**sites, "token": WRITER, "pages": pages}), capture_output=True, text=True,
            timeout=800,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said = strict_json.parse(done.stdout.encode())
    assert not said["wrong"], "\n".join(said["wrong"])
    assert said["facts"]["looked"] == len(PAGES) * 4 + 3
    if whole:
        DOCS.mkdir(parents=True, exist_ok=True)
        for name in PICTURES:
            shutil.copyfile(tmp_path / f"{name}.png", DOCS / f"{name}.png")
