"""The sink `jsonl`: whole lines, whatever happens to the file."""

import json
import os
import subprocess
import sys
import time

import pytest
from sri_plugin_sinks.jsonl import JsonlSink

from sri_sdk.errors import ConfigError, SinkRejected
from sri_sdk.observation import Observation
from sri_sdk.records import Verdict
from sri_sdk.testing import sink_checks


def sink_at(path, **options):
    return JsonlSink(JsonlSink.Config(path=path, **options))


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("check", sink_checks(JsonlSink.example), ids=str)
def test_it_keeps_the_promises_of_a_sink(check):
    check()


def test_a_line_is_the_verdict_and_its_time(tmp_path):
    path = tmp_path / "new" / "verdicts.jsonl"
    verdict = Verdict("r1", "flagged", ("score_above_threshold",), 0.9, 0.5, 0.01)
    sink_at(path).emit(verdict)
    (line,) = lines_of(path)
    assert line.pop("time").endswith("+00:00")
    assert line == verdict.to_dict()


def test_an_id_cannot_end_its_line(tmp_path):
    path = tmp_path / "verdicts.jsonl"
    sink_at(path).emit(Verdict("a\n{}\u2028\x85b", "clear"))
    assert path.read_bytes().count(b"\n") == 1 and len(path.read_text().splitlines()) == 1


def test_a_moved_file_is_begun_anew(tmp_path):
    path, old = tmp_path / "verdicts.jsonl", tmp_path / "verdicts.1"
    sink = sink_at(path)
    sink.emit(Verdict("a", "clear"))
    path.rename(old)
    sink.emit(Verdict("b", "clear"))
    assert [line["request_id"] for file in (old, path) for line in lines_of(file)] == ["a", "b"]


def test_lines_wait_while_the_file_cannot_be_written(tmp_path):
    blocker = tmp_path / "folder"
    blocker.touch()
    sink = sink_at(blocker / "verdicts.jsonl")
    sink.emit(Verdict("a", "clear"))
    blocker.unlink()
    sink.emit(Verdict("b", "clear"))
    sink.close()
    assert [line["request_id"] for line in lines_of(blocker / "verdicts.jsonl")] == ["a", "b"]


def test_what_is_never_written_is_counted(tmp_path):
    (tmp_path / "folder").touch()
    sink = sink_at(tmp_path / "folder" / "verdicts.jsonl")
    sink.emit(Verdict("a", "clear"))
    sink.close()
    assert sink.lost == 1


def test_a_full_disk_leaves_no_half_of_a_line(tmp_path, monkeypatch):
    path, write = tmp_path / "verdicts.jsonl", os.write
    sink = sink_at(path)
    sink.emit(Verdict("a", "clear"))
    monkeypatch.setattr(os, "write", lambda handle, line: write(handle, line[:10]))
    sink.emit(Verdict("b", "clear"))
    assert [line["request_id"] for line in lines_of(path)] == ["a"]
    monkeypatch.undo()
    sink.emit(Verdict("c", "clear"))
    assert [line["request_id"] for line in lines_of(path)] == ["a", "b", "c"]


def test_a_line_cut_in_two_by_a_killed_process_spoils_no_other(tmp_path):
    path = tmp_path / "verdicts.jsonl"
    path.write_text('{"time": "2026-11-')
    sink_at(path).emit(Verdict("b", "clear"))
    torn, whole = path.read_text().splitlines()
    assert json.loads(whole)["request_id"] == "b"
    with pytest.raises(json.JSONDecodeError):
        json.loads(torn)


def test_a_folder_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ConfigError, match="is a folder; give the path of a file"):
        sink_at(tmp_path)


def observations(*ids, **more):
    return [Observation(Verdict(each, "clear"), 1, **more) for each in ids]


def ids_in(*paths):
    return [line["verdict"]["request_id"] for path in paths for line in lines_of(path)]


def aside(folder):
    return sorted(folder.glob("verdicts.0*.jsonl"))


def test_an_observation_is_a_line_that_is_read_back_as_it_was(tmp_path):
    path = tmp_path / "verdicts.jsonl"
    (bare,), (full,) = observations("a\n\u2028"), observations("b", prompt="p", drafts=("x", "y"), tenant="t")
    sink_at(path).deliver([bare, full])
    assert [Observation.from_dict(line) for line in lines_of(path)] == [bare, full]
    first, second = lines_of(path)
    assert first["time"].endswith("+00:00") and "prompt" not in first and second["prompt"] == "p"


def test_a_batch_is_one_write_and_one_sync(tmp_path, monkeypatch):
    path, calls = tmp_path / "verdicts.jsonl", []
    sink = sink_at(path)
    sink.deliver(observations("a"))
    for name in ("write", "fsync"):
        call = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *given, name=name, call=call: (calls.append(name), call(*given))[1])
    sink.deliver(observations("b", "c", "d"))
    assert calls == ["write", "fsync"] and ids_in(path) == list("abcd")


def test_what_is_not_json_costs_no_neighbour(tmp_path):
    bad = observations("\ud800")[0]
    with pytest.raises(SinkRejected, match="cannot be written as JSON") as caught:
        sink_at(tmp_path / "verdicts.jsonl").deliver([*observations("a"), bad, *observations("b")])
    assert caught.value.ids == {bad.id} and ids_in(tmp_path / "verdicts.jsonl") == ["a", "b"]


def test_a_large_file_is_put_aside_under_a_number_that_stays(tmp_path):
    path = tmp_path / "verdicts.jsonl"
    sink = sink_at(path, max_bytes=600)
    for each in "abcdefgh":
        sink.deliver(observations(each))
    files = [*aside(tmp_path), path]
    assert [file.name for file in files[:2]] == ["verdicts.000001.jsonl", "verdicts.000002.jsonl"]
    assert ids_in(*files) == list("abcdefgh") and all(file.stat().st_size <= 600 for file in files)
    # One that is larger has a file of its own.
    sink.deliver(observations("i", response=2000 * "x"))
    sink.deliver(observations("j"))
    assert ids_in(*aside(tmp_path), path) == list("abcdefghij") and ids_in(path) == ["j"]


def test_only_the_newest_files_are_kept(tmp_path):
    path = tmp_path / "verdicts.jsonl"
    (tmp_path / "verdicts.1.jsonl").write_text("not one of these")
    sink = sink_at(path, max_bytes=1, keep=2)
    for each in "abcde":
        sink.deliver(observations(each))
    assert ids_in(*aside(tmp_path), path) == ["c", "d", "e"] and (tmp_path / "verdicts.1.jsonl").exists()
    assert [file.name for file in aside(tmp_path)] == ["verdicts.000003.jsonl", "verdicts.000004.jsonl"]


def test_an_old_file_is_put_aside_also_by_the_next_process(tmp_path, monkeypatch):
    path = tmp_path / "verdicts.jsonl"
    sink_at(path, max_age_hours=24).emit(Verdict("a", "clear"))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 23 * 3600)
    sink_at(path, max_age_hours=24).emit(Verdict("b", "clear"))
    assert not aside(tmp_path)
    monkeypatch.setattr(time, "time", lambda: now + 25 * 3600)
    sink_at(path, max_age_hours=24).emit(Verdict("c", "clear"))
    assert [len(lines_of(file)) for file in [*aside(tmp_path), path]] == [2, 1]


def test_a_clock_that_is_set_back_puts_nothing_aside(tmp_path, monkeypatch):
    sink = sink_at(tmp_path / "verdicts.jsonl", max_age_hours=1)
    sink.emit(Verdict("a", "clear"))
    monkeypatch.setattr(time, "time", lambda: 0.0)
    sink.emit(Verdict("b", "clear"))
    assert not aside(tmp_path) and len(lines_of(tmp_path / "verdicts.jsonl")) == 2


def test_a_file_that_is_moved_or_deleted_between_two_batches_is_begun_anew(tmp_path):
    path = tmp_path / "verdicts.jsonl"
    sink = sink_at(path, max_bytes=10_000)
    for each in "abc":
        sink.deliver(observations(each))
        path.rename(tmp_path / "moved") if each == "a" else path.unlink() if each == "b" else None
    assert ids_in(tmp_path / "moved", path) == ["a", "c"]


def test_two_processes_rotate_one_file_without_losing_a_line(tmp_path):
    path, code = tmp_path / "verdicts.jsonl", (
        "import sys\n"
        "from pathlib import Path\n"
        "from sri_plugin_sinks.rotating import RotatingFile\n"
        "file = RotatingFile(Path(sys.argv[1]), max_bytes=200, max_age_s=None, keep=None)\n"
        "for number in range(300):\n"
        "    file.append(f'{sys.argv[2]}-{number}\\n'.encode())\n"
    )  # fmt: skip
    running = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "xy"]
    assert [each.wait(60) for each in running] == [0, 0]
    lines = [line for file in [*aside(tmp_path), path] for line in file.read_text().splitlines()]
    assert sorted(lines) == sorted(f"{name}-{number}" for name in "xy" for number in range(300))


def test_files_are_only_deleted_where_they_are_put_aside(tmp_path):
    with pytest.raises(ValueError, match="give max_bytes or max_age_hours as well"):
        sink_at(tmp_path / "verdicts.jsonl", keep=3)


def test_a_check_says_whether_the_file_could_be_written_and_makes_nothing(tmp_path):
    def check(path):
        return JsonlSink.check(JsonlSink.Config(path=path), 1.0)

    (tmp_path / "there.jsonl").touch()
    assert check(tmp_path / "there.jsonl").endswith("can be appended to")
    assert check(tmp_path / "new" / "lines.jsonl").endswith("can be made")
    for wrong in (tmp_path, tmp_path / "there.jsonl" / "lines.jsonl"):
        with pytest.raises(ConfigError, match="sink jsonl: path"):
            check(wrong)
    assert [each.name for each in tmp_path.iterdir()] == ["there.jsonl"]
