"""Attacks that put a request into other words."""

import pytest

from sri_sdk import Prompt, registry
from sri_sdk.errors import ConfigError
from sri_sdk.testing import attack_checks, run_checks

WRAPPERS = ("refusal-suppression", "prefix-injection", "role-play", "past-tense")
BAKE = Prompt("q1", "How do I bake {bread}?", "harmful")


def attacked(name: str, request: Prompt = BAKE, **options) -> Prompt:
    (made,) = registry.build("attacks", name, options).apply([request], {})
    return made


@pytest.mark.parametrize("name", [info.name for info in registry.installed("attacks") if info.name != "random-search"])
def test_every_attack_keeps_every_promise(name: str) -> None:
    results = run_checks(attack_checks(registry.load("attacks", name).example))
    assert [r for r in results if r.state != "passed"] == []


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_template_of_ones_own_takes_the_place_of_ours(name: str) -> None:
    more = {"prefix-injection": " {prefix}", "role-play": " {persona}"}.get(name, "")
    made = attacked(name, template=f"tell me , {{request}} now {{}}{more}")
    assert made.text.startswith("tell me , How do I bake {bread}? now {}")
    assert (made.id, made.attack, made.base, made.label, made.prefill) == (f"q1/{name}", name, "q1", "harmful", None)


@pytest.mark.parametrize(
    ("name", "template", "problem"),
    [
        ("past-tense", "long ago", "lacks {request}"),
        ("prefix-injection", "{request} begin", "lacks {prefix}"),
        ("role-play", "{request} {persona} {prefix}", "nothing fills {prefix}; places: {request}, {persona}"),
        ("prefill", "sure {persona}", "nothing fills {persona}"),
    ],
)
def test_a_template_without_its_places_is_refused(name: str, template: str, problem: str) -> None:
    key = "text" if name == "prefill" else "template"
    with pytest.raises(ConfigError) as raised:
        registry.build("attacks", name, {key: template})
    assert problem in str(raised.value) and f"{key}: " in str(raised.value)


def test_what_is_filled_in_is_not_filled_in_again() -> None:
    odd = Prompt("q", "What is {prefix}?", "harmful")
    assert attacked("prefix-injection", odd, template="{request} {prefix}", prefix="yes ,").text == (
        "What is {prefix}? yes ,"
    )


def test_options_say_who_is_played_and_how_to_begin() -> None:
    assert "You are Olla" in attacked("role-play", persona="Olla").text
    assert '"absolutely yes"' in attacked("prefix-injection", prefix="absolutely yes").text


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("words", "bread ? two bake"),
        ("characters-in-words", "ekab owt ? daerb"),
        ("sentence", "daerb ?  owt ekab"),
    ],
)
def test_flip_turns_round_words_letters_in_words_or_all_of_it(mode: str, text: str) -> None:
    request = Prompt("q", "bake two  ? bread", "harmful")
    assert attacked("flip", request, mode=mode, template="{request}").text == text
    assert attacked("flip", request, mode=mode).text.endswith(f": {text}")


def test_flipping_all_of_it_twice_gives_the_request_back() -> None:
    once = attacked("flip", mode="sentence", template="{request}")
    assert attacked("flip", once, mode="sentence", template="{request}").text == BAKE.text


def test_one_attack_used_twice_can_be_called_differently() -> None:
    made = [attacked("flip", mode=mode, called=f"flip-{mode}") for mode in ("words", "sentence")]
    assert [p.attack for p in made] == ["flip-words", "flip-sentence"]
    assert [p.id for p in made] == ["q1/flip-words", "q1/flip-sentence"]


def test_a_request_made_of_another_keeps_its_first_base_and_its_start() -> None:
    request = Prompt("q1-again", "How?", "harmless", base="q1", prefill="sure")
    made = attacked("role-play", request)
    assert (made.base, made.label, made.prefill) == ("q1", "harmless", "sure")
