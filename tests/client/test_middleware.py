"""The middleware gives ids, holds responses, and replaces what is withheld, for any ASGI application."""

import asyncio
import json
from threading import Timer

import pytest

import sri_sdk
from sri_sdk.client.carried import carried
from sri_sdk.errors import ConfigError, GenerationAborted
from sri_sdk.policy import Policy
from sri_sdk.records import Verdict

FAIL_CLOSED = Policy(rule="final", flagged="abort", unmonitored="abort")
FAIL_OPEN = Policy(rule="final", flagged="abort", unmonitored="report")
ONLINE = Policy(rule="online", flagged="abort", unmonitored="abort")
TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


class Service:
    """An application that generates `pieces`, and emits verdicts of `statuses` as a watch would."""

    def __init__(self, client, statuses=("clear",), pieces=("hel", "lo"), status=200, fails=None):
        self.client, self.statuses, self.pieces = client, list(statuses), pieces
        self.status, self.fails, self.seen = status, fails, []

    async def __call__(self, scope, receive, send):
        self.scope = scope
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        self.seen.append(carried())
        if self.status < 400:
            with self.client.generation() as ids:
                self.ids = ids
        await send(
            {"type": "http.response.start", "status": self.status, "headers": [(b"content-type", b"text/plain")]}
        )
        for piece in self.pieces:
            await send({"type": "http.response.body", "body": piece.encode(), "more_body": True})
        for status in self.statuses:
            self.client.emit(Verdict(carried().request_id, status))
        if self.fails is not None:
            raise self.fails
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def scope_of(path="/generate", headers=(), kind="http", **more):
    return {"type": kind, "method": "POST", "path": path, "headers": list(headers), **more}


def ask(app, **how):
    """Status, headers, body pieces of one request."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    asyncio.run(app(scope_of(**how), receive, send))
    start = sent[0]
    assert [message["type"] for message in sent] == ["http.response.start"] + ["http.response.body"] * (len(sent) - 1)
    assert not sent[-1].get("more_body", False)
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], headers, [message["body"].decode() for message in sent[1:]]


def guarded(service, policy=FAIL_CLOSED, **options):
    return sri_sdk.VerdictMiddleware(
        service, service.client, policy, **{"paths": ["/generate"], "budget_s": 20, **options}
    )


@pytest.fixture
def client(client_of):
    return client_of()


def test_a_clear_response_passes_with_its_id(client):
    service = Service(client)
    status, headers, body = ask(guarded(service))
    assert status == 200 and "".join(body) == "hello"
    assert headers["x-request-id"] == service.ids[0] == service.seen[0].request_id


def test_a_flagged_response_is_replaced(client):
    service = Service(client, ["flagged"])
    status, headers, body = ask(guarded(service))
    assert status == 403 and headers["x-request-id"] == service.ids[0]
    assert json.loads("".join(body)) == {"error": "This response is withheld.", "request_id": service.ids[0]}
    assert int(headers["content-length"]) == len("".join(body))


def test_a_replacement_is_the_services_own_choice(client):
    def refusal(decision):
        return sri_sdk.Replacement(200, "text/plain", f"I cannot help with that ({decision.verdict.status}).".encode())

    status, _, body = ask(guarded(Service(client, ["flagged"]), replacement=refusal))
    assert status == 200 and body == ["I cannot help with that (flagged)."]


@pytest.mark.parametrize(("policy", "status"), [(FAIL_CLOSED, 403), (FAIL_OPEN, 200)], ids=["closed", "open"])
def test_without_a_verdict_the_policy_decides(client, policy, status):
    assert ask(guarded(Service(client, []), policy, budget_s=0.05))[0] == status


def test_every_generation_of_a_request_needs_its_verdict(client):
    class Twice(Service):
        async def __call__(self, scope, receive, send):
            with self.client.generation():
                pass
            await super().__call__(scope, receive, send)

    assert ask(guarded(Twice(client, ["clear"]), budget_s=0.05))[0] == 403
    assert ask(guarded(Twice(client, ["clear", "clear"])))[0] == 200
    assert ask(guarded(Twice(client, ["clear", "unmonitored"])))[0] == 403
    assert ask(guarded(Twice(client, ["flagged", "clear"])))[0] == 403


def test_a_policy_that_only_reports_keeps_nothing_waiting(client):
    status, headers, body = ask(guarded(Service(client, []), Policy.observe()))
    assert status == 200 and body == ["hel", "lo", ""] and headers["x-request-id"]


def test_online_pieces_follow_one_behind_and_an_alarm_ends_the_stream(client):
    sent = []
    service = Service(client, ["flagged"], ["a", "b", "c"], fails=GenerationAborted(("x",), 2))
    app = guarded(service, ONLINE, replacement=lambda d: sri_sdk.Replacement(403, "text/plain", b"no", cut=b"[cut]"))
    status, _, sent = ask(app)
    assert status == 200 and sent == ["a", "b", "[cut]"]


def test_the_last_piece_waits_for_the_verdict_although_an_empty_message_follows_it(client):
    """Frameworks end a stream with an empty message: no pass of the model stands behind it."""

    class JudgedLater(Service):
        async def __call__(self, scope, receive, send):
            late = Timer(0.05, client.emit, [Verdict(carried().request_id, "flagged")])

            async def starts_with_the_last(message):
                if message.get("more_body") is False:
                    late.start()
                await send(message)

            await super().__call__(scope, receive, starts_with_the_last)
            late.join()

    status, _, body = ask(guarded(JudgedLater(client, [], ["a", "b", "", "c"]), ONLINE))
    # Its empty message is left out, and the last one is the end of the stream.
    assert status == 200 and body == ["a", "b", ""]


def test_a_last_message_with_content_shows_that_the_piece_before_it_was_judged(client):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})

    app = sri_sdk.VerdictMiddleware(app, client, ONLINE, paths=["/"], budget_s=0.05)
    assert ask(app)[2] == ["a", ""]


@pytest.mark.parametrize("wrap", [False, True])
def test_an_aborted_generation_is_replaced_also_without_a_verdict(client, wrap):
    aborted = GenerationAborted(("x",), 0)
    fails = ExceptionGroup("tasks", [aborted]) if wrap else aborted
    assert ask(guarded(Service(client, [], fails=fails), FAIL_OPEN))[0] == 403


def test_a_bug_of_the_service_stays_its_bug_and_nothing_was_sent(client):
    sent = []

    async def send(message):
        sent.append(message)

    with pytest.raises(KeyError):
        asyncio.run(guarded(Service(client, ["clear"], fails=KeyError("x")))(scope_of(), None, send))
    assert not sent


def test_the_services_own_refusal_of_a_request_passes_at_once(client):
    status, headers, body = ask(guarded(Service(client, [], ["bad request"], status=422)))
    assert status == 422 and "".join(body) == "bad request" and headers["x-request-id"]


def test_an_error_after_a_generation_is_held_like_any_response(client):
    class Generates(Service):
        async def __call__(self, scope, receive, send):
            with self.client.generation():
                pass
            await super().__call__(scope, receive, send)

    assert ask(guarded(Generates(client, [], ["what it said"], status=500), budget_s=0.05))[0] == 403


@pytest.mark.parametrize(
    ("path", "held"), [("/generate", True), ("/generate/x", True), ("/generated", False), ("/", False)]
)
def test_only_paths_that_generate_are_held(client, path, held):
    status, headers, _ = ask(guarded(Service(client, ["flagged"])), path=path)
    assert (status == 403) == held and ("x-request-id" in headers) == held


def test_all_paths_are_meant_by_a_slash(client):
    assert ask(guarded(Service(client, ["flagged"]), paths=["/"]), path="/any")[0] == 403


def test_an_id_of_a_stranger_counts_only_behind_a_gateway(client):
    given = [(b"X-Request-Id", b"from-outside")]
    assert ask(guarded(Service(client)), headers=given)[1]["x-request-id"] != "from-outside"
    service = Service(client)
    assert ask(guarded(service, trust_header=True), headers=given)[1]["x-request-id"] == "from-outside"
    assert dict(service.scope["headers"])[b"x-request-id"] == b"from-outside"
    # Two of them: the gateway added its own and left the caller's, so neither is believed.
    twice = ask(guarded(service, trust_header=True), headers=[*given, (b"x-request-id", b"gateway")])[1]
    assert twice["x-request-id"] not in ("from-outside", "gateway")


@pytest.mark.parametrize("given", [b"", b"x" * 513, b"a\tb", "ü".encode()], ids=str)
def test_an_id_that_cannot_be_stored_is_replaced(client, given):
    service = Service(client)
    assert ask(guarded(service, trust_header=True), headers=[(b"x-request-id", given)])[0] == 200
    assert len(service.ids[0]) == 32


def test_a_verdict_from_before_does_not_count_for_the_same_id(client):
    client.emit(Verdict("again", "clear"))
    app = guarded(Service(client, []), trust_header=True, budget_s=0.05)
    assert ask(app, headers=[(b"x-request-id", b"again")])[0] == 403


def test_a_try_again_under_the_same_id_waits_for_its_own_verdict_alone(client):
    headers = [(b"x-request-id", b"again")]
    app = guarded(Service(client), trust_header=True, budget_s=20)
    assert [ask(app, headers=headers)[0] for _ in range(3)] == [200, 200, 200]
    # An earlier try that nobody judged, such as one whose tap was missing, withholds no later one.
    assert ask(guarded(Service(client, []), trust_header=True, budget_s=0.05), headers=headers)[0] == 403
    assert ask(app, headers=headers)[0] == 200


def test_an_applications_own_refusal_passes_also_where_the_id_has_generated_before(client):
    headers = [(b"x-request-id", b"again")]
    assert ask(guarded(Service(client), trust_header=True), headers=headers)[0] == 200
    refusing = Service(client, [], status=422)
    assert ask(guarded(refusing, trust_header=True, budget_s=0.05), headers=headers)[0] == 422


def test_a_try_again_waits_for_a_generation_that_still_runs_under_its_id(client):
    app = guarded(Service(client), trust_header=True, budget_s=0.3)
    headers = [(b"x-request-id", b"again")]
    with client.generation("again"):
        # One verdict for two generations: which of them it is about nobody knows.
        assert ask(app, headers=headers)[0] == 403
    assert ask(app, headers=headers)[0] == 200


def test_tenant_and_trace_are_carried_into_the_service(client):
    service = Service(client)
    ask(guarded(service, tenant=lambda scope: "acme"), headers=[(b"traceparent", TRACE.encode())])
    assert service.seen[0].tenant == "acme" and service.seen[0].traceparent == TRACE


def test_a_response_too_long_to_hold_is_decided_without_a_verdict(client):
    pieces = ["x" * 100] * 5
    assert ask(guarded(Service(client, ["clear"], pieces), most_bytes=250))[0] == 403
    status, _, body = ask(guarded(Service(client, ["clear"], pieces), FAIL_OPEN, most_bytes=250))
    assert status == 200 and "".join(body) == "x" * 500


def test_ways_round_the_middleware_are_not_offered(client):
    service = Service(client)
    ask(guarded(service), extensions={"http.response.pathsend": {}, "tls": {}})
    assert list(service.scope["extensions"]) == ["tls"]


@pytest.mark.parametrize(("policy", "sent"), [(FAIL_CLOSED, "websocket.close"), (Policy.observe(), "websocket.accept")])
def test_a_websocket_cannot_be_held_and_is_refused_where_it_would_have_to(client, policy, sent):
    messages = []

    async def send(message):
        messages.append(message["type"])

    asyncio.run(guarded(Service(client), policy)(scope_of(kind="websocket"), None, send))
    assert messages == [sent]


def test_verdicts_given_elsewhere_are_looked_up(stub, client):
    async def proxy(scope, receive, send):
        stub.verdicts[carried().request_id] = [{"request_id": carried().request_id, "status": judged, "reasons": []}]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello", "more_body": False})

    app = sri_sdk.VerdictMiddleware(proxy, client, FAIL_CLOSED, paths=["/"], where="store", budget_s=20)
    judged = "clear"
    assert ask(app)[0] == 200
    judged = "flagged"
    assert ask(app)[0] == 403
    assert stub.requests[-1][1].endswith(f"&rule={FAIL_CLOSED.rule}")


def test_a_store_that_is_down_withholds_or_releases_as_the_policy_says(down, client_of):
    async def proxy(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello", "more_body": False})

    client = client_of(url=down, close_s=0.1)
    for policy, status in ((FAIL_CLOSED, 403), (FAIL_OPEN, 200)):
        app = sri_sdk.VerdictMiddleware(proxy, client, policy, paths=["/"], where="store", budget_s=20)
        assert ask(app)[0] == status


def test_work_after_the_response_does_not_keep_it_back(client):
    """Frameworks run background tasks before the application returns."""
    sent, at_work = [], []

    async def app(scope, receive, send):
        with client.generation():
            pass
        client.emit(Verdict(carried().request_id, "clear"))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello", "more_body": False})
        at_work.extend(sent)

    async def send(message):
        sent.append(message["type"])

    asyncio.run(guarded_app(app, client)(scope_of(), None, send))
    assert at_work == ["http.response.start", "http.response.body", "http.response.body"]


def guarded_app(app, client):
    return sri_sdk.VerdictMiddleware(app, client, FAIL_CLOSED, paths=["/generate"], budget_s=20)


@pytest.mark.parametrize("paths", [[], "/generate", ["generate"]], ids=str)
def test_paths_that_are_none_are_refused(client, paths):
    with pytest.raises(ConfigError, match="pass a list of the paths that generate"):
        sri_sdk.VerdictMiddleware(Service(client), client, FAIL_CLOSED, paths=paths)
