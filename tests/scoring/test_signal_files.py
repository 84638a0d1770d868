import io
import json
from dataclasses import replace

import numpy as np
import pytest

from sri_sdk.errors import ScoringError
from sri_sdk.scoring.signal_files import read_signals, write_signals


def lines(path, *objects):
    path.write_text("".join(f"{x if isinstance(x, str) else json.dumps(x)}\n" for x in objects))
    return path


def test_npz_gives_back_what_was_written_bit_for_bit(tmp_path, make_signals):
    signals = replace(make_signals(3, 1), lengths=np.array([1, 2, 32]))
    write_signals(tmp_path / "s.npz", signals)
    again = read_signals(tmp_path / "s.npz")
    assert (again.ids, again.fingerprint) == (signals.ids, signals.fingerprint)
    for name in ("sigma", "logit", "lengths"):
        assert getattr(again, name).tobytes() == getattr(signals, name).tobytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fingerprint": {"hard": {"seed": 2**53}, "soft": {}}}, "fingerprint.hard.seed"),
        ({"fingerprint": {"hard": {"x": float("nan")}, "soft": {}}}, "fingerprint.hard.x"),
        ({"ids": ("a", "b\0", "c")}, "row 1: the id 'b\\x00' contains a NUL"),
        ({"ids": ("a", "b", "\ud800")}, "row 2"),
        ({"ids": ("a" * 1025, "b", "c")}, "row 0: the id has 1025 characters"),
    ],
)  # fmt: skip
def test_signals_that_would_not_be_read_back_are_not_written(tmp_path, make_signals, change, said):
    with pytest.raises(ScoringError) as caught:
        write_signals(tmp_path / "s.npz", replace(make_signals(3, 1), **change))
    assert said in str(caught.value) and not (tmp_path / "s.npz").exists()


def test_npz_without_fingerprint_or_lengths_says_so(tmp_path, make_signals):
    write_signals(tmp_path / "s.npz", replace(make_signals(3, 1), fingerprint=None))
    again = read_signals(tmp_path / "s.npz")
    assert again.fingerprint is None is again.lengths


def test_npy_is_in_the_domain_of_the_bundle(tmp_path):
    np.save(tmp_path / "s.npy", np.array([[0.0, 2.0]]))
    assert read_signals(tmp_path / "s.npy", "logit").sigma[0, 0, 0] == 0.5
    assert read_signals(tmp_path / "s.npy", "sigma").sigma.shape == (1, 2, 1)


def test_pickles_are_never_opened(tmp_path):
    np.save(tmp_path / "s.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(ScoringError, match="cannot be read as signals"):
        read_signals(tmp_path / "s.npy")


def test_json_lines_carry_head_lengths_null_and_nan(tmp_path):
    head = {"sri_signals": 1, "fingerprint": {"hard": {}, "soft": {}}}
    rows = {"id": "a", "sigma": [0.5, None], "length": 1}, "", '{"id": "b", "sigma": [NaN, 1]}'
    read = read_signals(lines(tmp_path / "s.jsonl", head, *rows))
    assert read.ids == ("a", "b")
    assert read.fingerprint == head["fingerprint"]
    assert read.lengths.tolist() == [1, 2]
    assert np.isnan(read.sigma[:, :, 0]).tolist() == [[False, True], [True, False]]


def test_a_list_per_cell_is_one_number_per_layer(tmp_path):
    read = read_signals(lines(tmp_path / "s.jsonl", {"id": "a", "logit": [[0, 1], [2, 3], [4, 5]]}))
    assert read.logit[0].tolist() == [[0, 1], [2, 3], [4, 5]]


def test_standard_input_is_a_file_of_json_lines(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO('{"id": "a", "sigma": [0.5]}\n'))
    assert read_signals("-").ids == ("a",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{oops", "not JSON"),
        ("[1]", "a list, not an object"),
        ({"id": "b"}, "`sigma` or `logit`"),
        ({"id": 1, "sigma": [1, 1]}, "text `id`"),
        ({"id": "b", "sigma": [1, 1], "sigmoid": 1}, "sigmoid"),
        ({"id": "b", "logit": [1, 1]}, "the same in every line"),
        ({"id": "b", "sigma": ["x", 1]}, "not a list of T numbers"),
        ({"id": "b", "sigma": [[1], [1, 2]]}, "not a list of T numbers"),
        ({"id": "b", "sigma": [1, True]}, "not a list of T numbers"),
        ({"id": "b", "sigma": [10**400, 1]}, "an integer beyond"),
        ({"id": "b", "sigma": []}, "shape"),
        ({"id": "b", "sigma": [1, 1, 1]}, r"\[3, 1\], the lines before have \[2, 1\]"),
        ({"id": "b", "sigma": [1, 1], "length": 1.5}, "length is 1.5"),
        ({"sri_signals": 1}, "first line only"),
    ],
)
def test_a_bad_line_is_named_by_file_and_number(tmp_path, line, message):
    path = lines(tmp_path / "s.jsonl", {"id": "a", "sigma": [0.5, 0.5]}, line)
    with pytest.raises(ScoringError, match=rf"s\.jsonl, line 2.*{message}"):
        read_signals(path)


def test_a_logit_is_made_from_sigma_only_where_there_is_one(tmp_path):
    path = lines(tmp_path / "s.jsonl", {"id": "a", "sigma": [0.5, 0.9]}, {"id": "b", "sigma": [1.0, 0.9]})
    assert read_signals(path).logit[0, 1, 0] == pytest.approx(np.log(9))
    with pytest.raises(ScoringError, match="sigma of 'b' is 1 at cell 0"):
        read_signals(path, "logit")


@pytest.mark.parametrize("name", ["nothing.npz", "nothing.txt"])
def test_a_missing_or_unknown_file_says_what_is_allowed(tmp_path, name):
    with pytest.raises(ScoringError, match=name):
        read_signals(tmp_path / name)


def test_empty_and_inconsistent_files_are_refused(tmp_path):
    with pytest.raises(ScoringError, match="no signals"):
        read_signals(lines(tmp_path / "s.jsonl"))
    np.savez(tmp_path / "s.npz", sigma=np.zeros((2, 3)), ids=np.array(["a"]))
    with pytest.raises(ScoringError, match="ids has"):
        read_signals(tmp_path / "s.npz")


def test_signals_are_written_under_a_name_that_readers_know(tmp_path, make_signals):
    signals = make_signals(3, 1)
    write_signals(str(tmp_path / "s.npz"), signals)
    assert np.array_equal(read_signals(tmp_path / "s.npz").sigma, signals.sigma)
    with pytest.raises(ScoringError, match=r"written as \.npz or \.jsonl\. Name the file s\.npz"):
        write_signals(tmp_path / "s.json", signals)
    assert not (tmp_path / "s.json").exists()


def test_signals_written_as_json_lines_are_read_back(tmp_path, make_signals):
    signals = make_signals(3, 1)
    write_signals(tmp_path / "s.jsonl", signals)
    again = read_signals(tmp_path / "s.jsonl")
    assert again.ids == signals.ids and np.array_equal(again.sigma, signals.sigma)
    assert again.fingerprint == signals.fingerprint
