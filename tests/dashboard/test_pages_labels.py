"""Labels, and the queue of what waits for them."""

import re

import pytest

from sri_sdk.observation import Observation
from sri_sdk.records import Verdict
from tests.dashboard.conftest import ACME
from tests.dashboard.looks import observation, seen
from tests.dashboard.make_believe import NASTY, NOW_MS


def test_a_label_is_stored_under_the_name_of_the_token(browse, fresh, tokens):
    fresh.observe([observation("a" * 32, audited=True, audit_rate=0.5)])
    from tests.dashboard.conftest import WRITER

    browser = browse(fresh, tokens)
    assert browser.log_in(WRITER).headers[b"location"] == b"/audit"
    got = browser.post(f"/verdicts/{'a' * 32}/label", b"label=attack&note=seen+it", hx_request=b"true")
    assert got.status == 200 and b"seen it" in got.body
    (entry,) = fresh.labels()
    assert (entry.label, entry.by, entry.note) == ("attack", "walt", "seen it")
    assert fresh.audit_counts(0, NOW_MS)[0].attack == 1
    got = browser.post(f"/verdicts/{'a' * 32}/label", b"label=benign&from=queue")
    assert got.status == 303 and got.headers[b"location"] == b"/audit#queue"
    assert fresh.observation("a" * 32).label == "benign"


@pytest.mark.parametrize(
    "body, status", [(b"label=odd", 400), (b"", 400), (b"label=benign&note=" + b"x" * 70_000, 413)]
)
def test_a_wrong_label_changes_nothing(browse, fresh, body, status):
    fresh.observe([observation("a" * 32)])
    assert browse(fresh).post(f"/verdicts/{'a' * 32}/label", body).status == status
    assert not fresh.labels()


@pytest.mark.parametrize("in_page", [True, False], ids=["in-the-page", "by-a-form"])
def test_the_queue_stays_with_its_deployment_after_a_label(fresh, browse, in_page):
    fresh.observe([
        Observation(Verdict(f"r{i}", "clear"), NOW_MS, audit_rate=0.1, audited=True, deployment=name)
        for i, name in enumerate(("one&only", "one&only", "other"))
    ])  # fmt: skip
    browser = browse(fresh)
    page = browser.page("/audit?deployment=one%26only")
    assert 'name="deployment" value="one&amp;only"' in page
    (id, *_) = re.findall(r'<li class="panel" id="q(\w+)"', page)
    sent = b"from=queue&label=benign&deployment=one%26only"
    got = browser.post(f"/verdicts/{id}/label", sent, **({"hx_request": b"true"} if in_page else {}))
    if not in_page:
        assert got.headers[b"location"] == b"/audit?deployment=one%26only#queue"
        got = browser.get("/audit?deployment=one%26only")
    assert len(re.findall(r'class="panel" id="q\w+"', got.body.decode())) == 1 and b">r2<" not in got.body
    assert b"newest first" not in got.body


def waiting(number, **more):
    return observation(f"{number:032x}", audited=True, audit_rate=0.5, deployment="chat", **more)


def test_the_queue_shows_what_was_asked_where_texts_are_stored(fresh, browse):
    fresh.observe([waiting(1, prompt=f"How do I {NASTY}?", response="Sure. Whisk it.", tenant="acme")])
    page = browse(fresh).page("/audit")
    queue = page.partition('id="queue-box"')[2]
    assert "What was asked and answered" in queue and "Sure. Whisk it." in queue and "look requests up" not in queue
    assert "<script>document" not in queue and "&lt;script&gt;" in queue
    details = re.findall(r"<details class=\"texts\"[^>]*>", queue)
    assert details == ['<details class="texts">'], "folded: nobody reads over a shoulder what was not opened"


def test_the_queue_says_that_texts_are_not_stored(fresh, browse):
    fresh.observe([waiting(1)])
    text = seen(browse(fresh).page("/audit"))
    assert "No texts are stored here" in text and "What was asked" not in text


def test_a_token_sees_texts_of_its_tenant_in_the_queue_and_no_others(fresh, browse, tokens):
    fresh.observe(
        [waiting(1, prompt="acme's own", tenant="acme"), waiting(2, prompt="somebody else's", tenant="globex")]
    )
    browser = browse(fresh, tokens)
    browser.log_in(ACME)
    queue = browser.page("/audit")
    assert "acme&#39;s own" in queue and "somebody else" not in queue
