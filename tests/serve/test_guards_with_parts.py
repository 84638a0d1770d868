"""Guards of format 2 through the server: parts, a request column, groups. It says what the scorer says."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from sri_sdk.bundle.bundle import MANIFEST
from sri_sdk.scoring.signal_text import signal_lines
from tests.scoring.parted import bundle, scorer_of, signals
from tests.serve.asgi import call
from tests.serve.oip_bodies import outputs_of, request_of
from tests.serve.verdicts.test_server import leave

COLUMNS = ("sri@0", "sri@final", "request")
PARTS = {"first": ("sri@0",), "last": ("sri@final",), "asked": ("request",)}
VERDICT = ("flagged", "p_value", "status")


@pytest.fixture(scope="module")
def parted(fitted):
    """A guard of three parts and two groups."""
    return bundle(fitted, PARTS, columns=COLUMNS, groups=("chat", "code"))


@pytest.fixture(scope="module")
def scorer(parted):
    return scorer_of(parted)


@pytest.fixture
def app(build, parted, tmp_path):
    folder = tmp_path / "guard"
    folder.mkdir()
    for name, content in {**parted.files, MANIFEST: parted.manifest.to_bytes()}.items():
        (folder / name).write_bytes(content)
    made = build(bundles={"sri": {"path": folder}}, store={"url": f"sqlite:///{tmp_path}/v.db"})
    yield made.app
    asyncio.run(leave(made.app))


@pytest.fixture(scope="module")
def rows():
    """Clear, alarming, without a request, out of range, and not finite."""
    found = signals(3, 8)
    sigma = found.sigma.copy()
    sigma[1, :, 0] = 0.1
    sigma[2, :, 2] = 0.1
    sigma[3, :, 2] = np.nan
    sigma[4, 3, 1] = np.nan
    sigma[5, 3, 1] = 7.0
    sigma[6] = np.nan
    return replace(found, sigma=sigma)


@pytest.mark.parametrize("group", [None, "chat", "code", "nobody's"])
@pytest.mark.parametrize("rule", ["final", "request", "online"])
@pytest.mark.parametrize("binary", [True, False])
def test_verdicts_over_the_protocol_are_the_scorers(app, scorer, rows, rule, group, binary):
    lengths = np.array([8, 8, 8, 8, 8, 8, 8, 2])
    given = replace(rows, lengths=lengths if rule == "online" else None, groups=group and (group,) * 8)
    expected = scorer.score(given, rule=rule, unverified=True)
    model = "sri_prefix" if rule == "online" else "sri_signal"
    inputs = {"signals": rows.sigma, **({"length": lengths} if rule == "online" else {})}
    said = {"sri_unverified": True, "sri_rule": rule, **({"sri_group": group} if group else {})}
    body, headers = request_of(inputs, VERDICT, binary_in=binary, binary_out=binary, parameters=said)
    got = call(app, "POST", f"/v2/models/{model}/infer", body, headers)
    assert got.status == 200, got.body
    found = outputs_of(got)
    assert list(found["status"]) == [each.status for each in expected]
    assert found["flagged"].ravel().tolist() == [each.status == "flagged" for each in expected]
    wanted = [np.nan if each.p_value is None else each.p_value for each in expected]
    np.testing.assert_array_equal(found["p_value"].ravel(), np.float32(wanted))
    assert {each.status for each in expected} >= {"clear", "flagged", "unmonitored"}


@pytest.mark.parametrize("rule", ["final", "request", "online"])
def test_posted_signals_are_judged_as_in_the_process(app, scorer, rows, rule):
    given = replace(rows, groups=("chat", "code", None, "other") * 2, lengths=np.array([8, 8, 8, 8, 8, 8, 8, 2]))
    expected = [each.to_dict() for each in scorer.score(given, rule=rule, unverified=True)]
    got = call(app, "POST", f"/v1/signals?bundle=sri&rule={rule}&unverified=true", signal_lines(given))
    assert got.status == 200 and got.json["verdicts"] == expected
    for each in expected:
        kept = call(app, "GET", f"/v1/verdicts/{each['request_id']}").json
        assert kept["verdict"] == each
