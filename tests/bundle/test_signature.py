import re
import subprocess
from base64 import b64decode
from shutil import which

import pytest

from sri_sdk.bundle.bundle import Bundle
from sri_sdk.bundle.files import put_file
from sri_sdk.bundle.signature import key_id, new_keys, sign, signer_of, verify
from sri_sdk.errors import BundleError, ConfigError, MissingExtra

pytest.importorskip("cryptography")
MANIFEST = b'{"made": "up"}\n'


@pytest.fixture(scope="module")
def keys():
    return new_keys()


def test_a_signature_verifies_and_names_its_key(keys):
    private, public = keys
    content = sign(MANIFEST, private)
    assert verify(MANIFEST, content, public, "x") == signer_of(content, "x") == key_id(public)
    assert re.fullmatch(rb"sri-signature 1\nalgorithm ed25519\nkey [0-9a-f]{16}\nsignature [\w+/]{86}==\n", content)


def test_the_same_manifest_and_key_give_the_same_signature(keys):
    assert sign(MANIFEST, keys[0]) == sign(MANIFEST, keys[0])


def test_a_changed_manifest_and_another_key_are_told_apart(keys):
    content = sign(MANIFEST, keys[0])
    with pytest.raises(BundleError, match=r"x: the signature does not verify \(the manifest was changed"):
        verify(MANIFEST + b" ", content, keys[1], "x")
    with pytest.raises(BundleError, match=f"key {key_id(keys[1])} made it, the given key is"):
        verify(MANIFEST, content, new_keys()[1], "x")


def test_every_changed_byte_of_a_signature_is_refused(keys):
    content = sign(MANIFEST, keys[0])
    for at in range(len(content)):
        for flip in (0x01, 0x02, 0x80):
            changed = content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :]
            with pytest.raises(BundleError):
                verify(MANIFEST, changed, keys[1], "x")


def test_a_signature_of_the_right_key_under_the_name_of_another_is_refused(keys):
    content = sign(MANIFEST, keys[0])
    forged = content.replace(key_id(keys[1]).encode(), b"0123456789abcdef")
    with pytest.raises(BundleError, match=f"is of key {key_id(keys[1])}, but its file names key 0123456789abcdef"):
        verify(MANIFEST, forged, keys[1], "x")


P = 2**255 - 19
EIGHTH = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
"""y of a point of order eight."""


@pytest.mark.parametrize("y", [0, 1, P - 1, P, P + 1, EIGHTH, P - EIGHTH])
@pytest.mark.parametrize("sign_bit", [0, 1])
def test_keys_of_small_order_are_refused(y, sign_bit):
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ed25519

    raw = (y | sign_bit << 255).to_bytes(32, "little")
    pem = ed25519.Ed25519PublicKey.from_public_bytes(raw).public_bytes(
        form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo
    )
    with pytest.raises(ConfigError, match="small order"):
        key_id(pem)


@pytest.mark.parametrize(
    "change", [bytes.upper, lambda c: c + b"\n", lambda c: c.replace(b"\n", b"\r\n"), lambda c: b""]
)
def test_only_one_form_of_the_file_is_read(keys, change):
    with pytest.raises(BundleError, match="not of format `sri-signature 1`"):
        verify(MANIFEST, change(sign(MANIFEST, keys[0])), keys[1], "x")


def test_wrong_keys_say_so_and_never_show_what_is_in_them(keys, tmp_path):
    private, public = keys
    (tmp_path / "k").write_bytes(private)
    secret = private.splitlines()[1].decode()
    for wrong in (
        lambda: sign(MANIFEST, public),
        lambda: sign(MANIFEST, b"x"),
        lambda: sign(MANIFEST, tmp_path / "no"),
    ):
        with pytest.raises(ConfigError, match="private key"):
            wrong()
    with pytest.raises(ConfigError, match="not an Ed25519 public key") as caught:
        verify(MANIFEST, sign(MANIFEST, private), tmp_path / "k", "x")
    assert secret not in str(caught.value)


def test_keys_of_another_kind_are_refused(keys):
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    other = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(ConfigError, match="not an Ed25519 public key"):
        verify(
            MANIFEST, sign(MANIFEST, keys[0]),
            other.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo), "x",
        )  # fmt: skip
    locked = ed25519.Ed25519PrivateKey.generate().private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"word")
    )
    with pytest.raises(ConfigError, match="passphrase"):
        sign(MANIFEST, locked)


@pytest.mark.skipif(which("openssl") is None, reason="needs openssl")
def test_openssl_checks_the_same_signature(keys, tmp_path):
    content = sign(MANIFEST, keys[0])
    for name, data in [
        ("manifest.json", MANIFEST), ("key.pub", keys[1]),
        ("raw.sig", b64decode(content.splitlines()[3].split(b" ")[1])),
    ]:  # fmt: skip
        (tmp_path / name).write_bytes(data)
    command = "openssl pkeyutl -verify -rawin -pubin -inkey key.pub -in manifest.json -sigfile raw.sig".split()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (tmp_path / "manifest.json").write_bytes(MANIFEST + b" ")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode


def test_without_the_package_the_cure_is_named(monkeypatch, keys):
    monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives.asymmetric", None)
    with pytest.raises(MissingExtra, match=r"sri-sdk\[sign\]"):
        sign(MANIFEST, keys[0])


# -- bundles ---------------------------------------------------------------------------------------------------


@pytest.fixture
def signed(guard_copy, keys):
    folder = guard_copy / "bundle"
    put_file(folder, "manifest.sig", sign((folder / "manifest.json").read_bytes(), keys[0]))
    return folder


def test_a_signed_bundle_says_who_signed_it_only_where_that_was_checked(signed, keys):
    assert Bundle.read(signed).signed_by is None
    assert Bundle.read(signed, public_key=keys[1]).signed_by == key_id(keys[1])


def test_a_bundle_that_should_be_signed_must_be(guard_copy, keys):
    with pytest.raises(BundleError, match=r"not signed \(manifest\.sig is missing\)"):
        Bundle.read(guard_copy / "bundle", public_key=keys[1])


def test_a_bundle_of_somebody_else_is_refused_before_its_manifest_is_parsed(signed, keys):
    (signed / "manifest.json").write_bytes(b"[" * 100_000)
    with pytest.raises(BundleError, match="signature does not verify"):
        Bundle.read(signed, public_key=keys[1])
    with pytest.raises(BundleError, match="not the bundle with digest"):
        Bundle.read(signed, digest="0" * 64)


def test_a_pinned_digest_must_be_the_bundles_own(fitted):
    assert Bundle.read(fitted.path, digest=f" {fitted.digest.upper()}\n").digest == fitted.digest
    with pytest.raises(BundleError, match="not the bundle with digest abab"):
        Bundle.read(fitted.path, digest="ab" * 32)
    with pytest.raises(ConfigError, match="not a SHA-256 in hex"):
        Bundle.read(fitted.path, digest=fitted.digest[:12])
    # A digest that the manifest merely mentions is not its own.
    mentioned = fitted.manifest.anchors.sha256
    with pytest.raises(BundleError, match="not the bundle with digest"):
        Bundle.read(fitted.path, digest=mentioned)


def test_a_second_signature_of_other_tools_is_left_alone(signed, keys):
    put_file(signed, "model.sig", b'{"any": "thing"}')
    assert Bundle.read(signed, public_key=keys[1]).files.keys() == {"signal.onnx", "prefix.onnx"}
