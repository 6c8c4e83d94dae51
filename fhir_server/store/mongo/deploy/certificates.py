"""The certificates and the members' shared key of docker-compose.yml, made once into its volumes.

    python -m fhir_server.store.mongo.deploy.certificates AUTHORITY MEMBERS SERVER HOST...

Three folders, so that nobody sees what is not theirs: the authority's key; the members' own
certificates, their shared key and the administrator's certificate; the server's certificate. What
is there stays, but a certificate that ends within 90 days is made anew: run again, then restart.
"""

from __future__ import annotations

import os
import secrets
import sys
from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ORGANISATION: Final = "vn-fhir-server"
SERVER: Final = x509.Name([
    x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
    x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "servers"),
    x509.NameAttribute(NameOID.COMMON_NAME, "fhir-server"),
])
"""The server's name: as who it logs in (`initiate.py` makes the user)."""

ADMINISTRATOR: Final = x509.Name([
    x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
    x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "administrators"),
    x509.NameAttribute(NameOID.COMMON_NAME, "administrator"),
])

# The user of the official mongo image, and of ours (docker-compose.yml).
MONGODB: Final = 999
FHIR: Final = 10001

_AUTHORITY_LASTS: Final = timedelta(days=3650)
_LASTS: Final = timedelta(days=825)
_RENEWED: Final = timedelta(days=90)
_KEY: Final = 384
"""Bytes of the shared key; in base64 they are 512 characters, fewer than mongod's 1024."""


class Authority:
    """Who signs the certificates; made where the folder has none."""

    def __init__(self, folder: Path, now: datetime) -> None:
        self._now = now
        file = folder / "authority.pem"
        if not file.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            name = x509.Name([
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
                x509.NameAttribute(NameOID.COMMON_NAME, "authority of this Compose project"),
            ])
            public = key.public_key()
            made = (
                _builder(name, name, public, now, _AUTHORITY_LASTS)
                .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                .add_extension(_usage(signs=True), critical=True)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
                .sign(key, hashes.SHA256())
            )
            _write(file, _pem(key, made), owner=None)
        data = file.read_bytes()
        self.certificate = x509.load_pem_x509_certificate(data)
        loaded = serialization.load_pem_private_key(data, None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            sys.exit(f"{file}: this is no key of ours.")
        self._key = loaded

    @property
    def pem(self) -> bytes:
        """Its certificate, without its key."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, file: Path, name: x509.Name, hosts: Sequence[str], owner: int) -> None:
        """Make a key and its certificate, unless there is one that lasts.

        Args:
            file: Where both go, in PEM form, as mongod and the driver want them.
            name: Whose it is.
            hosts: Names and addresses that a member has; none for a client.
            owner: The user that alone may read it.
        """
        if file.exists():
            there = x509.load_pem_x509_certificate(file.read_bytes())
            if there.not_valid_after_utc - self._now > _RENEWED:
                return
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key()
        # A member is a client of the others: it has both uses.
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if hosts:
            uses.append(ExtendedKeyUsageOID.SERVER_AUTH)
        made = (
            _builder(name, self.certificate.subject, public, self._now, _LASTS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if hosts:
            names = x509.SubjectAlternativeName([_general(host) for host in hosts])
            made = made.add_extension(names, critical=False)
        _write(file, _pem(key, made.sign(self._key, hashes.SHA256())), owner)


def make(
    authority: Path, members: Path, server: Path, hosts: Sequence[str], *, now: datetime
) -> None:
    """Make what is not there yet, in three folders that exist."""
    signer = Authority(authority, now)
    for folder, owner in ((members, MONGODB), (server, FHIR)):
        _own(folder, owner, 0o700)
        _write(folder / "ca.pem", signer.pem, owner)
    keyfile = members / "keyfile"
    if not keyfile.exists():
        _write(keyfile, b64encode(secrets.token_bytes(_KEY)), MONGODB)
    for host in hosts:
        names = [host, "localhost", "127.0.0.1"]
        signer.issue(members / f"{host}.pem", _member(host), names, MONGODB)
    signer.issue(members / "administrator.pem", ADMINISTRATOR, (), MONGODB)
    signer.issue(server / "server.pem", SERVER, (), FHIR)


def _member(host: str) -> x509.Name:
    return x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "members"),
        x509.NameAttribute(NameOID.COMMON_NAME, host),
    ])


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    name: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    now: datetime,
    lasts: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509
        .CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        # The machines' clocks need not agree to the second.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + lasts)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> bytes:
    own = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return own + certificate.public_bytes(serialization.Encoding.PEM)


def _write(file: Path, data: bytes, owner: int | None) -> None:
    """Write a file that its owner alone may read, whole or not at all."""
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    if owner is not None:
        _own(new, owner, 0o400)
    new.replace(file)


def _own(path: Path, owner: int, mode: int) -> None:
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, owner, owner)


def main(arguments: Sequence[str]) -> None:
    """Make them in the folders, and for the hosts, that are named."""
    if len(arguments) < 4:  # noqa: PLR2004 - three folders and a host
        sys.exit("usage: certificates AUTHORITY MEMBERS SERVER HOST...")
    folders = [Path(one) for one in arguments[:3]]
    now = datetime.now(UTC)  # noqa: TID251 - a command of its own
    make(folders[0], folders[1], folders[2], arguments[3:], now=now)


if __name__ == "__main__":
    main(sys.argv[1:])
