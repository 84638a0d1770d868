"""NeMo Guardrails, Guardrails AI, LangChain and LLM Guard: each withholds what the gate withholds, in its own words."""

import asyncio
from dataclasses import dataclass, field, replace
from types import SimpleNamespace as Thing

import pytest
from sri_plugin_gateways.llm_guard_scanner import VerdictScanner

NOT_CLEAR = ["flagged", "nobody-knows-it", None]


@dataclass(frozen=True)
class Call:
    """LangChain's ModelRequest."""

    model_settings: dict = field(default_factory=dict)

    def override(self, **changes):
        return replace(self, **changes)


@pytest.fixture
def middleware(beside, gate, monkeypatch):
    fakes = {
        "langchain.agents.middleware": {"AgentMiddleware": object, "ModelResponse": Thing},
        "langchain.messages": {"AIMessage": Thing},
    }
    module = beside("langchain_agent", fakes)
    return lambda request_id: (
        monkeypatch.setattr(module, "uuid4", lambda: request_id),
        module.VerdictAgentMiddleware(gate),
    )[1]


@pytest.fixture
def validator(beside, gate):
    class Validator:
        def __init__(self, on_fail=None):
            self.on_fail = on_fail

    fakes = {
        "guardrails.validator_base": {
            "Validator": Validator, "register_validator": lambda **_: lambda cls: cls, "ValidationResult": object,
            "PassResult": lambda: "pass", "FailResult": Thing,
        }
    }  # fmt: skip
    return beside("guardrails_validator", fakes).SriVerdict(gate)


@pytest.fixture
def action(beside, gate):
    outcome = Thing(allow=lambda **said: ("allow", said["reason"]), block=lambda **said: ("block", said["reason"]))
    fakes = {
        "nemoguardrails.actions": {"action": lambda **_: lambda function: function},
        "nemoguardrails.actions.rail_outcome": {"RailOutcome": outcome},
    }
    return beside("nemo_rails", fakes).verdict_action(gate)


def test_langchain_passes_a_clear_message_as_it_is(middleware):
    seen = []
    answer = middleware("clear").wrap_model_call(Call(), lambda call: seen.append(call) or "the response")
    assert answer == "the response"
    assert seen[0].model_settings == {"extra_headers": {"x-request-id": "clear"}}


def test_langchain_drops_text_and_tool_calls_of_a_flagged_message(middleware):
    async def model(call):
        return Thing(result=[Thing(content="steal", tool_calls=["steal"])])

    for answer in (
        middleware("flagged").wrap_model_call(
            Call(), lambda call: Thing(result=[Thing(content="steal", tool_calls=["x"])])
        ),
        asyncio.run(middleware("flagged").awrap_model_call(Call(), model)),
    ):
        (message,) = answer.result
        assert message.content == "This response was withheld."
        assert not hasattr(message, "tool_calls")


def test_langchain_keeps_other_settings_and_replaces_an_id_that_stood_there(middleware):
    seen = []
    call = Call({"temperature": 0, "extra_headers": {"X-Request-Id": "old", "x-other": "1"}})
    middleware("clear").wrap_model_call(call, seen.append)
    assert seen[0].model_settings == {"temperature": 0, "extra_headers": {"x-other": "1", "x-request-id": "clear"}}


def test_guardrails_ai_passes_clear(validator):
    assert validator._validate("any text", {"sri_request_id": "clear"}) == "pass"


@pytest.mark.parametrize("request_id", NOT_CLEAR)
def test_guardrails_ai_fails_the_rest(validator, request_id):
    failed = validator._validate("any text", {"sri_request_id": request_id})
    assert failed.fix_value == "This response was withheld."


def test_guardrails_ai_judges_every_piece_of_a_stream(validator):
    """The framework passes on pieces for which a validator asks it to wait."""
    assert validator._chunking_function("no sentence yet") == ["no sentence yet", ""]


@pytest.mark.parametrize(("context", "decided"), [
    ({"sri_request_id": "clear"}, ("allow", "clear")), ({"sri_request_id": "flagged"}, ("block", "flagged")),
    ({"sri_request_id": "nobody-knows-it"}, ("block", "unmonitored")), ({}, ("block", "unmonitored")),
    (None, ("block", "unmonitored")),
])  # fmt: skip
def test_nemo_blocks_what_is_not_clear(action, context, decided):
    assert asyncio.run(action(context=context)) == decided


def test_llm_guard_passes_clear_with_no_risk(gate):
    assert VerdictScanner(gate, lambda: "clear").scan("a prompt", "a response") == ("a response", True, 0.0)


@pytest.mark.parametrize("request_id", NOT_CLEAR)
def test_llm_guard_gets_the_gates_message_for_the_rest(gate, request_id):
    text, valid, risk = VerdictScanner(gate, lambda: request_id).scan("a prompt", "a response")
    assert (text, valid) == ("This response was withheld.", False)
    assert risk >= 0.5
