"""Who made a bundle: an Ed25519 signature over the bytes of its manifest, in a small text file beside it.

    sri-signature 1
    algorithm ed25519
    key 5f0c4a9b7d21e836
    signature <base64 of 64 bytes>

Four lines of ASCII, each ended by a line feed. `key` is the beginning of the SHA-256 of the 32 bytes of the public key:
it helps to find the right key, and must be that of the key that verifies. The manifest has the hash of every graph, so
one signature covers the whole bundle. Keys are PEM files as OpenSSL writes them (PKCS #8 and SubjectPublicKeyInfo), and

    openssl pkeyutl -verify -rawin -pubin -inkey key.pub -in manifest.json -sigfile <the 64 bytes>

checks the same signature (RFC 8032).
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sri_sdk.errors import BundleError, ConfigError, MissingExtra
from sri_sdk.files import sha256

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_FILE = re.compile(
    rb"sri-signature 1\nalgorithm ed25519\nkey ([0-9a-f]{16})\nsignature ([A-Za-z0-9+/]{86}==)\n",
)

KeyFile = str | PathLike[str] | bytes
"""Path of a PEM file, or its bytes."""


def new_keys() -> tuple[bytes, bytes]:
    """A new private key and its public key, as PEM.

    Raises:
        MissingExtra: cryptography is not installed.
    """
    form, ed25519 = _cryptography()
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    return private, public


def sign(manifest: bytes, private_key: KeyFile) -> bytes:
    """The signature file for the bytes of a manifest.

    Raises:
        ConfigError: not an Ed25519 private key.
        MissingExtra: cryptography is not installed.
    """
    key = _private(private_key)
    return (
        f"sri-signature 1\nalgorithm ed25519\nkey {_key_id(key.public_key())}\n"
        f"signature {b64encode(key.sign(manifest)).decode()}\n"
    ).encode()


def verify(manifest: bytes, signature: bytes, public_key: KeyFile, subject: str) -> str:
    """Checks a signature file, and returns the id of the key that made it.

    Args:
        manifest: the bytes that were signed.
        signature: content of the signature file.
        public_key: the key that must have made it.
        subject: the bundle; leads the message.

    Raises:
        BundleError: signed by somebody else, changed since, or not a signature.
        ConfigError: not an Ed25519 public key.
        MissingExtra: cryptography is not installed.
    """
    key = _public(public_key)
    from cryptography.exceptions import InvalidSignature

    signer = signer_of(signature, subject)
    found = _FILE.fullmatch(signature)
    assert found is not None
    wanted = _key_id(key)
    try:
        key.verify(b64decode(found[2]), manifest)
    except InvalidSignature as err:
        problem = f"key {signer} made it, the given key is {wanted}" if signer != wanted else "the manifest was changed"
        raise BundleError(
            f"{subject}: the signature does not verify ({problem}). Do not use this bundle. Get it again from a source "
            "you trust, or give the public key that belongs to the signature."
        ) from err
    if signer != wanted:
        raise BundleError(
            f"{subject}: the signature is of key {wanted}, but its file names key {signer}. Somebody changed the name; "
            "get the bundle again from a source you trust."
        )
    return wanted


def signer_of(signature: bytes, subject: str) -> str:
    """The key id that a signature file names. It is a hint: only `verify` proves anything.

    Raises:
        BundleError: not a signature file.
    """
    found = _FILE.fullmatch(signature)
    if found is None or b64encode(b64decode(found[2])) != found[2]:
        raise BundleError(f"{subject}: its signature is not of format `sri-signature 1`. Sign the bundle again.")
    return found[1].decode()


def key_id(public_key: KeyFile) -> str:
    """The 16 characters by which people tell keys apart.

    Raises:
        ConfigError: not an Ed25519 public key.
        MissingExtra: cryptography is not installed.
    """
    return _key_id(_public(public_key))


def _key_id(key: Ed25519PublicKey) -> str:
    return sha256(key.public_bytes_raw())[:16]


def _private(key: KeyFile) -> Ed25519PrivateKey:
    form, ed25519 = _cryptography()
    name, content = _pem(key, "private key")
    try:
        found = form.load_pem_private_key(content, password=None)
    except TypeError:
        raise ConfigError(f"{name}: protected by a passphrase. Decrypt it first, with `openssl pkey`.") from None
    except Exception:  # cryptography raises several types; none may carry the key into a message.
        found = None
    if not isinstance(found, ed25519.Ed25519PrivateKey):
        raise ConfigError(f"{name}: not an Ed25519 private key in PEM form. Make one with `sri bundle keygen`.")
    private: Ed25519PrivateKey = found
    return private


def _public(key: KeyFile) -> Ed25519PublicKey:
    form, ed25519 = _cryptography()
    name, content = _pem(key, "public key")
    try:
        found = form.load_pem_public_key(content)
    except Exception:
        found = None
    if not isinstance(found, ed25519.Ed25519PublicKey):
        raise ConfigError(
            f"{name}: not an Ed25519 public key in PEM form. `sri bundle keygen KEY` writes one to KEY.pub."
        )
    public: Ed25519PublicKey = found
    if _small_order(public.public_bytes_raw()):
        raise ConfigError(
            f"{name}: an Ed25519 public key of small order, with which anybody can sign. Get the right key, or make "
            "one with `sri bundle keygen`."
        )
    return public


_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P


def _small_order(raw: bytes) -> bool:
    """Whether eight times the point is the neutral element.

    With such a key, a signature that fits many messages can be made without a private key. Doubling needs only y:
    with u = y^2 and x^2 = (u - 1) / (d u + 1), the curve's formula gives the y of twice the point.
    """
    y = int.from_bytes(raw, "little") % 2**255 % _P
    for _ in range(3):
        u = y * y % _P
        x = (u - 1) * pow(_D * u + 1, -1, _P) % _P
        # Of twice the point: (y^2 + x^2) / (1 - d x^2 y^2).
        y = (u + x) * pow(1 - _D * x * u, -1, _P) % _P
    return y == 1


def _pem(key: KeyFile, what: str) -> tuple[str, bytes]:
    if isinstance(key, bytes):
        return what, key
    try:
        return str(key), Path(key).read_bytes()
    except OSError as err:
        raise ConfigError(f"{key}: the {what} cannot be read ({err.strerror}). Check the path.") from err


def _cryptography() -> tuple[Any, Any]:
    """Its modules `serialization` and `ed25519`."""
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as err:
        raise MissingExtra("Signing bundles and checking signatures", extra="sign") from err
    return serialization, ed25519
