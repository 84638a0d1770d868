"""`sri label` and `sri report`, as an operator types them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from sri_sdk.cli import main
from tests.monitor.make_believe import a_day, filled


@pytest.fixture
def store(tmp_path: Path) -> str:
    filled(tmp_path / "v.db", a_day(hours=2)).close()
    return f"sqlite:///{tmp_path / 'v.db'}"


def sri(*args: str):
    return CliRunner().invoke(main, args)


def test_the_queue_has_what_was_drawn_until_it_is_labelled(store: str) -> None:
    first = sri("label", store, "--next", "1000", "--json")
    assert first.exit_code == 0, first.output
    waiting = [json.loads(line) for line in first.output.splitlines()]
    assert len(waiting) == sum(each.audited for each in a_day(hours=2))
    assert {"clear", "flagged"} == {each["verdict"]["status"] for each in waiting}
    assert [each["id"] for each in waiting] == sorted(each["id"] for each in waiting)
    done = sri("label", store, waiting[0]["id"], "benign", "--by", "ann")
    assert done.exit_code == 0 and "benign, by ann" in done.output
    again = sri("label", store, "--next", "1000", "--json").output.splitlines()
    assert len(again) == len(waiting) - 1


def test_the_queue_has_texts_where_texts_are_stored(tmp_path: Path) -> None:
    (one, *_) = (each for each in a_day(hours=2) if each.audited)
    filled(tmp_path / "t.db", [replace(one, prompt="asked", response="answered")]).close()
    shown = json.loads(sri("label", f"sqlite:///{tmp_path / 't.db'}", "--next", "1", "--json").output)
    assert (shown["id"], shown["prompt"], shown["response"]) == (one.id, "asked", "answered")


def test_the_queue_shows_what_was_asked_and_answered_and_steers_no_terminal(tmp_path: Path) -> None:
    one, two, *_ = sorted((each for each in a_day(hours=2) if each.audited), key=lambda each: each.id)
    kept = [replace(one, prompt="asked\nID x \x1b[2J", response="a" * 500), replace(two, prompt="again", response=None)]
    filled(tmp_path / "t.db", kept).close()
    place = f"sqlite:///{tmp_path / 't.db'}"
    lines = sri("label", place, "--next", "2").output.splitlines()
    assert lines[1].startswith(one.id) and lines[4].startswith(two.id)
    assert lines[2] == r"    prompt    asked\nID x \x1b[2J"
    assert lines[3] == f"    response  {'a' * 400} ... (500 characters; --json has all)"
    assert lines[5:7] == ["    prompt    again", "    response  (not kept)"]
    hidden = sri("label", place, "--next", "2", "--no-text").output
    assert one.id in hidden and "asked" not in hidden and "aaaa" not in hidden
    as_json = json.loads(sri("label", place, "--next", "1", "--no-text", "--json").output)
    assert (as_json["prompt"], as_json["response"]) == (None, None)


def test_a_queue_without_texts_says_where_to_look(store: str) -> None:
    assert "no texts are kept of these (store_texts" in sri("label", store, "--next", "3").output
    assert "store_texts" not in sri("label", store, "--next", "3", "--no-text").output


def test_a_part_of_an_id_labels_nothing_and_is_told_the_whole_ones(store: str) -> None:
    (one, *_) = a_day(hours=2)
    for part, whole in ((one.id[:8], one.id), ("req-", "and others")):
        refused = sri("label", store, part, "attack")
        assert (
            refused.exit_code == 1 and "An id must be whole; so begins " in refused.output and whole in refused.output
        )
    assert "An id must be whole" not in sri("label", store, "nothing", "attack").output


def test_a_request_is_labelled_by_its_own_id_and_an_unknown_one_is_refused(store: str) -> None:
    assert sri("label", store, "req-3", "attack", "--json").exit_code == 0
    refused = sri("label", store, "req-none", "attack")
    assert refused.exit_code == 1 and "no verdict of this id" in refused.output


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "give an ID and a label"),
        (("x",), "allowed: ID benign, or ID attack"),
        (("x", "good"), "allowed: ID benign, or ID attack"),
        (("x", "benign", "--next", "3"), "give an ID and a label, or --next N"),
        (("--export", "out"), "--export and --guard go together"),
        (("x", "benign", "--no-text"), "--no-text goes with --next"),
    ],
    ids=["nothing", "half", "word", "both", "guard", "text"],
)
def test_wrong_usage_is_refused_in_words(store: str, args: tuple[str, ...], says: str) -> None:
    refused = sri("label", store, *args)
    assert refused.exit_code == 2 and says in refused.output


def test_a_mistyped_store_makes_no_new_one(tmp_path: Path) -> None:
    for place in (f"sqlite:///{tmp_path / 'none.db'}", str(tmp_path / "none.yaml"), str(tmp_path / "v.db")):
        assert sri("label", place, "--next", "1").exit_code == 1
        assert sri("report", place).exit_code == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["monitor", "serve"])
def test_the_file_of_whoever_writes_names_the_store(store: str, tmp_path: Path, form: str) -> None:
    file = tmp_path / "a.yaml"
    monitor = f"sinks:\n  - {{name: jsonl, options: {{path: x}}}}\n  - {{name: sql, options: {{url: '{store}'}}}}\n"
    file.write_text(monitor if form == "monitor" else f"store: {{url: '{store}'}}\n")
    assert sri("label", str(file), "--next", "1").exit_code == 0


def test_a_report_is_a_page_and_a_short_table(store: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    made = sri("report", store, "--since", "2020-01-01", "--until", "2030-01-01", "--out", str(page))
    assert made.exit_code == 0, made.output
    assert made.output.startswith("LOOK") and "chat" in made.output
    assert page.read_text().startswith("<!doctype html>") or "<html" in page.read_text()
    as_json = json.loads(sri("report", store, "--since", "2020-01-01", "--until", "2030-01-01", "--json").output)
    assert sum(span["clear"] + span["flagged"] for span in as_json["spans"]) == 100


@pytest.mark.parametrize("since", ["yesterday", "0d", "7", "2040-01-01", "9999-99-99"])
def test_a_time_that_is_none_is_refused(store: str, since: str) -> None:
    refused = sri("report", store, "--since", since)
    assert refused.exit_code == 1 and "--since" in refused.output
