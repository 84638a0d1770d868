"""What strangers may put into a signals file: each is one ScoringError that names the file and the place."""

import io
import json
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sri_sdk.errors import ScoringError
from sri_sdk.scoring import signal_lines, signal_parts
from sri_sdk.scoring.signal_files import read_signals

GOOD = {"sigma": np.full((2, 3), 0.5, np.float32)}


def npy(array, **changed):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=False)
    return stream.getvalue()


def header(shape, dtype="<f4", content=b""):
    """An .npy that claims a shape."""
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


def npz(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members:
            archive.writestr(name, content if isinstance(content, bytes) else npy(np.asarray(content)))
    return path


def refused(path, *words):
    with pytest.raises(ScoringError) as caught:
        read_signals(path)
    message = str(caught.value)
    for word in (path.name, *words):
        assert word in message
    assert len(message) < 1200
    message.encode()  # And can be printed.


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"id": "b", "sigma": [0.1, 0.1], "sigma": [0.9, 0.9]}', "a key is written twice: 'sigma'"),
        (b'{"id": "b", "id": "c", "sigma": [0.9, 0.9]}', "written twice: 'id'"),
        (b'{"id": "b", "sigma": [0.9, 0.9], "length": 1, "length": 2}', "written twice: 'length'"),
        (b'{"id": "\\ud800", "sigma": [0.9, 0.9]}', "surrogate"),
        (b'{"id": "b\xff", "sigma": [0.9, 0.9]}', "not UTF-8"),
        (b'{"id": "b", "sigma": [0.9, 0.9], "length": 9223372036854775808}', "an integer beyond"),
        (b'{"id": "b", "sigma": [0.9, 0.9], "length": 1180591620717411303424}', "an integer beyond"),
        (b'{"id": "b", "sigma": [0.9, 0.9], "length": 3}', "from 0 to 2"),
        (b'{"id": "b", "sigma": [0.9, 0.9], "length": -1}', "from 0 to 2"),
        (b'{"id": "b", "sigma": [0.9, 0.9], "length": true}', "length is True"),
        (b'{"id": "b", "sigma": [0.9, 0.9], "length": 2.0}', "length is 2.0"),
        (b'{"id": "b", "sigma": [0.9, 0.9], "length": null}', "length is None"),
        (b'{"id": "b", "sigma": [0.9, 1e999]}', "no float64 holds"),
        (b'{"id": "b", "sigma": [0.9, "0.9"]}', "not a list of T numbers"),
        (b'{"id": "b", "sigma": {"0": 0.9}}', "not a list of T numbers"),
        (b'{"id": "b", "sigma": [[0.9, [1]], [1, 2]]}', "not a list of T numbers"),
        (b'{"id": "b", "sigma": [[], []]}', "shape [2, 0]"),
        (b"[" * 100_000, "more than 64 levels"),
        (b'{"id": ' + b"[" * 100_000 + b"]" * 100_000 + b', "sigma": [1, 1]}', "more than 64 levels"),
        (b'{"id": "' + b"x" * 5000 + b'", "sigma": [1, 1]}', "5000 characters"),
        (b'\xef\xbb\xbf{"id": "b", "sigma": [0.9, 0.9]}', "not JSON"),
    ],
)
def test_a_line_that_readers_would_disagree_on_is_refused_by_number(tmp_path, line, words):
    path = tmp_path / "s.jsonl"
    path.write_bytes(b'{"id": "a", "sigma": [0.5, 0.5]}\n' + line + b"\n")
    refused(path, "line 2", words)


@pytest.mark.parametrize("fingerprint", ["[]", '"x"', "1", "{}", '{"hard": {}, "soft": []}', '{"hard": null}'])
def test_a_fingerprint_that_is_none_is_refused_in_lines_and_in_npz(tmp_path, fingerprint):
    head = f'{{"sri_signals": 1, "fingerprint": {fingerprint}}}'
    (tmp_path / "s.jsonl").write_text(head + '\n{"id": "a", "sigma": [0.5]}\n')
    refused(tmp_path / "s.jsonl", "line 1", "fingerprint")
    refused(npz(tmp_path / "s.npz", [*arrays(), ("head.npy", np.frombuffer(head.encode(), np.uint8))]), "fingerprint")


@pytest.mark.parametrize("version", ["2", "true", "1.0", "null", '"1"'])
def test_only_format_1_is_read(tmp_path, version):
    head = f'{{"sri_signals": {version}}}'
    (tmp_path / "s.jsonl").write_text(head + '\n{"id": "a", "sigma": [0.5]}\n')
    refused(tmp_path / "s.jsonl", "signals format")
    refused(npz(tmp_path / "s.npz", [*arrays(), ("head.npy", np.frombuffer(head.encode(), np.uint8))]), "format")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"3", b'"x"', b"{", b'{"sri_signals": 1, "other": 1}', b"\xff", b"[" * 9999]
)
def test_a_head_that_is_no_object_is_refused(tmp_path, content):
    refused(npz(tmp_path / "s.npz", [*arrays(), ("head.npy", np.frombuffer(content, np.uint8))]), "head")


def arrays():
    return [(f"{name}.npy", array) for name, array in GOOD.items()]


def test_what_is_in_an_archive_twice_is_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        npz(tmp_path / "twice.npz", [*arrays(), *arrays()])
    refused(tmp_path / "twice.npz", "sigma twice")
    refused(npz(tmp_path / "beside.npz", [*arrays(), ("sigma", np.zeros((2, 3)))]), "sigma twice")


def test_a_member_with_a_misspelt_name_is_not_ignored(tmp_path):
    refused(npz(tmp_path / "s.npz", [*arrays(), ("length.npy", np.array([1, 1]))]), "length.npy")


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("lengths", np.array([1.0, 2.9])),
        ("lengths", np.array([1, 2], complex)),
        ("lengths", np.array(2)),
        ("lengths", np.array([[1, 2]])),
        ("lengths", np.array([1, 4])),
        ("lengths", np.array([-1, 1])),
        ("lengths", np.array([1, 2**63], np.uint64)),
        ("lengths", np.array(["1", "2"])),
        ("lengths", np.array([True, True])),
        ("lengths", np.array([1, 2, 3])),
        ("ids", np.array("ab")),
        ("ids", np.array([["a", "b"]])),
        ("ids", np.array([b"a", b"b"])),
        ("ids", np.array([1.0, 2.0])),
        ("ids", np.array(["a", "\ud800"])),
        ("ids", np.array([0x41, 0x110000], "<u4").view("<U1")),
        ("ids", np.array([], "<U1")),
        ("logit", np.zeros((2, 3), complex)),
        ("logit", np.zeros((2, 4))),
        ("logit", np.zeros(3)),
        ("logit", np.zeros((2, 3), bool)),
        ("logit", np.zeros((2, 3), "M8[s]")),
        ("head", np.array("{}")),
        ("head", np.array(1)),
    ],
)
def test_an_array_of_another_kind_is_refused_and_never_cast(tmp_path, name, array):
    refused(npz(tmp_path / "s.npz", [*arrays(), (f"{name}.npy", array)]))


HUGE = [
    (80_000_000, 32, 1),
    (10**30, 32, 1),
    (0, 10**30),
    (-1, 3),
    (2, 3, 1, 1),
    (True, 3),
    (10**30, 0, 1),
    (5 * 10**6, 1),
]


@pytest.mark.parametrize("shape", HUGE)
@pytest.mark.parametrize("name", ["s.npz", "s.npy"])
def test_a_header_that_promises_too_much_costs_nothing(tmp_path, shape, name):
    content = header(shape)
    if name == "s.npy":
        (tmp_path / name).write_bytes(content)
    else:
        npz(tmp_path / name, [("sigma.npy", content)])
    tracemalloc.start()
    refused(tmp_path / name)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("dtype", ["<f4", "<U1000000000", "|V1000000", "O", "<f4,<f4", "|S9", "x"])
def test_a_header_with_any_dtype_is_refused_where_its_bytes_are_missing(tmp_path, dtype):
    refused(npz(tmp_path / "s.npz", [*arrays(), ("ids.npy", header((2,), dtype))]))


def test_millions_of_rows_that_compress_well_are_refused_at_once(tmp_path):
    content = header((5_000_000, 8), content=bytes(160_000_000))
    npz(tmp_path / "s.npz", [("sigma.npy", content)], compression=zipfile.ZIP_DEFLATED)
    begun = time.perf_counter()
    refused(tmp_path / "s.npz", "5,000,000 generations", "Split the file")
    assert time.perf_counter() - begun < 2


def test_the_limits_hold_for_lines_too(tmp_path, monkeypatch):
    path = tmp_path / "s.jsonl"
    for where, name, value in [
        (signal_parts, "MOST_ROWS", 5), (signal_parts, "MOST_CELLS", 10), (signal_lines, "MOST_BYTES", 100),
        (signal_lines, "LONGEST_LINE", 20), (signal_lines, "MOST_ROWS", 5),
    ]:  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(where, name, value)
            path.write_text("".join(f'{{"id": "{i}", "sigma": [0.5, 0.5]}}\n' for i in range(9)))
            refused(path, "allowed")
            path.write_text("\n" * 200)
            if name != "LONGEST_LINE" and where is signal_lines:
                refused(path, "allowed")


def test_members_that_are_encrypted_or_packed_otherwise_are_refused(tmp_path):
    path = npz(tmp_path / "s.npz", arrays())
    content = path.read_bytes()
    entry = content.index(b"PK\x01\x02")
    for offset, value, words in [(8, 1, "encrypted"), (10, 99, "method 99"), (10, 14, "method 14")]:
        changed = bytearray(content)
        changed[entry + offset] = value
        path.write_bytes(changed)
        refused(path, words)


def test_a_closed_or_broken_standard_input_is_an_error_of_the_user(monkeypatch):
    closed = io.StringIO()
    closed.close()
    for stream in (None, closed, io.TextIOWrapper(io.BytesIO(b"\xe9\n")), io.StringIO("\udce9")):
        monkeypatch.setattr("sys.stdin", stream)
        with pytest.raises(ScoringError, match="standard input"):
            read_signals("-")


@pytest.mark.parametrize("head", [True, False])
def test_a_byte_order_mark_is_skipped(tmp_path, monkeypatch, head):
    content = (b'{"sri_signals": 1}\r\n' if head else b"") + b'{"id": "a", "sigma": [0.5]}\r\n'
    (tmp_path / "s.jsonl").write_bytes(b"\xef\xbb\xbf" + content)
    assert read_signals(tmp_path / "s.jsonl").ids == ("a",)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbf" + content)))
    assert read_signals("-").ids == ("a",)
    (tmp_path / "s.jsonl").write_bytes(content.decode().encode("utf-16"))
    refused(tmp_path / "s.jsonl", "UTF-8")


def test_a_line_of_a_million_cells_and_ten_thousand_lines_are_quick(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text(json.dumps({"id": "a", "sigma": [[0.5] * 1000] * 1000}))
    assert read_signals(path).sigma.shape == (1, 1000, 1000)
    path.write_text("".join(json.dumps({"id": str(i), "sigma": [0.5] * 32}) + "\n" for i in range(10_000)))
    assert read_signals(path).sigma.shape == (10_000, 32, 1)


def test_arrays_of_any_number_type_and_order_give_what_numpy_would(tmp_path):
    values = np.arange(12).reshape(2, 3, 2) / 16
    for array in (values, values.astype(np.float16), values.astype(">f8"), np.asfortranarray(values)):
        np.save(tmp_path / "s.npy", array)
        assert np.array_equal(read_signals(tmp_path / "s.npy").sigma, values.astype(np.float32))
        np.savez_compressed(tmp_path / "s.npz", sigma=array, ids=np.array([7, 8]), lengths=np.array([0, 3], np.uint8))
        again = read_signals(tmp_path / "s.npz")
        assert (again.ids, again.lengths.tolist()) == (("7", "8"), [0, 3])
        assert np.array_equal(again.sigma, values.astype(np.float32))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["id", "sigma", "logit", "length", "sri_signals", "fingerprint", "x"]), JSON),
    st.binary(max_size=30),
    st.integers(0, 200),
)
def test_any_line_gives_signals_or_one_error(tmp_path_factory, value, noise, at):
    path = tmp_path_factory.mktemp("any") / "s.jsonl"
    line = json.dumps(value).encode()
    for content in (line, line[:at] + noise + line[at:]):
        path.write_bytes(b'{"id": "a", "sigma": [0.5, 0.5]}\n' + content)
        try:
            read = read_signals(path)
        except ScoringError as err:
            assert "s.jsonl" in str(err)
        else:
            assert len(read.ids) == len(read.sigma) == len(read.lengths)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_damage_to_an_archive_gives_signals_or_one_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "s.npz"
    head = np.frombuffer(b'{"sri_signals":1}', np.uint8)
    save = np.savez_compressed if data.draw(st.booleans()) else np.savez
    save(path, **GOOD, ids=np.array(["a", "b"]), lengths=np.array([1, 2]), head=head)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    try:
        read_signals(path)
    except ScoringError as err:
        assert "s.npz" in str(err)
