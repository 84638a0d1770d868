"""Bundles by name and version: load, replace, roll back, shadow, and what may be loaded at all."""

import asyncio
import threading

import numpy as np
import pytest

from sri_sdk.bundle.signature import new_keys
from sri_sdk.errors import BundleError
from sri_sdk.serve.http import Refusal
from sri_sdk.serve.settings import ServeSettings
from sri_sdk.serve.shelf import Shelf
from tests.serve.asgi import call, call_async
from tests.serve.oip_bodies import outputs_of, request_of

INFER = "/v2/models/sri_signal/infer"


def shelf_of(path, **more):
    shelf = Shelf(ServeSettings.model_validate({"bundles": {"sri": {"path": path, **more}}}).bundles)
    shelf.load_all()
    return shelf


def test_a_replaced_bundle_becomes_the_next_version_and_the_old_one_stays(place, fitted, other):
    shelf = shelf_of(place(fitted))
    held = shelf.model("sri_signal")
    place(other)
    assert shelf.load("sri").number == "2"
    assert shelf.model("sri_signal").digest == other.digest
    assert shelf.model("sri_signal", "1") is held and shelf.model("sri_signal", other.digest[:12]).version == "2"


def test_the_same_bundle_again_changes_nothing(place, fitted):
    shelf = shelf_of(place(fitted))
    before = shelf.live("sri")
    assert shelf.load("sri") is before


def test_a_rollback_leads_to_what_was_live_before(place, fitted, other):
    shelf = shelf_of(place(fitted))
    place(other)
    shelf.load("sri")
    assert shelf.roll_back("sri").number == "1" and shelf.model("sri_prefix").digest == fitted.digest
    with pytest.raises(Refusal, match="no version older"):
        shelf.roll_back("sri")
    assert shelf.load("sri").number == "2"
    assert shelf.roll_back("sri").number == "1"


def test_only_so_many_versions_stay(place, fitted, other):
    shelf = shelf_of(place(fitted), keep=1)
    place(other)
    shelf.load("sri")
    with pytest.raises(Refusal, match="not loaded"):
        shelf.model("sri_signal", "1")


def test_a_bundle_that_is_damaged_leaves_the_old_one_and_says_so(place, fitted):
    shelf = shelf_of(path := place(fitted))
    (path / "signal.onnx").write_bytes(b"damaged")
    with pytest.raises(BundleError):
        shelf.load("sri")
    assert shelf.model("sri_signal").digest == fitted.digest and "digest" in shelf.entries["sri"].problem
    assert shelf.reload().keys() == {"sri"}


def test_a_reload_undoes_neither_a_rollback_nor_an_unload(place, fitted, other):
    shelf = shelf_of(place(fitted))
    place(other)
    shelf.load("sri")
    shelf.roll_back("sri")
    assert shelf.reload() == {} and shelf.live("sri").digest == fitted.digest
    assert shelf.load("sri").digest == other.digest
    place(fitted)
    assert shelf.reload() == {} and shelf.live("sri").digest == fitted.digest
    shelf.unload("sri")
    assert shelf.reload() == {} and shelf.entries["sri"].live is None


def test_a_shadow_that_was_stopped_stays_so_through_loads_and_reloads(place, fitted, other):
    shelf = shelf_of(place(fitted), shadow={"path": other.path})
    shelf.set_shadow("sri", False)
    assert shelf.reload() == {} and shelf.entries["sri"].shadow is None
    shelf.load("sri")
    assert shelf.entries["sri"].shadow is None
    assert shelf.set_shadow("sri", True).digest == shelf.entries["sri"].shadow.digest == other.digest


def test_a_broken_shadow_costs_the_live_bundle_nothing_and_is_named(place, fitted, other, tmp_path, caplog, build):
    path = place(fitted)
    shelf = shelf_of(path, shadow={"path": tmp_path / "gone"})
    assert shelf.live("sri").digest == fitted.digest and shelf.entries["sri"].shadow is None
    assert "bundle sri: its shadow is not loaded" in caplog.text and str(tmp_path / "gone") in caplog.text
    place(other)
    assert shelf.reload().keys() == {"sri, shadow"} and shelf.live("sri").digest == other.digest
    (shown,) = call(
        build(bundles={"sri": {"path": path, "shadow": {"path": tmp_path / "gone"}}}).app, "GET", "/v1/bundles"
    ).json["bundles"]
    assert shown["problem"] is None and str(tmp_path / "gone") in shown["shadow_problem"]


def test_a_bundle_that_is_held_is_not_reloaded(place, fitted, other):
    shelf = shelf_of(place(fitted), hold=True)
    place(other)
    assert shelf.reload() == {} and shelf.live("sri").number == "1"


def test_trust_decides_what_may_be_loaded(place, fitted, other, tmp_path):
    shelf = shelf_of(place(fitted), trust={"digest": fitted.digest})
    place(other)
    with pytest.raises(BundleError, match="asked for"):
        shelf.load("sri")
    key = tmp_path / "key.pub"
    key.write_bytes(new_keys()[1])
    with pytest.raises(BundleError, match="not signed"):
        shelf_of(fitted.path, trust={"public_key": key})


def test_a_load_may_ask_for_a_digest(place, fitted, other):
    shelf = shelf_of(place(fitted))
    place(other)
    with pytest.raises(BundleError):
        shelf.load("sri", "0" * 64)
    assert shelf.load("sri", other.digest).digest == other.digest


# -- over HTTP -----------------------------------------------------------------------------------------------


def test_operators_load_roll_back_and_unload_over_http(build, place, fitted, other):
    app = build(bundles={"sri": {"path": place(fitted)}}).app
    place(other)
    assert call(app, "POST", "/v2/repository/models/sri_signal/load").json["digest"] == other.digest
    body = b'{"parameters": {"sri_digest": "%s"}}' % (b"0" * 64)
    refused = call(app, "POST", "/v2/repository/models/sri/load", body, [(b"content-length", b"%d" % len(body))])
    assert refused.status == 422
    assert call(app, "POST", "/v1/bundles/sri/rollback").json == {"version": "1", "digest": fitted.digest}
    (found,) = call(app, "GET", "/v1/bundles").json["bundles"]
    assert found["live"] == "1" and [each["version"] for each in found["versions"]] == ["1", "2"]
    assert call(app, "POST", "/v1/bundles/other/rollback").status == 404
    assert call(app, "POST", "/v2/repository/models/sri/unload").status == 200
    assert call(app, "POST", INFER, *request_of({"signals": np.ones((1, 32, 1), np.float32)})).status == 404
    ready = call(app, "GET", "/v2/health/ready")
    assert ready.status == 503 and ready.json["ready"] is False
    assert call(app, "POST", "/v2/repository/index").json[0]["state"] == "UNAVAILABLE"


def test_a_shadow_is_scored_and_counted_and_never_answers(build, fitted, other, scorer, make_signals):
    built = build(bundles={"sri": {"path": fitted.path, "shadow": {"path": other.path}}})
    rows = make_signals(200, 31, dip=0.5).sigma
    rows[0, 0] = np.nan
    found = call(built.app, "POST", INFER, *request_of({"signals": rows}))
    assert np.array_equal(outputs_of(found)["score"][:, 0], scorer.score_final(rows)[0])
    built.inference.shadows.settle()
    counts = built.inference.shadows.counts
    flagged = [s.alarms(s.score_final(rows), "final") for s in (scorer, type(scorer).open(other.path))]
    assert counts["sri", "only_shadow"] == (~flagged[0] & flagged[1]).sum() > 0
    assert counts["sri", "unscored"] == 1 and sum(counts.values()) == 200
    assert call(built.app, "POST", "/v1/bundles/sri/shadow", b'{"on": false}').json == {"shadow": None}
    call(built.app, "POST", INFER, *request_of({"signals": rows}))
    assert sum(counts.values()) == 200
    assert call(built.app, "POST", "/v1/bundles/sri/shadow", b'{"on": true}').json == {"shadow": other.digest}
    assert call(built.app, "POST", "/v1/bundles/sri/shadow", b'{"on": 1}').status == 400


def test_no_request_notices_that_bundles_are_swapped(build, place, fitted, other):
    """Twenty swaps under load: no error, and every answer is that of the bundle it names."""
    built = build(bundles={"sri": {"path": place(fitted)}})
    rows = np.random.default_rng(0).uniform(0.2, 0.9, (3, 32, 1)).astype(np.float32)
    expected = {
        b.digest: type(built.shelf.live("sri").scorer).open(b.path).score_final(rows)[0] for b in (fitted, other)
    }
    done = threading.Event()

    def swap():
        for number in range(20):
            place(other if number % 2 == 0 else fitted)
            built.shelf.load("sri")
        done.set()

    async def load():
        thread = threading.Thread(target=swap)
        thread.start()
        seen = set()
        while not done.is_set():
            got = await call_async(built.app, "POST", INFER, *request_of({"signals": rows}))
            assert got.status == 200
            digest = got.json["parameters"]["sri_bundle"]
            assert np.array_equal(outputs_of(got)["score"][:, 0], expected[digest])
            seen.add(digest)
            await asyncio.sleep(0)
        thread.join()
        return seen

    assert asyncio.run(load()) == expected.keys()


def test_a_shadow_that_fails_in_whatever_way_is_counted_and_tried_again(build, fitted, other, monkeypatch, caplog):
    built = build(bundles={"sri": {"path": fitted.path, "shadow": {"path": other.path}}})
    body = request_of({"signals": np.full((3, 32, 1), 0.5, np.float32)})
    with monkeypatch.context() as patched:
        shadow = built.shelf.shadow_of(built.shelf.model("sri_signal"))
        patched.setattr(type(shadow.scorer), "alarms", lambda *_: {}["what a user typed"])
        assert call(built.app, "POST", INFER, *body).status == 200
        built.inference.shadows.settle()
    assert built.inference.shadows.counts == {("sri", "failed"): 3} and "what a user typed" not in caplog.text
    assert call(built.app, "POST", INFER, *body).status == 200
    built.inference.shadows.settle()
    assert built.inference.shadows.counts["sri", "same"] + built.inference.shadows.counts["sri", "only_shadow"] == 3
