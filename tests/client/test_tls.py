"""Over TLS the client talks to whom it trusts, and to nobody else."""

import datetime
import ipaddress
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sri_sdk.records import Verdict
from tests.client.stub import Stub


@pytest.fixture
def certificate(tmp_path):
    """A file with a certificate for 127.0.0.1, signed by itself, and its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stub")])
    now, address = datetime.datetime.now(datetime.UTC), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path / "certificate.pem"
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
def secure(certificate):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    found = Stub(tls=tls)
    yield found
    found.stop()


def test_a_server_whose_certificate_is_trusted_gets_verdicts(secure, certificate, client_of):
    client = client_of(url=secure.url, ca_file=certificate, token="make-believe-token")
    client.emit(Verdict("r1", "clear"))
    assert client.flush(20) and client.lookup("r1", budget_s=20).status == "clear"
    assert secure.requests[0][2]["authorization"] == "Bearer make-believe-token"


def test_a_server_whose_certificate_is_not_trusted_gets_nothing(secure, client_of, caplog):
    client = client_of(url=secure.url, close_s=0.1, token="make-believe-token")
    client.emit(Verdict("r1", "clear"))
    assert client.lookup("r1", budget_s=20).reasons == ("scorer_unavailable",)
    assert not secure.requests and "its certificate is not trusted" in caplog.text
