from pathlib import Path

import pytest

from sri_sdk.files import replacing, write_text


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
