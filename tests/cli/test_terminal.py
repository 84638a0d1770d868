"""Text from elsewhere is shown on a terminal, never obeyed by it."""

import json
import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sri_sdk.cli
from sri_sdk.cli import main
from sri_sdk.cli.live import spaced
from sri_sdk.cli.output import json_text, table, visible
from sri_sdk.errors import SriError
from sri_sdk.scoring.signal_files import write_signals
from sri_sdk.strict_json import parse

BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
ANY = st.text(st.characters(exclude_categories=()), max_size=12)
EVIL = "a\x1b[2J\nall clear flagged\r\x9b31m\x7f\u202eb\u2028c"


def steers(char):
    return (
        unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(char) in BIDI
        or char in "\u061c\u200e\u200f"
    )  # fmt: skip


@given(ANY)
def test_what_is_visible_steers_nothing_and_is_one_line(text):
    shown = visible(text)
    assert not any(map(steers, shown))
    shown.encode()
    if not any(map(steers, text)) and text.isalnum():
        assert shown == text


def test_every_control_is_escaped_by_its_code_and_scripts_stay_whole():
    for code in range(0x110000):
        if steers(char := chr(code)):
            assert visible(char).startswith("\\")
    assert visible("\x1b\n\x9b\u202e") == r"\x1b\n\x9b\u202e"
    for text in ("naïve Übung", "我无法满足", "می\u200cخواهم", "❤\ufe0f 👩\u200d🔬"):
        assert visible(text) == text


@given(st.lists(st.lists(ANY, min_size=2, max_size=2), max_size=4))
def test_a_table_has_as_many_lines_as_rows(rows):
    assert len(table(["A", "B"], rows).split("\n")) == 1 + len(rows)


@given(st.dictionaries(ANY, ANY | st.floats(allow_nan=False, allow_infinity=False)))
def test_json_stays_json_and_does_not_steer_either(value):
    text = json_text(value)
    assert json.loads(text) == value
    assert not any(map(steers, text))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8).map(lambda x: EVIL + x))
def test_an_id_cannot_clear_the_screen_or_forge_a_row(fitted, make_signals, tmp_path, foreign):
    signals = make_signals(1, 5, dip=6)
    write_signals(tmp_path / "s.npz", replace(signals, ids=(foreign,)))
    done = CliRunner().invoke(main, ["score", str(fitted.path), str(tmp_path / "s.npz"), "--all"])
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) == 4
    assert not any(steers(char) for char in done.stdout if char != "\n")
    done = CliRunner().invoke(main, ["score", str(fitted.path), str(tmp_path / "s.npz"), "--json"])
    assert parse(done.stdout.strip())["request_id"] == foreign


def test_an_error_shows_a_path_and_does_not_obey_it(tmp_path):
    for arguments in (
        ["config", "check", f"{EVIL}.yaml"], ["fit", f"{EVIL}.yaml"], ["bundle", "inspect", f"{EVIL}"],
        ["plugins", "list", "--kind", EVIL], ["score", str(tmp_path), f"--{EVIL}"], [EVIL], ["check", "hook", EVIL],
        ["bundle", "verify", "\udce9"],
    ):  # fmt: skip
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code in (1, 2), arguments
        assert not any(steers(char) for char in done.output if char != "\n"), arguments


def test_every_string_of_a_manifest_is_shown_and_not_obeyed(fitted, monkeypatch):
    from sri_sdk.bundle.bundle import Bundle

    bundle = Bundle.read(fitted.path)
    manifest = bundle.manifest
    changed = manifest.model_copy(update={
        "producer": {EVIL: EVIL}, "pooling": EVIL, "grid": {EVIL: EVIL},
        "fingerprint": {"hard": {EVIL: EVIL}, "soft": {EVIL: EVIL}},
        "detector": manifest.detector.model_copy(update={"name": EVIL}),
        "rates": tuple(rate.model_copy(update={"name": EVIL}) for rate in manifest.rates),
    })  # fmt: skip
    monkeypatch.setattr("sri_sdk.cli.bundle.Bundle.read", lambda *_, **__: replace(bundle, manifest=changed))
    lines = CliRunner().invoke(main, ["bundle", "inspect", str(fitted.path)]).stdout
    assert r"\x1b[2J" in lines
    assert not any(steers(char) for char in lines if char != "\n")
    assert not any(line.startswith("all clear") for line in lines.splitlines())


def test_the_live_view_shows_a_prompt_and_does_not_obey_it():
    pytest.importorskip("rich")
    from rich.console import Console

    from sri_sdk.cli.live import frame

    console = Console(width=60, file=None, record=True, force_terminal=False)
    with console.capture() as caught:
        console.print(frame(f"[red]{EVIL}", [(EVIL, True), ("[/bold]", False)], [0.5], 4, 0, 8, None))
    assert not any(steers(char) for char in caught.get() if char != "\n")
    assert "[red]a" in caught.get() and "[/bold]" in caught.get()


@pytest.mark.parametrize(
    ("pieces", "whole", "shown"),
    [
        (["B", "aking", " bread", ".\n\n", ""], "Baking bread.", "Baking bread. "),
        (["mix", "the", "", "dough"], "mix the dough", "mix the dough "),
    ],
    ids=["spaces in the tokens", "spaces lost"],
)
def test_a_word_of_several_tokens_is_one_word(pieces: list[str], whole: str, shown: str) -> None:
    assert "".join(spaced(pieces, whole)) == shown


def test_a_stage_with_markup_in_its_name_is_a_name(capsys):
    pytest.importorskip("rich")
    from sri_sdk.cli.bars import progress_bars

    with progress_bars() as progress:
        progress("[/x]\x1b[2J", 1, 2)
    assert "\x1b[2J" not in capsys.readouterr().err


def test_a_mistake_of_a_plugin_is_one_line(monkeypatch):
    def fail(*_):
        raise SriError(EVIL)

    monkeypatch.setattr("sri_sdk.registry.installed", fail)
    done = CliRunner().invoke(main, ["plugins", "list"])
    assert len(done.stderr.splitlines()) == 1
    assert "\x1b" not in done.stderr


def test_only_one_file_prints():
    folder = Path(sri_sdk.cli.__file__).parent
    prints = re.compile(r"(?<!\.)\b(click\.(echo|secho)|print)\(")
    printing = [x.name for x in folder.glob("*.py") if prints.search(x.read_text())]
    assert sorted(printing) == ["output.py"]
