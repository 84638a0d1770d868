import errno
from pathlib import Path
from typing import Any

import pytest

from sri_sdk.files import claimed, replacing, writable_folder, write_text


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError), replacing(target) as made:
        made.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with replacing(tmp_path / "folder") as made:
            made.mkdir()
            (made / content).write_text(content)
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["new"]


def test_when_the_last_rename_fails_the_old_folder_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").write_text("old")

    def full(self: Path, other: Path) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"), replacing(target) as made:
        made.mkdir()
        monkeypatch.setattr(Path, "replace", full)
    assert [p.name for p in target.iterdir()] == ["old"] and list(tmp_path.iterdir()) == [target]


def test_a_claim_is_waited_for_on_the_file_that_others_will_ask_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever ends removes the file of its claim, which somebody else may wait for by then."""
    fcntl = pytest.importorskip("fcntl")
    target, lock, flock = tmp_path / "made", tmp_path / ".made.lock", fcntl.flock
    ended = list[Path]()

    def while_another_one_ends(stream: Any, how: int) -> None:
        if not ended:
            ended.append(lock)
            lock.unlink()
        flock(stream, how)

    monkeypatch.setattr(fcntl, "flock", while_another_one_ends)
    with claimed(target, wait=True) as ours, claimed(target) as also:
        assert ended and ours and not also
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writable_folder(tmp_path / "a" / "b")
    assert not list((tmp_path / "a" / "b").iterdir())

    def full(**_: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system", "a name that nobody gave")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(OSError, match="Read-only") as met:
        writable_folder(tmp_path / "a")
    assert met.value.filename == str(tmp_path / "a")
