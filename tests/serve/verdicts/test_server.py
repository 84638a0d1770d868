"""The store inside a server: opened by its settings, scoring by its bundles, killed and started again."""

import asyncio
import http.client
import signal
import subprocess
import sys
import threading

import pytest

from sri_sdk import strict_json
from sri_sdk.errors import ConfigError
from sri_sdk.scoring.scorer import Scorer
from sri_sdk.scoring.signal_parts import SIGNALS_FORMAT
from sri_sdk.serve.settings import ServeSettings
from sri_sdk.serve.store.rows import Heartbeat
from sri_sdk.serve.store.store import VerdictStore
from sri_sdk.serve.verdicts.states import SourceStates
from tests.serve.asgi import call, call_async
from tests.serve.store.conftest import FOREVER, verdict
from tests.serve.verdicts.conftest import posted


def lines(signals):
    """As `sri score` reads them."""
    rows = [{"sri_signals": SIGNALS_FORMAT, "fingerprint": signals.fingerprint}]
    for row, name in enumerate(signals.ids):
        rows.append({"id": name, "sigma": signals.sigma[row].tolist(), "logit": signals.logit[row].tolist()})
    return "\n".join(map(strict_json.write, rows)).encode()


@pytest.fixture
def app(build, tmp_path):
    """Of a server with the made-up guard and a store."""
    made = build(store={"url": f"sqlite:///{tmp_path}/v.db"}, gateways={"unmonitored": "block"}, limits={"rows": 100})
    yield made.app
    asyncio.run(leave(made.app))


async def leave(app):
    """Starts and stops the application, as a server would."""
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive():
        return messages.pop(0)

    async def send(message):
        assert "failed" not in message["type"], message

    await app({"type": "lifespan"}, receive, send)


def test_signals_are_scored_as_in_the_process_and_stored(app, scorer, make_signals):
    signals = make_signals(20, 7, dip=3.0)
    for rule in ("final", "online"):
        expected = [each.to_dict() for each in scorer.score(signals, rule=rule)]
        found = call(app, "POST", f"/v1/signals?bundle=sri&rule={rule}&source=gpu-1", lines(signals))
        assert found.status == 200 and found.json["verdicts"] == expected
        assert (found.json["bundle"], found.json["stored"]) == (scorer.bundle.digest, 20)
    kept = call(app, "GET", f"/v1/verdicts/{signals.ids[0]}").json
    assert kept["verdicts"] == 2 and kept["source"] == "gpu-1"
    again = call(app, "POST", "/v1/signals?bundle=sri&rule=final", lines(signals)).json
    assert (again["stored"], again["known"]) == (0, 20)


def test_posted_signals_are_counted_and_seen_by_the_shadow(build, tmp_path, fitted, other, make_signals):
    bundles = {"sri": {"path": fitted.path, "shadow": {"path": other.path}}}
    built = build(bundles=bundles, store={"url": f"sqlite:///{tmp_path}/v.db"})
    signals = make_signals(200, 31, dip=0.5)
    found = call(built.app, "POST", "/v1/signals?bundle=sri", lines(signals)).json["verdicts"]
    built.inference.shadows.settle()
    live = [each["status"] == "flagged" for each in found]
    shadow = [each.status == "flagged" for each in Scorer.open(other.path).score(signals)]
    counts = built.inference.shadows.counts
    differ = sum(its and not mine for mine, its in zip(live, shadow, strict=True))
    assert counts["sri", "only_shadow"] == differ > 0 and sum(counts.values()) == 200
    assert built.inference.rows["sri"] == sum(built.inference.statuses.values()) == 200
    asyncio.run(leave(built.app))


@pytest.mark.parametrize(
    ("query", "problem"), [("", "bundle: missing"), ("bundle=sri", "`unverified=true` in the query")]
)
def test_a_refusal_names_what_can_be_sent_here(app, make_signals, query, problem):
    body = lines(make_signals(2, 1))
    body = b'{"sri_signals": 1}' + body[body.index(b"\n") :]
    found = call(app, "POST", f"/v1/signals?{query}", body)
    assert found.status == 400 and problem in found.json["error"] and "--" not in found.json["error"]


@pytest.mark.parametrize(
    ("query", "status"),
    [("", 400), ("bundle=other", 404), ("bundle=sri&rule=none", 400), ("bundle=sri&unverified=yes", 400),
     ("bundle=sri&rul=final", 400), ("bundle=sri&accept=weights", 400)],
)  # fmt: skip
def test_signals_asked_for_wrongly_are_refused(app, make_signals, query, status):
    assert call(app, "POST", f"/v1/signals?{query}", lines(make_signals(2, 1))).status == status


@pytest.mark.parametrize(
    "body", [b"{", b"\xff", b'{"id": "a", "logit": [1, 2]}', b'{"id": "a\\n", "logit": [NaN]}', b"[1]"]
)
def test_signals_that_are_wrong_are_refused_and_nothing_is_stored(app, body):
    assert call(app, "POST", "/v1/signals?bundle=sri&unverified=true", body).status == 400
    assert call(app, "GET", "/v1/verdicts").json == {"verdicts": [], "next": 0}


def test_signals_of_another_model_are_refused(app, make_signals):
    body = lines(make_signals(2, 1)).replace(b"c" * 64, b"e" * 64)
    assert call(app, "POST", "/v1/signals?bundle=sri", body).status == 409


def test_more_generations_than_allowed_at_once_are_refused(app, make_signals):
    assert call(app, "POST", "/v1/signals?bundle=sri", lines(make_signals(101, 1))).status == 413


def test_an_id_that_could_not_be_asked_for_is_not_scored(app, make_signals):
    body = lines(make_signals(1, 1)).replace(b'"g1-0"', b'"g1\\u0007"')
    assert call(app, "POST", "/v1/signals?bundle=sri", body).status == 400


def test_metrics_show_how_many_sources_are_in_which_state(store):
    async def run():
        states = SourceStates(store)
        (gauge,) = states.collect()
        assert gauge.samples == []
        store.heartbeat(Heartbeat("a", without_verdict=1))
        store.heartbeat(Heartbeat("b"))
        async with states:
            await states.look()
        (gauge,) = states.collect()
        return {each.labels["state"]: each.value for each in gauge.samples}

    assert asyncio.run(run()) == {"alive": 0, "quiet": 1, "silent": 0, "ended": 0, "tap_missing": 1}


def test_metrics_show_the_store(app):
    call(app, "POST", "/v1/verdicts", strict_json.write(posted(verdict("a"))).encode())
    found = call(app, "GET", "/metrics").body.decode()
    assert 'sri_verdicts_received_total{status="clear"} 1.0' in found and "sri_store_writable 1.0" in found


def test_a_server_whose_store_cannot_be_written_is_not_ready(build, tmp_path):
    made = build(store={"url": f"sqlite:///{tmp_path}/v.db"})

    async def run():
        assert (await call_async(made.app, "GET", "/v2/health/ready")).status == 200
        await leave(made.app)
        return await call_async(made.app, "GET", "/v2/health/ready")

    assert asyncio.run(run()).status == 503


@pytest.mark.parametrize("key", ["authorization", "x-api-key"])
def test_gateways_may_send_their_token_as_an_api_key(build, tmp_path, key):
    (tmp_path / "tokens").write_text("litellm:0123456789abcdef read\n")
    made = build(
        store={"url": f"sqlite:///{tmp_path}/v.db"}, gateways={"unmonitored": "block", "wait_seconds": 0},
        tokens=tmp_path / "tokens",
    )  # fmt: skip
    token = b"0123456789abcdef" if key == "x-api-key" else b"Bearer 0123456789abcdef"
    asked = ("POST", "/beta/litellm_basic_guardrail_api", b'{"litellm_call_id": "a"}')
    assert call(made.app, *asked, [(key.encode(), token)]).json["action"] == "BLOCKED"
    assert call(made.app, *asked, [(key.encode(), token + b"0")]).status == 401
    asyncio.run(leave(made.app))


@pytest.mark.parametrize(
    "wrong",
    [{"store": {"hash_ids": True}}, {"store": {"hash_key": "x"}}, {"gateways": {"unmonitored": "pass"}}],
)
def test_settings_that_do_not_go_together_are_refused(wrong):
    with pytest.raises(ValueError, match=r"go together|there is no `store`"):
        ServeSettings.model_validate(wrong)


def test_hashed_ids_need_their_key_again(build, tmp_path):
    section = {"url": f"sqlite:///{tmp_path}/v.db", "hash_ids": True, "hash_key": tmp_path / "key"}
    asyncio.run(leave(build(store=section).app))
    (tmp_path / "key").unlink()
    with pytest.raises(ConfigError, match="keeps request ids"):
        build(store=section)


class Served:
    """`sri serve` with a store and nothing else, in a process of its own."""

    def __init__(self, folder):
        (folder / "serve.yaml").write_text(f"store: {{url: 'sqlite:///{folder}/v.db'}}\n")
        command = [sys.executable, "-m", "sri_sdk.cli", "serve", "--config", str(folder / "serve.yaml"), "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = next(line for line in self.process.stdout if "serving on" in line)
        self.port = int(line.rpartition(":")[2])

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def end(self, how):
        self.process.send_signal(how)
        self.process.stdout.close()
        return self.process.wait(60)


@pytest.mark.slow
def test_a_server_that_is_killed_mid_load_has_everything_it_acknowledged_when_it_is_back(tmp_path):
    served = Served(tmp_path)
    acknowledged, enough = [], threading.Event()

    def post(name):
        number = 0
        while True:
            body = strict_json.write(posted(verdict(f"{name}-{number}", "flagged")))
            try:
                status, _ = served.ask("POST", "/v1/verdicts", body)
            except (OSError, http.client.HTTPException):
                return
            if status == 200:
                acknowledged.append(f"{name}-{number}")
            if len(acknowledged) > 60:
                enough.set()
            number += 1

    threads = [threading.Thread(target=post, args=(name,)) for name in "abcd"]
    [each.start() for each in threads]
    assert enough.wait(120)
    served.end(signal.SIGKILL)
    [each.join() for each in threads]
    served = Served(tmp_path)
    assert all(served.ask("GET", f"/v1/verdicts/{each}")[0] == 200 for each in acknowledged[-20:])
    # Drained, and then ended by the signal itself.
    assert served.end(signal.SIGTERM) in (0, -signal.SIGTERM)
    with VerdictStore.open(f"sqlite:///{tmp_path}/v.db", kept=FOREVER) as store:
        assert not [each for each in acknowledged if store.find("", each) is None]
