"""A score that is no finite number is never believed, whatever the graph says of it."""

import json

import pytest

from tests.runtimes.lying import LIES, lying_bundle, lying_signals


@pytest.mark.parametrize("rule", ["final", "online"])
def test_a_score_that_is_no_number_is_unmonitored_although_the_graph_calls_it_valid(program, lines, tmp_path, rule):
    ids, values = lying_signals(16)
    path = lines("sigma", ids, values[..., 0], None, None)
    done = program.run(lying_bundle(tmp_path / "bundle"), path, "--unverified", "--rule", rule)
    *lies, honest = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(v["status"], v["reasons"]) for v in lies] == [("unmonitored", ["score_not_finite"])] * len(LIES), done
    assert {v["score"] for v in lies} == {None} == {v["p_value"] for v in lies}
    assert honest["status"] in ("clear", "flagged") and not {"score_not_finite"} & set(honest["reasons"])
