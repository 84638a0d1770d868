"""Who gets in, and what another site cannot do in their name."""

import pytest

from tests.dashboard.conftest import ACME, READER, WRITER
from tests.dashboard.looks import observation

LABEL = f"/verdicts/{'a' * 32}/label"


@pytest.mark.parametrize("path", ["/", "/verdicts?status=flagged", "/live/rows"])
def test_a_stranger_is_led_to_the_login(browse, store, tokens, path):
    got = browse(store, tokens).get(path)
    assert got.status == 303 and got.headers[b"location"].startswith(b"/login") and not got.body
    got = browse(store, tokens).get(path, hx_request=b"true")
    assert got.status == 401 and got.headers[b"hx-redirect"] == b"/login"


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites_and_is_not_the_token(browse, store, tokens):
    browser = browse(store, tokens)
    got = browser.log_in(READER)
    cookie = got.headers[b"set-cookie"].decode().lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and "secure" not in cookie
    assert READER not in cookie
    assert (
        "secure"
        in browser.post("/login", b"token=" + READER.encode(), x_forwarded_proto=b"https")
        .headers[b"set-cookie"]
        .decode()
        .lower()
    )
    assert browser.get("/").status == 200


def test_logging_out_ends_the_session_for_whoever_has_its_cookie(browse, store, tokens):
    browser = browse(store, tokens)
    browser.log_in(READER)
    stolen = browser.cookie
    assert browser.post("/logout", b"").status == 303
    browser.cookie = stolen
    assert browser.get("/").status == 303


def test_a_wrong_token_is_refused_and_not_repeated(browse, store, tokens):
    got = browse(store, tokens).log_in("x" * 20)
    assert got.status == 401 and b"missing or unknown" in got.body and b"x" * 20 not in got.body
    assert b"set-cookie" not in got.headers


def test_a_token_taken_out_of_the_file_ends_its_sessions(browse, store, tokens, tmp_path):
    browser = browse(store, tokens)
    browser.log_in(READER)
    (tmp_path / "tokens").write_text(f"walt:{WRITER} read write\n")
    tokens.reload(force=True)
    assert browser.get("/").status == 303


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", ""])
def test_the_login_leads_to_no_other_site(browse, store, tokens, target):
    got = browse(store, tokens).post("/login", f"token={READER}&next={target}".encode())
    assert got.status == 303 and got.headers[b"location"] == b"/"


def test_programs_may_send_their_token_in_a_header(browse, store, tokens):
    browser = browse(store, tokens)
    assert browser.get("/verdicts", authorization=b"Bearer " + READER.encode()).status == 200
    assert browser.get("/verdicts", authorization=b"Bearer " + b"x" * 20).status == 401


def test_who_may_only_read_labels_nothing(browse, fresh, tokens):
    fresh.observe([observation("a" * 32, audited=True, audit_rate=1.0)])
    browser = browse(fresh, tokens)
    browser.log_in(READER)
    assert b"may read only" in browser.get(f"/verdicts/{'a' * 32}").body
    assert browser.post(LABEL, b"label=benign").status == 403 and not fresh.labels()


@pytest.mark.parametrize(
    "headers",
    [{"origin": b"https://evil.example", "sec_fetch_site": b"cross-site"}, {"origin": b"null"},
     {"sec_fetch_site": b"same-site"}, {"origin": b"http://127.0.0.1:9999"}],
    ids=["cross-site", "sandbox", "same-site", "other-port"],
)  # fmt: skip
def test_another_site_labels_nothing_in_somebodys_name(browse, fresh, headers):
    fresh.observe([observation("a" * 32)])
    assert browse(fresh).post(LABEL, b"label=benign", **headers).status == 403
    assert not fresh.labels()


def test_without_tokens_it_answers_under_its_own_names_only(browse, store):
    browser = browse(store, hosts={"127.0.0.1", "localhost"})
    assert browser.get("/", host=b"localhost:8200").status == 200
    for host in (b"evil.example:8200", b"", b"127.0.0.1.evil.example"):
        assert browser.get("/", host=host).status == 421


def test_a_tenant_sees_its_own_and_no_sums_of_all(browse, fresh, tokens):
    fresh.observe([observation("a" * 32, tenant="acme"), observation("b" * 32, tenant="globex")])
    browser = browse(fresh, tokens)
    browser.log_in(ACME)
    page = browser.page("/verdicts?tenant=globex")
    assert "a" * 32 in page and "b" * 32 not in page
    assert browser.get(f"/verdicts/{'b' * 32}").status == 404
    assert browser.post(f"/verdicts/{'b' * 32}/label", b"label=benign").status == 404 and not fresh.labels()
    for path in ("/", "/now", "/health", "/audit/promises"):
        got = browser.get(path)
        assert got.status == 403 and b"globex" not in got.body, path
    assert browser.get("/audit").status == 200 and browser.get("/live").status == 200
    assert browser.post(LABEL, b"label=benign").status == 303
    assert fresh.observation("a" * 32).label == "benign"


def test_headers_sent_twice_are_refused(browse, store):
    from tests.serve.asgi import call

    app = browse(store).app
    sent = [(b"host", b"127.0.0.1"), (b"authorization", b"Bearer x"), (b"authorization", b"Bearer y")]
    assert call(app, "GET", "/", b"", sent).status == 400


def test_files_are_served_to_everybody_and_kept_for_good(browse, store, tokens):
    got = browse(store, tokens).get("/static/vendor/htmx.min.js")
    assert got.status == 200 and b"immutable" in got.headers[b"cache-control"]
    assert got.headers[b"content-type"].startswith(b"text/javascript")
    assert browse(store, tokens).get("/static/vendor/NOTICE").status == 404
