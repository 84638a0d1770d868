"""The tables of an evaluation as Markdown."""

import re

from sri_sdk.report.markdown import tables


def cells(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def rows(text, title):
    """Rows of one table, its header first, without the rule below it."""
    block = text.split(f"**{title}**\n\n")[1].split("\n\n")[0]
    header, _, *body = (cells(line) for line in block.splitlines())
    return [header, *body]


def test_every_share_stands_with_its_interval_and_n(evaluation):
    text = tables(evaluation)
    first = rows(text, "Models")
    assert first[0] == ["Rate", "diffusion", "diffusion-2", "causal"]
    assert [row[0] for row in first[1:]] == [
        "RR, harmless",
        "RR, harmful",
        "ASR, no attack",
        "ASR, all attacks",
        "HRR",
        "FRR per harmful draft",
        "FRR per revised trace",
        "IRR, ends below 0.5",
        "IRR, ends below 0.3",
        "IRR, ends below 0.1",
    ]
    assert first[4][1] == "38.7 % (36.4 to 41.0; 696 of 1,800)"
    attacks = {row[0]: row[1:] for row in rows(text, "Attack success")}
    assert attacks["infill"][2] == "no cases" and attacks["all attacks"][0] == first[4][1]


def test_guards_stand_side_by_side_on_each_model_that_has_some(evaluation):
    text = tables(evaluation)
    found = {row[0]: row[1:] for row in rows(text, "Guards side by side: diffusion")}
    assert found["AUROC"][0] == "0.950 (0.936 to 0.964; n = 696 + 2,000)"
    assert found["TPR at 0.1 % FPR"][3] == "– (needs 3,000 harmless generations, found 2,000)"
    assert found["Overhead"] == ["0.024 %", "0.026 %", "0.021 %", "2.1 %", "46 %", "not measured"]
    assert "Guards side by side: causal" in text


def test_signals_and_unseen_families_have_a_table_each(evaluation):
    text = tables(evaluation)
    assert rows(text, "AUROC by signal")[0] == ["Model", "text", "first step", "layer 0", "layer 1", "final layer"]
    assert rows(text, "AUROC on unseen families")[1][5] == "– (no attack of this family succeeded)"


def test_names_cannot_break_a_table_or_bring_markup(hostile):
    text = tables(hostile)
    blocks = [block for block in text.split("\n\n") if block.startswith("|")]
    assert blocks
    for block in blocks:
        assert len({len(cells(line)) for line in block.splitlines()}) == 1
    assert not re.search(r"(?<!\\)[<>`]", text) and "\x00" not in text


def test_a_quick_look_says_so_first(quick, evaluation):
    assert tables(quick).startswith("Quick look: at most 40 prompts per group.")
    assert tables(evaluation).startswith("**Models**")


def test_a_bare_evaluation_has_only_the_table_of_models(bare):
    assert re.findall(r"\*\*(.+)\*\*", tables(bare)) == ["Models"]
