"""A certificate made on the spot, so that a phone on the same network gets https, and with it threads.

An authority of its own vouches for it (`authority.py`). A browser that does not know that one warns once, and
the fingerprint that is printed is what to compare.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gnomon.core.errors import MissingExtraError
from gnomon.web.addresses import Reachable
from gnomon.web.authority import CLOCKS_APART, Authority, authority_for, fingerprint_of
from gnomon.web.state import write_privately

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    raise MissingExtraError("cryptography", "mobile", "serving a page over https") from None

LIFETIME = timedelta(days=365)
"""Less than the 825 days that iOS accepts."""
RENEWED_BEFORE = timedelta(days=7)


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as files.

    Attributes:
        certificate: The certificate and that of its authority, PEM.
        key: Its private key, PEM.
        fingerprint: SHA-256 of the certificate as browsers show it, `AB:CD:…`.
        expires_at: When it ends.
        authority: The authority's certificate, DER: what a phone may be told to trust.
        authority_fingerprint: Of that one, the same way: it comes over a connection that nobody vouches for.
    """

    certificate: Path
    key: Path
    fingerprint: str
    expires_at: datetime
    authority: bytes
    authority_fingerprint: str


def certificate_for(reachable: Reachable, folder: Path, now: datetime | None = None) -> Certificate:
    """The certificate kept in `folder`, or a new one if it ends soon or lacks an address or name.

    Args:
        reachable: What it has to name.
        folder: Where certificate and key are kept.
        now: In place of the present.

    Raises:
        RunFolderError: The folder cannot be written.
    """
    now = now or datetime.now(UTC)
    files = folder / "certificate.pem", folder / "key.pem"
    authority = authority_for(reachable, folder, now)
    kept = _read(*files)
    if kept is None or not _serves(kept, authority, reachable, now):
        kept = _make(reachable, authority, *files, now)
    return Certificate(
        *files,
        fingerprint_of(kept),
        kept.not_valid_after_utc,
        authority.der,
        fingerprint_of(authority.certificate),
    )


def _read(certificate: Path, key: Path) -> x509.Certificate | None:
    """The certificate on disk; None if it, or its key, is missing or unreadable."""
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        secret = serialization.load_pem_private_key(key.read_bytes(), None)
    except (OSError, ValueError, TypeError):
        return None
    return found if secret.public_key() == found.public_key() else None


def _serves(
    certificate: x509.Certificate, authority: Authority, reachable: Reachable, now: datetime
) -> bool:
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    if (
        not certificate.not_valid_before_utc
        <= now
        < certificate.not_valid_after_utc - RENEWED_BEFORE
    ):
        return False
    try:
        named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return set(_alternatives(reachable)) <= set(named)


def _alternatives(reachable: Reachable) -> list[x509.GeneralName]:
    names = dict.fromkeys((*reachable.names, "localhost"))
    addresses = dict.fromkeys((*reachable.addresses, "127.0.0.1", "::1"))
    return [
        *(x509.DNSName(name) for name in names if name.isascii()),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses),
    ]


def _make(
    reachable: Reachable, authority: Authority, certificate: Path, key: Path, now: datetime
) -> x509.Certificate:
    secret = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gnomon mobile serve")])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.certificate.subject)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCKS_APART)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(_alternatives(reachable)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
        .sign(authority.key, hashes.SHA256())
    )
    write_privately(
        key,
        secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    write_privately(certificate, made.public_bytes(serialization.Encoding.PEM) + authority.pem)
    return made
