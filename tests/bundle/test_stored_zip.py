import io
import zipfile

import pytest

from sri_sdk.bundle.stored_zip import pack, unpack
from sri_sdk.errors import BundleError

FILES = {"manifest.json": b"{}", "signal.onnx": bytes(range(256)), "prefix.onnx": b""}


def by_zipfile(files, **options):
    """As another tool would write it."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", **options) as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content)
    return made.getvalue()


def test_what_is_packed_comes_out_again_and_the_order_of_files_does_not_show():
    content = pack(FILES)
    assert unpack(content, "x.zip") == FILES
    assert pack(dict(reversed(FILES.items()))) == content


def test_other_tools_read_it():
    with zipfile.ZipFile(io.BytesIO(pack(FILES))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == sorted(FILES)
        assert {name: archive.read(name) for name in FILES} == FILES
        for member in archive.infolist():
            assert (member.compress_type, member.date_time[:3]) == (zipfile.ZIP_STORED, (1980, 1, 1))
            assert member.external_attr >> 16 == 0o100644


def test_every_changed_byte_is_refused():
    whole = pack(FILES)
    for at in range(len(whole)):
        for flip in (0x01, 0x80):
            with pytest.raises(BundleError, match=r"x\.zip: not the zip of a bundle"):
                unpack(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :], "x.zip")


def test_every_cut_and_every_addition_is_refused():
    whole = pack(FILES)
    for end in range(len(whole)):
        with pytest.raises(BundleError):
            unpack(whole[:end], "x.zip")
    for more in (whole + b"\0", b"\0" + whole, whole + whole):
        with pytest.raises(BundleError):
            unpack(more, "x.zip")


def test_compressed_members_are_refused():
    with pytest.raises(BundleError, match=r"'signal\.onnx' is compressed"):
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("signal.onnx", bytes(10_000))
        unpack(made.getvalue(), "x.zip")


def test_a_name_that_is_there_twice_is_refused():
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = by_zipfile([("a", b"1"), ("a", b"2")])
    with pytest.raises(BundleError, match="header of member 'a'"):
        unpack(content, "x.zip")
    # Also with headers as ours.
    one = pack({"a": b"1"})
    local = one[: one.index(b"PK\x01\x02")]
    with pytest.raises(BundleError, match="'a' occurs twice"):
        unpack(local + one, "x.zip")


def test_members_out_of_order_are_refused():
    first, second = (pack({name: b""}).partition(b"PK\x01\x02")[0] for name in "ab")
    with pytest.raises(BundleError, match="'a' is out of order"):
        unpack(second + first, "x.zip")


def test_two_directories_are_refused():
    """A reader from the end sees one file, a reader from the front another."""
    good, evil = pack({"a": b"good"}), pack({"a": b"evil"})
    comment = evil
    for content in (good + evil, good[:-2] + len(comment).to_bytes(2, "little") + comment):
        with pytest.raises(BundleError, match="directory does not match its members"):
            unpack(content, "x.zip")


def test_a_directory_that_contradicts_the_members_is_refused():
    whole = pack({"a": b"content"})
    at = whole.index(b"PK\x01\x02") + 46
    with pytest.raises(BundleError, match="directory does not match"):
        unpack(whole[:at] + b"b" + whole[at + 1 :], "x.zip")


def test_a_zip_of_another_tool_says_how_to_make_one():
    with pytest.raises(BundleError, match=r"Make it with `sri bundle pack`"):
        unpack(by_zipfile(sorted(FILES.items())), "x.zip")


@pytest.mark.parametrize(
    "content", [b"", b"PK\x05\x06" + bytes(18), b"not a zip", b"PK\x03\x04", b"PK\x03\x04" + b"\xff" * 40]
)
def test_what_is_no_zip_is_refused(content):
    with pytest.raises(BundleError, match="not the zip of a bundle"):
        unpack(content, "x.zip")
