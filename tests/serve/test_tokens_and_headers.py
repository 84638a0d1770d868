"""What a token may not do, and headers that say two things."""

import pytest

from sri_sdk.errors import ConfigError
from sri_sdk.serve.tokens import LARGEST_FILE, read_tokens
from tests.serve.asgi import call

LONG = "0123456789abcdef"


@pytest.fixture
def tokens(tmp_path):
    def write(text):
        path = tmp_path / "tokens.txt"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    "text",
    [
        f"a:{LONG} read tenant=x\nb:{LONG} read\n",
        f"a:{LONG} read tenant=x tenant=y\n",
        f"a:{LONG} read tenant={'x' * 129}\n",
        f"a:{LONG} read\n" + "#" * LARGEST_FILE,
    ],
    ids=["the same token twice", "two tenants", "a tenant nobody may have", "a file that is cut off"],
)
def test_a_file_of_tokens_that_may_be_read_in_two_ways_is_refused(tokens, text):
    with pytest.raises(ConfigError):
        read_tokens(tokens(text))


@pytest.mark.parametrize(
    "name", [b"authorization", b"x-api-key", b"inference-header-content-length", b"content-length"]
)
def test_a_header_that_decides_something_is_taken_once(app, name):
    got = call(app, "POST", "/v2/models/sri_signal/infer", b"{}", [(name, b"1"), (name, b"2")])
    assert got.status == 400 and "twice" in got.json["error"]


@pytest.mark.parametrize(
    "path",
    ["/v2/repository/models/sri/unload", "/v2/repository/models/sri/load", "/v1/bundles/sri/rollback",
     "/v1/bundles/sri/shadow"],
)  # fmt: skip
def test_a_tenants_token_does_not_change_what_everybody_is_served(build, tokens, path):
    app = build(tokens=tokens(f"acme:{LONG} admin tenant=acme\n")).app
    got = call(app, "POST", path, b'{"on": true}', [(b"authorization", b"Bearer " + LONG.encode())])
    assert got.status == 403 and "tenant" in got.json["error"]


@pytest.mark.parametrize("content, problem", [(None, "No such file"), (b"a:\xff123456789abcdef", "not ASCII")])
def test_a_file_of_tokens_that_cannot_be_read_says_why(tmp_path, content, problem):
    path = tmp_path / "tokens"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=problem):
        read_tokens(path)
