"""The certificate: names what the server is reached under, is kept, made anew when it no longer serves."""

import hashlib
import ssl
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from gnomon.web import addresses
from gnomon.web.addresses import Reachable, is_loopback, reachable_under
from gnomon.web.authority import authority_for
from gnomon.web.certificate import LIFETIME, Certificate, _make, certificate_for

NOW = datetime(2027, 3, 1, tzinfo=UTC)
AT_HOME = Reachable(("192.168.1.5",), ("192.168.1.5",), ("laptop", "laptop.local"))


def named_in(certificate):
    """Addresses and names of a certificate."""
    read = x509.load_pem_x509_certificate(certificate.certificate.read_bytes())
    found = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {
        *(str(address) for address in found.get_values_for_type(x509.IPAddress)),
        *found.get_values_for_type(x509.DNSName),
    }


def test_it_names_every_address_and_name_and_python_can_serve_with_it(tmp_path):
    made = certificate_for(AT_HOME, tmp_path)
    assert named_in(made) == {
        *("192.168.1.5", "127.0.0.1", "::1"),
        *("laptop", "laptop.local", "localhost"),
    }
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    read = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    digest = hashlib.sha256(read.public_bytes(Encoding.DER)).hexdigest()
    assert made.fingerprint.replace(":", "").lower() == digest
    authority = hashlib.sha256(made.authority).hexdigest()
    assert made.authority_fingerprint.replace(":", "").lower() == authority
    assert read.not_valid_after_utc - read.not_valid_before_utc < timedelta(days=825)


def shaken_hands(server, trusted, host):
    """Whether a client that trusts this authority alone accepts the server under this name, in memory."""
    context = ssl.create_default_context(cadata=trusted)
    accepting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    accepting.load_cert_chain(server.certificate, server.key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname=host)
    answering = accepting.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for end in (client, answering):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
    return True


def test_whoever_trusts_the_authority_accepts_the_server_and_goes_on_doing_so(tmp_path):
    made = certificate_for(AT_HOME, tmp_path)
    assert shaken_hands(made, made.authority, "192.168.1.5")
    assert shaken_hands(made, made.authority, "laptop.local")
    assert not shaken_hands(made, made.authority, "192.168.1.6")
    (tmp_path / "certificate.pem").unlink()
    renewed = certificate_for(AT_HOME, tmp_path)
    assert renewed.fingerprint != made.fingerprint
    assert shaken_hands(renewed, made.authority, "192.168.1.5")


def test_the_authority_cannot_vouch_for_others(tmp_path):
    made = certificate_for(AT_HOME, tmp_path)
    moved = certificate_for(Reachable(("10.0.0.7",), ("10.0.0.7",), AT_HOME.names), tmp_path)
    assert moved.authority != made.authority  # the kept one may not name it
    now = datetime.now(UTC)
    (tmp_path / "other").mkdir()
    authority = authority_for(AT_HOME, tmp_path / "other", now)
    files = tmp_path / "bank.pem", tmp_path / "bank-key.pem"
    bank = Reachable(("bank.example",), (), ("bank.example",))
    _make(bank, authority, *files, now)
    forged = Certificate(*files, "", now, authority.der, "")
    assert not shaken_hands(forged, authority.der, "bank.example")


def test_only_its_owner_can_read_the_files(tmp_path):
    made = certificate_for(AT_HOME, tmp_path)
    assert made.key in set(tmp_path.iterdir())
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_it_is_kept_while_it_serves(tmp_path):
    first = certificate_for(AT_HOME, tmp_path, NOW)
    fewer = Reachable(AT_HOME.hosts, AT_HOME.addresses, ())
    assert certificate_for(AT_HOME, tmp_path, NOW + timedelta(days=300)) == first
    assert certificate_for(fewer, tmp_path, NOW) == first


def test_it_is_made_anew_when_an_address_is_new_when_it_ends_and_when_it_is_damaged(tmp_path):
    prints = [certificate_for(AT_HOME, tmp_path, NOW).fingerprint]
    elsewhere = Reachable(("10.0.0.7",), ("10.0.0.7",), AT_HOME.names)
    prints.append(certificate_for(elsewhere, tmp_path, NOW).fingerprint)
    prints.append(certificate_for(elsewhere, tmp_path, NOW + LIFETIME).fingerprint)
    (tmp_path / "key.pem").write_text("no key")
    prints.append(certificate_for(elsewhere, tmp_path, NOW + LIFETIME).fingerprint)
    (tmp_path / "certificate.pem").write_bytes(b"\0")
    prints.append(certificate_for(elsewhere, tmp_path, NOW + LIFETIME).fingerprint)
    assert len(set(prints)) == len(prints)


def test_loopback_is_told_from_what_others_reach():
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.5", "laptop"))


def test_the_wildcard_stands_for_addresses_that_a_phone_can_use():
    found = reachable_under("0.0.0.0")
    assert found.hosts
    assert not any(host.startswith("127.") for host in found.hosts)
    assert reachable_under("::1").hosts == ("[::1]",)
    assert reachable_under("::1").is_in_a_network


def test_a_machine_without_a_network_says_so(monkeypatch):
    monkeypatch.setattr(addresses, "machine_addresses", tuple)
    assert not reachable_under("0.0.0.0").is_in_a_network


def test_the_authority_vouches_for_servers_and_for_nothing_else(tmp_path):
    found = authority_for(AT_HOME, tmp_path, datetime.now(UTC)).certificate
    purposes = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.SERVER_AUTH]
