"""Where requests come from: datasets, standard input, HTTP."""

import http.client
import io
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from sri_sdk import registry
from sri_sdk.errors import ConfigError
from sri_sdk.monitor.settings import RequestsSection
from sri_sdk.monitor.traffic.dataset import DatasetTraffic
from sri_sdk.monitor.traffic.http import HttpTraffic
from sri_sdk.monitor.traffic.stdin import StdinTraffic
from sri_sdk.monitor.traffic.traffic import Answered
from sri_sdk.observation import Observation
from sri_sdk.policy import Decision
from sri_sdk.records import Verdict
from sri_sdk.strict_json import parse, write


def section(**fields) -> RequestsSection:
    return RequestsSection.model_validate(fields)


def answered(request_id: str, *, withheld: bool = False, recorded: bool = True, failed: str | None = None) -> Answered:
    verdict, done = Verdict(request_id, "flagged" if withheld else "clear"), Future()
    if recorded:
        done.set_result(None)
    else:
        done.set_exception(OSError("the disk is full"))
    response = None if withheld or failed else f"to {request_id}"
    return Answered(Decision(verdict, withheld), response, Observation(verdict, 1), done, failed)


# -- dataset -------------------------------------------------------------------------------------------------


def test_a_dataset_gives_its_mix_under_new_ids_until_its_count() -> None:
    traffic = DatasetTraffic(
        registry.build("datasets", "lab", {}),
        section(**{"from": "dataset", "split": "test", "harmful": 0.3, "attacks": {"infill": 0.2}, "count": 300}),
    )
    assert "split 'test'" in traffic.start()
    found = []
    while (batch := traffic.take(64, 0.1)) is not None:
        found += batch
    assert len({each.prompt.id for each in found}) == len(found) == 300
    kinds = Counter((each.prompt.label, each.prompt.attack) for each in found)
    assert 110 < kinds["harmless", None] < 190 and 60 < kinds["harmful", None] < 120
    assert 30 < kinds["harmful", "infill"] < 90


def test_no_prompt_of_a_dataset_comes_again_before_all_of_its_kind_were_asked(caplog) -> None:
    caplog.set_level("INFO")
    wanted = {"from": "dataset", "split": "test", "harmful": 0.5, "prompts": 40, "seed": 3, "count": 200}
    traffic = DatasetTraffic(registry.build("datasets", "lab", {}), section(**wanted))
    asked: dict[str, list[str]] = {"harmless": [], "harmful": []}
    while (batch := traffic.take(8, 0.1)) is not None:
        for each in batch:
            asked[each.prompt.label].append(each.prompt.id.rpartition(".")[0])
    for ids in asked.values():
        first, second = ids[:40], ids[40:80]
        assert len(set(first)) == 40 and set(second) == set(first) and second != first
    assert sum("begin anew" in each for each in caplog.messages) == sum((len(ids) - 1) // 40 for ids in asked.values())


def test_a_rate_is_kept_by_a_clock_that_nobody_sets(monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(time, "time", lambda: -1e9)
    traffic = DatasetTraffic(
        registry.build("datasets", "lab", {}), section(**{"from": "dataset", "split": "test", "rate": 4.0})
    )
    given = 0
    while now[0] < 110:
        given += len(traffic.take(64, 0.2) or [])
    assert 40 <= given <= 41


def test_a_split_or_an_attack_that_does_not_exist_is_named() -> None:
    lab = registry.build("datasets", "lab", {})
    for wrong in ({"split": "tset"}, {"split": "test", "attacks": {"nothing": 0.1}}):
        with pytest.raises(ConfigError, match="requests: "):
            DatasetTraffic(lab, section(**{"from": "dataset", **wrong}))


# -- standard input ------------------------------------------------------------------------------------------


def test_lines_are_answered_once_they_are_on_disk_and_a_bad_one_costs_only_itself() -> None:
    lines = b'{"id": "a", "prompt": "x"}\nnot json\n\n{"id": "a", "prompt": "again"}\n{"prompt": "y", "more": 1}\n'
    said: list[str] = []
    traffic = StdinTraffic(io.BytesIO(lines), said.append)
    traffic.start()
    given = []
    while (batch := traffic.take(8, 5.0)) is not None:
        assert len({each.prompt.id for each in batch}) == len(batch), "no batch has an id twice"
        given += batch
        for each in batch:
            each.answer(answered(each.prompt.id, recorded=each.prompt.text == "x"))
    assert [each.prompt.text for each in given] == ["x", "again"]
    answers = [parse(line) for line in said]
    errors = [each["error"] for each in answers if "error" in each]
    assert [each.split(":")[0] for each in errors] == ["line 2", "line 5"] and "unknown key more;" in errors[1]
    assert [each["recorded"] for each in answers if "id" in each] == [True, False]


def test_every_line_that_was_read_is_generated_or_refused_when_the_monitor_ends() -> None:
    class Lines(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            line = super().readline(size)
            self.read = self.tell()
            return line

    stream = Lines(b"".join(b'{"id": "r%d", "prompt": "p"}\n' % number for number in range(400)))
    said: list[str] = []
    traffic = StdinTraffic(stream, said.append)
    traffic.start()
    while len(traffic._waiting) < 256:
        time.sleep(0.001)
    traffic.stop()
    given = [each.prompt.id for _ in range(3) for each in traffic.take(8, 5.0) or []]
    assert given == [f"r{number}" for number in range(24)], "those that wait are still given"
    traffic.close()
    assert traffic.take(8, 5.0) is None
    for thread in threading.enumerate():
        if thread.name == "sri-stdin":
            thread.join(5)
    refused = [parse(line) for line in said]
    read = stream.getvalue()[: stream.read].count(b"\n")
    assert 256 <= read <= 257 and all("shut down" in each["error"] for each in refused)
    assert sorted([*given, *(each["id"] for each in refused)]) == sorted(f"r{number}" for number in range(read))


# -- HTTP ----------------------------------------------------------------------------------------------------


@contextmanager
def served(answer, **fields):
    """A source of HTTP requests on a free port, and a thread that answers as `answer` says."""
    traffic = HttpTraffic(section(**{"from": "http", "port": 0, **fields}))
    said, ending = traffic.start(), threading.Event()
    assert said.startswith("POST http://127.0.0.1:") and said.endswith("/v1/generate")

    def work() -> None:
        while not ending.is_set() and (batch := traffic.take(4, 0.05)) is not None:
            for each in batch:
                answer(each)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield traffic
    finally:
        ending.set()
        thread.join(10)
        traffic.close()


def post(traffic, body, *, headers=None, path="/v1/generate", method="POST"):
    host = traffic.address.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=20)
    try:
        sent = body if isinstance(body, bytes | None) else write(body).encode()
        connection.request(method, path, sent, headers or {})
        response = connection.getresponse()
        return response.status, parse(response.read()), response.headers
    finally:
        connection.close()


def test_a_request_gets_its_response_and_its_verdict() -> None:
    seen = []

    def answer(asked):
        seen.append(asked)
        asked.answer(answered(asked.prompt.id, withheld=asked.prompt.text == "bad"))

    with served(answer) as traffic:
        status, found, _ = post(traffic, {"id": "r1", "prompt": "good", "tenant": "acme", "group": "de"})
        assert status == 200 and found["response"] == "to r1" and found["status"] == "clear" and found["recorded"]
        assert (seen[0].tenant, seen[0].prompt.group) == ("acme", "de")
        status, found, _ = post(traffic, {"prompt": "bad"})
        assert status == 200 and found["response"] is None and found["withheld"] and len(found["id"]) == 32
        assert post(traffic, None, path="/health/ready", method="GET")[0] == 200


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not JSON"),
        ({"id": "x"}, "prompt: missing or empty"),
        ({"prompt": 1}, "prompt: not a text"),
        ({"prompt": "x", "id": "a\nb"}, "id: must have"),
        ({"prompt": "x", "id": "sri-canary-1"}, "id: must have"),
        ([], "not a JSON object; send one of prompt, id"),
        ({"prompt": "x", "what I secretly typed": "word", "\x1b[31m": 1}, "2 keys that are none; allowed: prompt, id"),
        (
            {"prompt": "x", "tennant": "a", "ü": 1},
            "unknown key tennant and 1 others; allowed: prompt, id, tenant, group. Did you mean 'tenant'?",
        ),
        ({"prompt": "x", "tenant": "a\x00"}, "tenant: not"),
    ],
    ids=["json", "no-prompt", "number", "control", "reserved", "list", "no-key", "key", "tenant"],
)
def test_a_wrong_request_is_refused_and_nothing_of_it_is_shown(body, said) -> None:
    with served(lambda asked: asked.answer(answered(asked.prompt.id))) as traffic:
        status, found, _ = post(traffic, body)
        assert status == 400 and said in found["error"] and "secret" not in found["error"]


def test_what_is_not_on_disk_is_said_not_to_be_and_what_failed_is_500() -> None:
    def answer(asked):
        asked.answer(
            answered(asked.prompt.id, recorded=False, failed="ValueError" if asked.prompt.text == "zz" else None)
        )

    with served(answer) as traffic:
        status, found, _ = post(traffic, {"prompt": "x"})
        assert status == 200 and found["recorded"] is False and found["response"]
        status, found, _ = post(traffic, {"prompt": "zz"})
        assert status == 500 and found["failed"] == "ValueError" and found["response"] is None


def test_an_id_that_is_under_way_is_refused_and_free_again_afterwards() -> None:
    held, go = [], threading.Event()

    def answer(asked):
        held.append(asked)
        go.wait(20)
        asked.answer(answered(asked.prompt.id))

    with served(answer) as traffic, ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, traffic, {"id": "r", "prompt": "x"})
        while not held:
            time.sleep(0.01)
        assert post(traffic, {"id": "r", "prompt": "x"})[0] == 409
        go.set()
        assert first.result(20)[0] == 200
        assert post(traffic, {"id": "r", "prompt": "x"})[0] == 200


def test_an_id_is_a_tenants_own_and_no_batch_has_it_twice() -> None:
    traffic = HttpTraffic(section(**{"from": "http", "port": 0}))
    traffic.start()
    try:
        with ThreadPoolExecutor(3) as pool:
            posted = [
                pool.submit(post, traffic, {"id": "r", "prompt": "x", "tenant": each}) for each in ("a", "b", "c")
            ]
            while traffic._waiting.qsize() < 3:
                time.sleep(0.01)
            assert post(traffic, {"id": "r", "prompt": "x", "tenant": "a"})[0] == 409
            tenants = []
            for _ in range(2):
                (given,) = traffic.take(8, 5.0)
                tenants.append(given.tenant)
                given.answer(answered("r"))
            traffic.close()
            assert sorted(each.result(20)[0] for each in posted) == [200, 200, 503], (
                "the one that was put back is refused"
            )
            assert len(set(tenants)) == 2
    finally:
        traffic.close()


def test_a_path_that_is_not_there_is_told_the_monitors_own_ones() -> None:
    with served(lambda asked: asked.answer(answered(asked.prompt.id))) as traffic:
        status, found, _ = post(traffic, None, path="/v2", method="GET")
        assert status == 404 and "POST /v1/generate" in found["error"] and "GET /v2" not in found["error"]


def test_more_than_may_wait_is_refused_and_the_end_refuses_what_still_waits() -> None:
    traffic = HttpTraffic(section(**{"from": "http", "port": 0, "waiting": 1}))
    traffic.start()
    try:
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(post, traffic, {"prompt": "x"})
            while traffic._waiting.empty():
                time.sleep(0.01)
            status, _, headers = post(traffic, {"prompt": "y"})
            assert status == 429 and headers["retry-after"] == "1"
            traffic.stop()
            assert post(traffic, {"prompt": "z"})[0] == 503
            assert post(traffic, None, path="/health/ready", method="GET")[0] == 503
            (given,) = traffic.take(8, 0.1)
            given.answer(answered(given.prompt.id))
            assert first.result(20)[0] == 200, "what waits is still answered"
            assert traffic.take(8, 0.0) is None
    finally:
        traffic.close()


def test_what_waits_when_the_time_is_up_is_refused() -> None:
    traffic = HttpTraffic(section(**{"from": "http", "port": 0}))
    traffic.start()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, traffic, {"prompt": "x"})
        while traffic._waiting.empty():
            time.sleep(0.01)
        traffic.close()
        assert first.result(20)[0] == 503


def test_a_token_says_who_may_ask_and_whose_it_is(tmp_path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("a:0123456789abcdef-a write tenant=acme\nb:0123456789abcdef-b read\n")
    seen = []

    def answer(asked):
        seen.append(asked.tenant)
        asked.answer(answered(asked.prompt.id))

    def bearer(name):
        return {"Authorization": f"Bearer 0123456789abcdef-{name}"}

    with served(answer, tokens=str(tokens)) as traffic:
        assert post(traffic, {"prompt": "x"})[0] == 401
        assert post(traffic, {"prompt": "x"}, headers=bearer("b"))[0] == 403
        assert post(traffic, {"prompt": "x"}, headers=bearer("a"))[0] == 200
        assert post(traffic, {"prompt": "x", "tenant": "other"}, headers=bearer("a"))[0] == 400
    assert seen == ["acme"]


def test_an_address_that_is_taken_is_said(tmp_path) -> None:
    with served(lambda asked: None) as traffic:
        port = int(traffic.address.rpartition(":")[2])
        other = HttpTraffic(section(**{"from": "http", "port": port}))
        with pytest.raises(ConfigError, match="cannot be listened on"):
            other.start()
