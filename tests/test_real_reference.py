"""Beside the reference implementation: the page shows the kept numbers, and other code than the expected is refused."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.real import reference, reference_code, reference_compare, reference_prompts, reference_tables
from sri_sdk.errors import ConfigError
from sri_sdk.files import save_arrays
from sri_sdk.signal import sri
from sri_sdk.strict_json import parse, write

ROOT = Path(__file__).parents[1]
KEPT = parse((ROOT / "benchmarks/real/reference.json").read_bytes())
PAGE = (ROOT / "benchmarks/real/reference.md").read_text(encoding="utf-8")


def test_every_table_of_the_page_is_made_of_the_kept_numbers() -> None:
    assert reference_tables.with_tables(PAGE, KEPT) == PAGE
    changed = KEPT | {"rounds": KEPT["rounds"] + 1}
    assert reference_tables.with_tables(PAGE, changed) != PAGE


def test_the_page_says_so_of_a_run_that_was_short_or_on_a_busy_machine() -> None:
    calm = KEPT | {"rounds": 5, "load": [0.1, 1.1], "cores": 2}
    assert not any("first look" in line for line in reference_tables.run_line(calm))
    for more in ({"rounds": 4}, {"load": [0.1, 6.0]}):
        assert any("first look" in line for line in reference_tables.run_line(calm | more))


def test_the_kept_run_is_of_the_commit_that_is_checked_and_had_equal_tokens() -> None:
    assert KEPT["reference"]["commit"] == reference_code.COMMIT
    assert KEPT["outcomes"]["judged_differently"] == 0
    assert all(not row["prompts_different"] for row in KEPT["tokens"].values())


def test_a_folder_that_is_missing_is_refused_with_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"no such folder.*git clone .*{reference_code.COMMIT}"):
        reference_code.check(tmp_path / "nothing")


def test_other_code_is_refused_file_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_bytes(b"x = 1\n")
    (tmp_path / "b.py").write_bytes(b"x = 2\n")
    right = hashlib.sha256(b"x = 1\n").hexdigest()
    monkeypatch.setattr(reference_code, "FILES", {"a.py": right})
    reference_code.check(tmp_path)
    monkeypatch.setattr(reference_code, "FILES", {"a.py": right, "b.py": right, "c.py": right})
    with pytest.raises(ConfigError, match=r"b\.py has SHA-256 .*, expected .*; c\.py is missing"):
        reference_code.check(tmp_path)


def test_the_command_needs_code_a_model_and_sizes_before_it_runs_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match="--code is missing"):
        reference.main(["--model", str(tmp_path)])
    monkeypatch.setattr(reference_code, "FILES", {})
    with pytest.raises(SystemExit, match=r"no model there.*make real-model"):
        reference.main(["--code", str(tmp_path), "--model", str(tmp_path)])
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SystemExit, match="4 to 24 prompts of a class"):
        reference.main(["--code", str(tmp_path), "--model", str(tmp_path), "--each", "3"])
    with pytest.raises(SystemExit, match="no whole run there"):
        reference.main(["--kept", "--work", str(tmp_path)])


def test_the_prompts_are_24_of_each_kind_and_a_round_goes_on_where_the_last_one_stopped() -> None:
    kinds = [reference_prompts.prompts("harmless"), reference_prompts.prompts("harmful"), reference_prompts.between()]
    assert all(len({p.text for p in kind}) == 24 for kind in kinds)
    rounds = [reference_prompts.of_round(number, 8)[0] for number in range(3)]
    assert len({p.id for each in rounds for p in each}) == 48


def made_up(seed: int = 0) -> dict[str, np.ndarray]:
    """What a side writes: two prompts of a class and one in between, four steps of width eight."""
    random = np.random.default_rng(seed)
    phi = random.normal(size=(5, 4, 8)).astype(np.float32)
    anchors = random.normal(size=(2, 4, 8)).astype(np.float32)
    sigma = sri(phi[:, :, None], anchors[0][:, None], anchors[1][:, None]).sigma[..., 0]
    return {
        "cost": np.array([4.0, 2.0**21]), "encoded": np.ones((5, 3), dtype=np.int64),
        "tokens": np.ones((5, 4), dtype=np.int64), "phi": phi, "refused": np.array([False, False, True, True]),
        "anchors": anchors, "sigma": sigma, "sigma_of_anchors": np.ones((2, 4)), "sigma_alone": np.ones((4, 4)),
    }  # fmt: skip


def test_equal_sides_differ_in_nothing_and_every_planted_difference_is_found() -> None:
    same = {way: made_up() for way in reference_compare.WAYS}
    found = reference_compare.numbers([same])
    assert found["states"]["alone"] == {"largest": 0.0, "largest_share": 0.0, "states": 20}
    assert found["signals"]["alone"]["largest"] == 0.0
    assert found["errors"]["reference"]["largest"] < 5e-6

    other = made_up()
    other["cost"] = np.array([1.0, 2.0**20])
    other["phi"][1, 2, 3] += 0.5
    other["sigma"][0, 0] += 0.25
    other["tokens"][4, 1:] = -1
    other["encoded"] = np.ones((5, 4), dtype=np.int64)
    theirs = made_up()
    theirs["sigma_of_anchors"][1, :3] = np.nan
    found = reference_compare.numbers([{"reference": theirs, "alone": other, "batch": made_up()}])
    assert found["states"]["alone"]["largest"] == pytest.approx(0.5, rel=1e-3)
    assert found["states"]["alone"]["states"] == 16  # the one with other tokens has no reason to agree
    assert found["signals"]["alone"]["largest"] == pytest.approx(0.25, rel=1e-3)
    assert found["tokens"]["alone"]["responses_different"] == 1
    assert found["tokens"]["alone"]["prompts_different"] == 5
    assert found["ratios"]["alone"]["cpu"]["median"] == 4.0
    assert found["ratios"]["alone"]["peak"]["median"] == 2.0
    assert found["nan"]["anchors"]["reference"] == {"signals": 2, "steps": 8, "nan": 3, "fewest": 0, "most": 3}
    assert found["nan"]["anchors"]["alone"]["nan"] == 0


def test_a_run_takes_turns_and_what_it_left_gives_numbers_and_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[str] = []

    def side(way: str, *, into: Path, **_: object) -> None:
        turns.append(way)
        save_arrays(into, made_up())

    monkeypatch.setattr(reference, "_side", side)
    monkeypatch.setattr(reference, "NUMBERS", tmp_path / "numbers.json")
    monkeypatch.setattr(reference, "PAGE", tmp_path / "page.md")
    (tmp_path / "page.md").write_text(PAGE)
    config = {"architectures": ["Made"], "num_hidden_layers": 2, "hidden_size": 8}
    (tmp_path / "config.json").write_text(write(config))
    work = tmp_path / "work"
    reference.race(tmp_path, tmp_path, work, rounds=4, each=2)
    assert [sorted(turns[at : at + 3]) for at in range(0, 12, 3)] == [sorted(reference_compare.WAYS)] * 4
    assert len({tuple(turns[at : at + 3]) for at in range(0, 12, 3)}) > 1

    reference.main(["--kept", "--work", str(work)])
    kept = parse((tmp_path / "numbers.json").read_bytes())
    assert (kept["rounds"], kept["ratios"]["batch"]["cpu"]["n"]) == (4, 4)
    assert "4 rounds of 2 harmless" in (tmp_path / "page.md").read_text()


def test_rounds_that_were_judged_differently_are_counted_and_left_out() -> None:
    other = made_up()
    other["refused"] = np.array([True, False, True, True])
    found = reference_compare.numbers([{"reference": made_up(), "alone": other, "batch": made_up()}])
    assert (found["outcomes"]["judged_differently"], found["outcomes"]["rounds_judged_alike"]) == (1, 0)
    assert found["signals"]["alone"]["values"] == 0


def test_nothing_but_numbers_and_names_of_what_was_run_is_kept() -> None:
    texts = set(re.findall(r'": "([^"]*)"', (ROOT / "benchmarks/real/reference.json").read_text(encoding="utf-8")))
    known = {reference_code.REPOSITORY, reference_code.COMMIT, *KEPT["versions"].values()}
    assert texts <= known
