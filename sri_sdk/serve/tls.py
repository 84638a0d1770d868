"""Certificate and key of a server: tried before anything listens, so that a mistake names its file."""

from __future__ import annotations

import ssl
from pathlib import Path

from sri_sdk.errors import ConfigError
from sri_sdk.serve.settings import TlsSection


def check_tls(tls: TlsSection) -> None:
    """Tries the files of a section.

    Raises:
        ConfigError: one cannot be read, is no PEM file, or key and certificate do not belong together.
    """
    for name, path in (("certificate", tls.certificate), ("key", tls.key), ("client_ca", tls.client_ca)):
        if path is not None:
            _read(f"tls.{name}", path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An empty password: without one, a key that is encrypted would ask at the terminal.
        context.load_cert_chain(tls.certificate, tls.key, password=lambda: "")
    except (ssl.SSLError, ValueError) as err:
        raise ConfigError(
            f"tls: {tls.certificate} and {tls.key} cannot be used together ({_why(err)}). Give a certificate and its "
            "own private key, as PEM files without a password."
        ) from err
    try:
        if tls.client_ca is not None:
            context.load_verify_locations(tls.client_ca)
    except ssl.SSLError as err:
        raise ConfigError(f"tls.client_ca: {tls.client_ca} has no certificates. Give a PEM file with them.") from err


def _read(name: str, path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as err:
        raise ConfigError(
            f"{name}: {path} cannot be read ({err.strerror or err}). Give the path of a PEM file."
        ) from err


def _why(err: Exception) -> str:
    return str(getattr(err, "reason", None) or err)
