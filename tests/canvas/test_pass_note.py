"""Notes on forward passes: seen inside the pass, by its own thread only, and gone after it."""

import threading

import pytest

from sri_sdk.canvas import PassNote


def test_a_note_is_seen_inside_its_block_and_nowhere_else() -> None:
    note: PassNote[str] = PassNote("tests.note")
    with note.attached("outer"):
        with note.attached("inner"):
            assert note.current() == "inner"
        assert note.current() == "outer"
    assert note.current() is None


def test_a_pass_that_raises_leaves_no_note_behind() -> None:
    note: PassNote[int] = PassNote("tests.note")
    with pytest.raises(ValueError, match="broken"), note.attached(1):
        raise ValueError("broken")
    assert note.current() is None


def test_another_thread_does_not_see_it() -> None:
    note: PassNote[int] = PassNote("tests.note")
    seen: list[int | None] = []
    with note.attached(1):
        thread = threading.Thread(target=lambda: seen.append(note.current()))
        thread.start()
        thread.join()
    assert seen == [None]
