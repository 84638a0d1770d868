"""LiteLLM's proxy: the id travels, nobody else chooses it, and no response leaves that no guardrail is asked about."""

import asyncio
from types import SimpleNamespace as Thing

import pytest


class Refused(Exception):
    def __init__(self, status_code, detail):
        super().__init__(detail["error"])


@pytest.fixture
def carry(beside, monkeypatch):
    # The functions import fastapi late, so its fake stays.
    monkeypatch.setitem(__import__("sys").modules, "fastapi", Thing(HTTPException=Refused))
    fakes = {"litellm.integrations.custom_logger": {"CustomLogger": object}}
    return beside("litellm_proxy", fakes).CarryRequestId


def before_call(callback, call_type="acompletion", **data):
    data = {"litellm_call_id": "the-proxys", **data}
    return asyncio.run(callback.async_pre_call_hook(None, None, data, call_type))


def streamed(callback, *deltas):
    async def chunks():
        for delta in deltas:
            yield Thing(choices=[Thing(delta=delta)])

    async def collected():
        return [chunk async for chunk in callback.async_post_call_streaming_iterator_hook(None, chunks(), {})]

    return asyncio.run(collected())


def test_the_model_gets_the_id_under_which_the_proxy_will_ask(carry):
    assert before_call(carry())["extra_headers"] == {"x-request-id": "the-proxys"}


def test_an_id_of_the_callers_own_is_replaced_in_every_spelling(carry):
    data = before_call(
        carry(), extra_headers={"X-Request-ID": "mine", "x-other": "1"}, headers={"X-REQUEST-ID": "mine"}
    )
    assert data["extra_headers"] == {"x-other": "1", "x-request-id": "the-proxys"}
    assert data["headers"] == {}


def test_a_caller_who_chooses_the_proxys_id_is_refused(carry):
    sent = {"proxy_server_request": {"headers": {"X-LiteLLM-Call-Id": "one that was clear"}}}
    with pytest.raises(Refused, match="Leave the header out"):
        before_call(carry(), **sent)
    assert before_call(carry(callers_choose_ids=True), **sent)["extra_headers"]


def test_calls_that_generate_nothing_get_no_header(carry):
    assert "extra_headers" not in before_call(carry(), "aembedding")


@pytest.mark.parametrize("message", [Thing(content="hello"), Thing(content=None, tool_calls=[1]), Thing(content="")])
def test_a_response_that_guardrails_are_asked_about_or_that_says_nothing_passes(carry, message):
    response = Thing(choices=[Thing(message=message)])
    assert asyncio.run(carry().async_post_call_success_hook({}, None, response)) is response


def test_a_response_of_thoughts_alone_is_withheld(carry):
    response = Thing(choices=[Thing(message=Thing(content="", reasoning_content="first bring a sack"))])
    with pytest.raises(Refused, match="withheld"):
        asyncio.run(carry().async_post_call_success_hook({}, None, response))


def test_a_stream_keeps_its_order_and_waits_for_its_first_text(carry):
    deltas = [Thing(reasoning_content="hm"), Thing(content="hello"), Thing(content=None)]
    assert [chunk.choices[0].delta for chunk in streamed(carry(), *deltas)] == deltas


def test_a_stream_of_thoughts_alone_is_withheld_whole(carry):
    with pytest.raises(Refused, match="withheld"):
        streamed(carry(), Thing(reasoning_content="first"), Thing(thinking_blocks=[1]), Thing(content=""))


def test_an_empty_stream_passes(carry):
    assert len(streamed(carry(), Thing(content=""))) == 1
