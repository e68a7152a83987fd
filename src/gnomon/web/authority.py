"""A certificate authority for one folder of runs, that a phone may be told to trust.

A phone that trusts it shows no warning, and keeps the page for use offline. It can vouch for this machine's
own names and addresses alone, so that a stolen key could not pose as anybody else. On a network that gives
the machine another address there is a new authority, to be trusted anew.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from gnomon.core.errors import MissingExtraError
from gnomon.web.addresses import Reachable
from gnomon.web.state import write_privately

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    raise MissingExtraError("cryptography", "mobile", "serving a page over https") from None

LIFETIME = timedelta(days=2 * 365)
LOOPBACK = ("127.0.0.1", "::1")
CLOCKS_APART = timedelta(hours=24)
"""A phone's clock may be behind."""


@dataclass(frozen=True)
class Authority:
    """Who vouches for the server's certificate.

    Attributes:
        certificate: Its own certificate, which a phone may be told to trust.
        key: What it signs with.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        """The certificate as phones take it in."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The certificate as text."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def fingerprint_of(certificate: x509.Certificate) -> str:
    """SHA-256 of a certificate as browsers and phones show it, `AB:CD:…`."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def authority_for(reachable: Reachable, folder: Path, now: datetime) -> Authority:
    """The authority kept in `folder`, or a new one if it ends, is damaged or may not name this machine.

    Args:
        reachable: What its certificates have to name.
        folder: Where certificate and key are kept.
        now: The present.

    Raises:
        RunFolderError: The folder cannot be written.
    """
    files = folder / "authority.pem", folder / "authority-key.pem"
    kept = _read(*files)
    if kept is not None and _serves(kept.certificate, reachable, now):
        return kept
    made = _make(reachable, now)
    write_privately(files[0], made.pem)
    write_privately(
        files[1],
        made.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    return made


def _read(certificate: Path, key: Path) -> Authority | None:
    """The authority on disk; None if a file is missing or unreadable, or they do not belong together."""
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        secret = serialization.load_pem_private_key(key.read_bytes(), None)
    except (OSError, ValueError, TypeError):
        return None
    if not isinstance(secret, ec.EllipticCurvePrivateKey):
        return None
    return Authority(found, secret) if secret.public_key() == found.public_key() else None


def _serves(certificate: x509.Certificate, reachable: Reachable, now: datetime) -> bool:
    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
        return False
    try:
        limits = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return False
    return set(_permitted(reachable)) <= set(limits.permitted_subtrees or ())


def _permitted(reachable: Reachable) -> list[x509.GeneralName]:
    names = dict.fromkeys(("localhost", *(name for name in reachable.names if name.isascii())))
    addresses = dict.fromkeys((*LOOPBACK, *reachable.addresses))
    return [
        *(x509.DNSName(name) for name in names),
        *(x509.IPAddress(ipaddress.ip_network(address)) for address in addresses),
    ]


def _make(reachable: Reachable, now: datetime) -> Authority:
    secret = ec.generate_private_key(ec.SECP256R1())
    host = socket.gethostname()[:40]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Gnomon on {host}")])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(secret.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_APART)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        # Limits on names say nothing of mail, code or people: it vouches for servers alone.
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.NameConstraints(_permitted(reachable), None), critical=True)
        .sign(secret, hashes.SHA256())
    )
    return Authority(certificate, secret)
