"""The sink `jsonl`: whole lines, whatever happens to the file."""

import json
import os

import pytest
from sri_plugin_sinks.jsonl import JsonlSink

from sri_sdk.errors import ConfigError
from sri_sdk.records import Verdict
from sri_sdk.testing import sink_checks


def sink_at(path):
    return JsonlSink(JsonlSink.Config(path=path))


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


def test_a_line_cut_in_two_spoils_no_other(tmp_path, monkeypatch):
    path, write = tmp_path / "verdicts.jsonl", os.write
    sink = sink_at(path)
    monkeypatch.setattr(os, "write", lambda handle, line: write(handle, line[:10]))
    sink.emit(Verdict("a", "clear"))
    monkeypatch.undo()
    sink.emit(Verdict("b", "clear"))
    torn, *whole = path.read_text().splitlines()
    assert [json.loads(line)["request_id"] for line in whole] == ["a", "b"]
    with pytest.raises(json.JSONDecodeError):
        json.loads(torn)


def test_a_folder_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ConfigError, match="is a folder; give the path of a file"):
        sink_at(tmp_path)
