"""Harmless canaries: none twice, whatever dies in between, and what is said once there are none left."""

import json
import logging
import subprocess
import sys

import pytest
from sri_plugin_lab.dataset import LabDataset

from sri_sdk.config.load import load_config
from sri_sdk.errors import ConfigError
from sri_sdk.fitting import canary_state
from sri_sdk.fitting.canary_state import Canary, State, base_hash, beside
from sri_sdk.fitting.folds import text_hash
from sri_sdk.monitor import canary_book
from sri_sdk.monitor.canary_book import CanaryBook

from ..fitting.conftest import write_config

BUNDLE = "a" * 64


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(canary_book, "RESERVE", 4)
    return load_config(write_config(tmp_path))


def came_back(book, prompts, score=0.5):
    for prompt in prompts:
        book.add(Canary(prompt=text_hash(prompt.text), base=base_hash(prompt), scores={"detector": score}))


def test_no_prompt_is_given_twice_by_one_book_nor_counted_twice_by_the_next(config, tmp_path):
    path, counted = tmp_path / "canaries.json", []
    for _ in range(2):
        book, given = CanaryBook.open(path, BUNDLE), []
        for _ in range(3):
            # More than the reserve holds; the third of each never comes back, and is not given again for all that.
            prompts = book.fresh(config, "test", 3)
            given += prompts
            counted += prompts[:2]
            came_back(book, prompts[:2])
        book.close()
        assert len({each.text for each in given}) == 9
    assert len({each.text for each in counted}) == len(json.loads(path.read_text())["canaries"]) == 12


def test_what_was_used_under_another_guard_is_not_given_again(config, tmp_path):
    first = CanaryBook.open(tmp_path / "canaries.json", BUNDLE)
    used = first.fresh(config, "test", 3)
    came_back(first, used)
    first.close()
    later = CanaryBook.open(tmp_path / "canaries.json", "b" * 64, rate=0.05)
    assert later.state.canaries == [] and later.state.rate == 0.05, "the calibration is new, and so is the count"
    assert not {each.text for each in later.fresh(config, "test", 5)} & {each.text for each in used}
    later.close()


def test_once_the_split_has_no_more_fewer_are_given_and_the_log_says_so(config, tmp_path, monkeypatch, caplog):
    prompts = LabDataset.prompts

    def few(self, split, label, count, **more):
        if split == "test" and count > 14:
            raise ConfigError("split 'test' has 14")
        return prompts(self, split, label, count, **more)

    monkeypatch.setattr(LabDataset, "prompts", few)
    book = CanaryBook.open(tmp_path / "canaries.json", BUNDLE)
    with caplog.at_level(logging.ERROR):
        # 8 of the 14 are in the fold `test`.
        assert [len(book.fresh(config, "test", 2)) for _ in range(4)] == [2, 2, 2, 0]
    assert "drift is no longer looked for" in caplog.text and "6 are there" not in caplog.text
    book.close()


def test_a_second_process_is_refused_and_a_reload_of_this_one_is_not(tmp_path):
    path = tmp_path / "canaries.json"
    book, reloaded = CanaryBook.open(path, BUNDLE), CanaryBook.open(path, BUNDLE)
    book.close()
    book.close()
    program = (
        "import sys; from pathlib import Path; from sri_sdk.files import claimed\n"
        "with claimed(Path(sys.argv[1])) as mine: print(mine)"
    )
    asks = [sys.executable, "-c", program, str(path)]
    assert subprocess.run(asks, capture_output=True, text=True, check=True).stdout == "False\n"
    reloaded.close()
    assert subprocess.run(asks, capture_output=True, text=True, check=True).stdout == "True\n"


def test_another_process_that_has_the_file_is_named(tmp_path, monkeypatch):
    path = tmp_path / "canaries.json"
    holder = subprocess.Popen(
        [
            sys.executable, "-c",
            "import sys; from pathlib import Path; from sri_sdk.files import claimed\n"
            "with claimed(Path(sys.argv[1])): print('mine', flush=True); sys.stdin.read()",
            str(path),
        ],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout.readline() == b"mine\n"
    with pytest.raises(ConfigError, match=r"canaries\.state: .*another process has it"):
        CanaryBook.open(path, BUNDLE)
    holder.communicate()
    CanaryBook.open(path, BUNDLE).close()


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_asked(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"canaries\.state: .*cannot be written"):
        CanaryBook.open(tmp_path / "file" / "canaries.json", BUNDLE)


def test_a_disk_that_is_full_for_a_while_loses_no_canary(config, tmp_path, monkeypatch):
    path = tmp_path / "canaries.json"
    book = CanaryBook.open(path, BUNDLE)
    first, second = book.fresh(config, "test", 2)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(canary_book, "append", full)
        patched.setattr(canary_state, "write_text", full)
        came_back(book, [first])
    assert book.trouble == "canaries.json cannot be written" and json.loads(path.read_text())["canaries"] == []
    came_back(book, [second])
    assert book.trouble is None and len(json.loads(path.read_text())["canaries"]) == 2
    book.close()


def canary(number):
    return Canary(prompt=f"{number:064x}", base=f"{number:064x}", scores={"detector": number / 7})


def test_a_canary_costs_one_line_however_many_there_are(tmp_path, monkeypatch):
    path, whole = tmp_path / "canaries.json", []
    book = CanaryBook.open(path, BUNDLE)
    monkeypatch.setattr(canary_state, "write_text", lambda target, text: whole.append(text))
    for number in range(300):
        book.add(canary(number))
    assert not whole and beside(path).read_bytes().count(b"\n") == 300
    # As if the process had died: nothing is closed.
    assert State.load(path) == book.state
    book.close()
    assert len(whole) == 1


def test_a_process_that_died_loses_no_canary_and_none_counts_twice(tmp_path):
    path = tmp_path / "canaries.json"
    died = CanaryBook.open(path, BUNDLE)
    died.add(canary(1))
    died.add(canary(2))
    added = beside(path).read_bytes()
    died.close()
    assert not beside(path).exists() and len(json.loads(path.read_text())["canaries"]) == 2
    # Once it died between the two files, and another time within a line.
    beside(path).write_bytes(added + added[:20])
    assert [each.prompt for each in State.load(path).canaries] == [f"{number:064x}" for number in (1, 2)]
    later = CanaryBook.open(path, "b" * 64)
    beside(path).write_bytes(added)
    assert State.load(path).canaries == [] and len(State.load(path).used) == 4, "those of the guard before"
    later.close()


def test_a_reload_loses_no_canary_of_either_book(tmp_path):
    path = tmp_path / "canaries.json"
    before = CanaryBook.open(path, BUNDLE)
    before.add(canary(1))
    after = CanaryBook.open(path, BUNDLE)
    after.add(canary(2))
    before.close()
    after.add(canary(3))
    after.close()
    assert len(json.loads(path.read_text())["canaries"]) == 3 and not beside(path).exists()


def test_what_the_guard_flagged_of_the_harmful_ones_is_kept_for_this_guard_alone(tmp_path):
    path = tmp_path / "canaries.json"
    book = CanaryBook.open(path, BUNDLE)
    book.keep(["1" * 64], ["1" * 64, "2" * 64], by="final None")
    book.close()
    for bundle, flagged, tried in ((BUNDLE, 1, 2), ("b" * 64, 0, 0)):
        later = CanaryBook.open(path, bundle)
        assert (len(later.state.harmful_flagged), len(later.state.harmful_tried)) == (flagged, tried)
        later.close()
