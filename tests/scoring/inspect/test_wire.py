"""The static inspector, byte by byte: damaged files, and mistakes of its own."""

import struct

import numpy as np
import pytest
from onnx import helper
from sri_plugin_toy.detector import ToyDetector

from sri_sdk.bundle.guard_graphs import signal_graph
from sri_sdk.errors import BundleError
from sri_sdk.scoring.inspect import inspector
from sri_sdk.scoring.inspect.inspector import inspect
from tests.scoring.crafted import forest, plain
from tests.scoring.inspect.evil import varint


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "ir_version is missing"),
        (b"\x08", "model.ir_version runs beyond the end"),
        (b"\x08\x88\x00", "longer than it needs to be"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "beyond 64 bits"),
        (b"\x08" + b"\xff" * 9 + b"\x02", "beyond 64 bits"),
        (b"\x0a\x00", "model.ir_version has the wrong wire type, 2"),
        (b"\x88\x00\x08", "longer than it needs to be"),
        (b"\x3a\x05\x0a", "model.graph runs beyond the end"),
        (b"\x3b", "model.graph has the wrong wire type, 3"),
        (b"ORTM" + bytes(60), "which ONNX does not know"),
        (b"PK\x03\x04", "model has a field 10"),
    ],
)
def test_bytes_that_are_not_a_message_are_refused(content, reason):
    with pytest.raises(BundleError) as caught:
        inspect(content, "some.onnx")
    assert reason in str(caught.value)


def test_a_message_is_never_read_beyond_its_end():
    whole = plain().SerializeToString()
    for end in range(len(whole)):
        with pytest.raises(BundleError):
            inspect(whole[:end], "cut.onnx")
    with pytest.raises(BundleError):
        inspect(whole + b"\x00", "longer.onnx")


@pytest.mark.parametrize("tier", ["portable", "python"])
def test_a_changed_byte_is_refused_or_harmless_and_never_an_error_of_another_kind(tier):
    detector = ToyDetector().fit(np.random.default_rng(0).uniform(size=(9, 4, 1)).astype(np.float32))
    from sri_exporter_onnx.exporter import OnnxExporter

    for whole in (OnnxExporter().compile(signal_graph(detector, 4, 1)), forest().SerializeToString()):
        refused = 0
        for at in range(len(whole)):
            for flip in (0x01, 0x80):
                try:
                    inspect(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :], "changed.onnx", None, tier)
                except BundleError:
                    refused += 1
        assert refused > len(whole)


def test_a_mistake_of_the_inspector_itself_is_a_refusal(monkeypatch):
    def broken(*_):
        raise TypeError("a gap")

    monkeypatch.setattr(inspector, "read", broken)
    with pytest.raises(BundleError, match=r"not a readable ONNX file \(TypeError\)"):
        inspect(plain().SerializeToString(), "some.onnx")


def test_a_file_of_many_empty_parts_is_refused_before_they_are_counted():
    with pytest.raises(BundleError, match=r"graph\.node occurs more often than allowed, 4096"):
        graph = b"\x0a\x00" * 100_000
        inspect(b"\x08\x08\x3a" + bytes(varint(len(graph))) + graph, "some.onnx")


def test_numbers_of_a_forest_are_read_exactly():
    from sri_sdk.scoring.inspect.onnx_messages import ATTRIBUTE
    from sri_sdk.scoring.inspect.wire import floats, ints, read

    values = [0, 1, 127, 128, 300, 2**31, 2**62, -1, -(2**63), 64, 8256]
    content = helper.make_attribute("x", values).SerializeToString()
    assert ints(content, read(content, (0, len(content)), ATTRIBUTE).spans("ints")).tolist() == values
    numbers = [0.5, -1e30, 3.0]
    content = helper.make_attribute("x", numbers).SerializeToString()
    found = floats(content, read(content, (0, len(content)), ATTRIBUTE).spans("floats"))
    assert found.tobytes() == struct.pack("<3f", *numbers)
