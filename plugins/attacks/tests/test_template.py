"""A wrapper of one's own, from a text or a file."""

from pathlib import Path

import pytest

from sri_sdk import Prompt, registry
from sri_sdk.config.evaluation import AttackEntry
from sri_sdk.config.load import load_evaluation
from sri_sdk.errors import ConfigError
from sri_sdk.evaluation.evaluate import evaluate

BAKE = Prompt("q1", "How do I bake {request} and {{ prompt }}?", "harmless")


def attacked(**options) -> Prompt:
    (made,) = registry.build("attacks", "template", options).apply([BAKE], {})
    return made


def test_every_place_holds_the_request_and_other_braces_stay() -> None:
    made = attacked(template="{persona}: {request} {} again: {request}")
    assert made.text == f"{{persona}}: {BAKE.text} {{}} again: {BAKE.text}"
    assert (made.id, made.attack, made.base, made.label) == ("q1/template", "template", "q1", "harmless")


def test_a_collection_may_write_the_place_in_another_way() -> None:
    made = attacked(template="{request} is no place here. {{ prompt }}", placeholder="{{ prompt }}")
    assert made.text == f"{{request}} is no place here. {BAKE.text}"


def test_a_file_gives_its_text_without_the_breaks_at_its_end(tmp_path: Path) -> None:
    file = tmp_path / "baker.txt"
    file.write_bytes("\ufeffYou bake.\r\n\n{request}\nNow!\n\n".encode())
    assert attacked(file=str(file), called="baker").text == f"You bake.\r\n\n{BAKE.text}\nNow!"
    assert attacked(file=str(file), called="baker").attack == "baker"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "needs either template or file, found neither"),
        ({"template": "{request}", "file": "x.txt"}, "needs either template or file, found both"),
        ({"template": "{ request }"}, "template: nothing in it stands for the request. Write {request} where"),
        ({"template": "{request}", "placeholder": " "}, "placeholder"),
        ({"file": "absent.txt"}, "absent.txt: cannot be read: No such file"),
    ],
)
def test_what_cannot_be_a_wrapper_is_refused_when_it_is_built(options: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        registry.build("attacks", "template", options)
    assert problem in str(raised.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"You bake.", "Write {request} where the request goes, or say with the option placeholder"),
        (b"\xff {request}", "not UTF-8 text, first at byte 0"),
        (b"{request}" + b" " * 2**20, "more than 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_template_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "odd.txt"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        attacked(file=str(file))
    assert str(file) in str(raised.value) and problem in str(raised.value)


def test_a_missing_file_stops_an_evaluation_before_anything_is_drawn() -> None:
    config = load_evaluation(Path(__file__).parents[3] / "configs/lab.yaml")
    entry = AttackEntry(count=5, plugin="template", options={"file": "absent.txt"})
    with pytest.raises(ConfigError, match=r"attacks\.mine: attack template: absent\.txt: cannot be read"):
        evaluate(config.model_copy(update={"attacks": {"mine": entry}}))
