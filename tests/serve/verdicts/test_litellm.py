"""What LiteLLM's proxy is answered by the guardrail that it calls itself."""

import asyncio

import pytest

from tests.serve.store.conftest import rows, verdict
from tests.serve.verdicts.conftest import Service, posted

LITELLM = "/beta/litellm_basic_guardrail_api"


def asked(**more):
    return {
        "input_type": "response",
        "litellm_call_id": "a",
        "texts": ["hi"],
        "request_data": {},
        "images": None,
        **more,
    }


@pytest.mark.parametrize(
    ("status", "unmonitored", "action"),
    [("clear", "block", "NONE"), ("flagged", "pass", "BLOCKED"), ("unmonitored", "block", "BLOCKED"),
     ("unmonitored", "pass", "NONE"), ("not_sampled", "block", "NONE"), (None, "block", "BLOCKED"),
     (None, "pass", "NONE")],
)  # fmt: skip
def test_the_proxy_is_told_what_the_verdict_says(store, status, unmonitored, action):
    service = Service(store, unmonitored=unmonitored, wait_s=0.0)
    if status is not None:
        store.add(rows("a", status=status))
    found = service("POST", LITELLM, asked())
    assert found.status == 200 and found.json["action"] == action
    assert ("blocked_reason" in found.json) == (action == "BLOCKED")


@pytest.mark.parametrize("call_id", [None, ""])
def test_a_call_without_an_id_counts_as_unmonitored(service, call_id):
    assert service("POST", LITELLM, asked(litellm_call_id=call_id)).json["action"] == "BLOCKED"


def test_a_guardrail_in_the_wrong_mode_says_so_instead_of_passing_everything(service):
    assert "post_call" in service("POST", LITELLM, asked(input_type="request")).json["blocked_reason"]


@pytest.mark.parametrize(("rule", "action"), [(None, "NONE"), ("request", "NONE"), ("final", "BLOCKED")])
def test_the_proxy_is_told_of_the_rule_that_the_settings_name(store, rule, action):
    service = Service(store, unmonitored="block", wait_s=0.0, rule=rule)
    service("POST", "/v1/verdicts", posted(verdict("a", rule="request")))
    assert service("POST", LITELLM, asked()).json["action"] == action
    assert service("POST", LITELLM, asked(input_type="request")).json["action"] == "NONE"


def test_the_proxys_question_waits_for_the_verdict(store):
    service = Service(store, unmonitored="block", wait_s=30.0)

    async def run():
        async with service.running():
            question = asyncio.create_task(service.ask("POST", LITELLM, asked()))
            await asyncio.sleep(0.1)
            await service.ask("POST", "/v1/verdicts", posted(verdict("a")))
            return (await question).json

    assert asyncio.run(run()) == {"action": "NONE"}


def test_no_gateway_is_served_unless_somebody_says_what_unmonitored_means(store):
    assert Service(store)("POST", LITELLM, asked()).status == 404
