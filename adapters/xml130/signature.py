"""CHUKYDONVI: the facility's XML-DSig over its envelope, verified.

https://www.w3.org/TR/xmldsig-core1/, mandatory from 01/01/2026 (NĐ 188/2025 Đ69 k9, TT 12/2026/
TT-BTC Đ9). Valid is one signature whose single reference is the whole document, with the
transforms and algorithms named here and no other: no XPath, no XSLT, no SHA-1, nothing fetched.
The key is that of the certificate in KeyInfo. Whose certificate it is says the caller's own
login; no list of trusted issuers is part of the envelope's standard.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from copy import deepcopy
from datetime import datetime
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509 import Certificate, load_der_x509_certificate
from lxml import etree

from adapters.xml130.parse import has_doctype, is_too_large, is_utf8

_DS: Final = "{http://www.w3.org/2000/09/xmldsig#}"
_EXCLUSIVE: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
_ENVELOPED: Final = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
_INCLUSIVE: Final = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
_C14N: Final = {
    # Canonical form -> whether exclusive; a same-document reference never has comments.
    _INCLUSIVE: False,
    f"{_INCLUSIVE}#WithComments": False,
    _EXCLUSIVE: True,
    f"{_EXCLUSIVE}WithComments": True,
}
_DIGESTS: Final = {
    "http://www.w3.org/2001/04/xmlenc#sha256": "sha256",
    "http://www.w3.org/2001/04/xmldsig-more#sha384": "sha384",
    "http://www.w3.org/2001/04/xmlenc#sha512": "sha512",
}
_MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
_METHODS: Final[dict[str, tuple[str, hashes.HashAlgorithm]]] = {
    f"{_MORE}rsa-sha256": ("rsa", hashes.SHA256()),
    f"{_MORE}rsa-sha384": ("rsa", hashes.SHA384()),
    f"{_MORE}rsa-sha512": ("rsa", hashes.SHA512()),
    f"{_MORE}ecdsa-sha256": ("ec", hashes.SHA256()),
    f"{_MORE}ecdsa-sha384": ("ec", hashes.SHA384()),
    f"{_MORE}ecdsa-sha512": ("ec", hashes.SHA512()),
}
_SMALLEST_RSA: Final = 2048


class _NotValid(Exception):
    """The signature is absent, not of an accepted form, or wrong."""


_NO_SIGNATURE: Final = (
    _NotValid,
    InvalidSignature,
    UnsupportedAlgorithm,
    etree.LxmlError,
    ValueError,
    TypeError,
)


def verify(body: bytes, *, now: datetime | None = None) -> bool:
    """Return whether the envelope holds one valid signature over the whole of it.

    Args:
        body: The envelope as received.
        now: Where given, the certificate must be in force at that moment.
    """
    try:
        _verify(body, now)
    except _NO_SIGNATURE:
        # ValueError and TypeError are what a broken certificate or point makes of cryptography.
        return False
    return True


def _verify(body: bytes, now: datetime | None) -> None:
    root = _read(body)
    holders = root.findall("CHUKYDONVI")
    if len(holders) != 1 or len(list(root.iter(f"{_DS}Signature"))) != 1:
        raise _NotValid
    signature = _one(holders[0], "Signature")
    signed = _one(signature, "SignedInfo")
    certificate = load_der_x509_certificate(
        _bytes(_one(signature, "KeyInfo", "X509Data", "X509Certificate"))
    )
    if now and not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise _NotValid
    # In canonical form while it stands in its document, whose namespaces belong to it.
    canonical = _canonical(signed, _one(signed, "CanonicalizationMethod"))
    algorithm = _one(signed, "SignatureMethod").get("Algorithm", "")
    value = _bytes(_one(signature, "SignatureValue"))
    _check_reference(holders[0], signature, _one(signed, "Reference"))
    _check_value(certificate, algorithm, value, canonical)


def _read(body: bytes) -> etree._Element:
    if not is_utf8(body) or has_doctype(body) or is_too_large(body):
        raise _NotValid
    return etree.fromstring(
        body,
        etree.XMLParser(
            encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False,
            huge_tree=True,
        ),
    )  # fmt: skip


def _one(element: etree._Element, *steps: str) -> etree._Element:
    """Return the one child at each step; two of a kind leave open which was signed."""
    for step in steps:
        found = element.findall(f"{_DS}{step}")
        if len(found) != 1:
            raise _NotValid
        element = found[0]
    return element


def _bytes(element: etree._Element) -> bytes:
    text = "".join((element.text or "").split())
    try:
        return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, ValueError):
        raise _NotValid from None


def _canonical(node: etree._Element | etree._ElementTree, method: etree._Element | None) -> bytes:
    """Return the canonical form that a method names; without one, inclusive (XML-DSig 4.4.3.2)."""
    algorithm = _INCLUSIVE if method is None else method.get("Algorithm", "")
    if algorithm not in _C14N:
        raise _NotValid
    exclusive = _C14N[algorithm]
    prefixes: list[str] | None = None
    if exclusive and method is not None:
        listed = method.find(f"{{{_EXCLUSIVE}}}InclusiveNamespaces")
        prefixes = listed.get("PrefixList", "").split() if listed is not None else None
    return etree.tostring(
        node,
        method="c14n",
        exclusive=exclusive,
        with_comments=False,
        inclusive_ns_prefixes=prefixes,
    )


def _check_value(certificate: Certificate, algorithm: str, value: bytes, signed: bytes) -> None:
    if algorithm not in _METHODS:
        raise _NotValid
    kind, digest = _METHODS[algorithm]
    key = certificate.public_key()
    if kind == "rsa" and isinstance(key, rsa.RSAPublicKey) and key.key_size >= _SMALLEST_RSA:
        key.verify(value, signed, padding.PKCS1v15(), digest)
    elif kind == "ec" and isinstance(key, ec.EllipticCurvePublicKey):
        half = (key.key_size + 7) // 8
        if len(value) != 2 * half:
            raise _NotValid
        # XML-DSig 6.4.3: the two integers side by side, not in ASN.1.
        pair = encode_dss_signature(int.from_bytes(value[:half]), int.from_bytes(value[half:]))
        key.verify(pair, signed, ec.ECDSA(digest))
    else:
        raise _NotValid


def _check_reference(
    holder: etree._Element, signature: etree._Element, reference: etree._Element
) -> None:
    # Only the whole document: a reference to a part would leave the rest unsigned.
    if reference.get("URI") != "":
        raise _NotValid
    transforms = reference.findall(f"{_DS}Transforms/{_DS}Transform")
    names = [one.get("Algorithm", "") for one in transforms]
    forms = [one for one in transforms if one.get("Algorithm") in _C14N]
    if names.count(_ENVELOPED) != 1 or names[0] != _ENVELOPED or len(names) != 1 + len(forms):
        raise _NotValid
    if len(forms) > 1:
        raise _NotValid
    algorithm = _DIGESTS.get(_one(reference, "DigestMethod").get("Algorithm", ""))
    if algorithm is None:
        raise _NotValid
    form = deepcopy(forms[0]) if forms else None
    expected = _bytes(_one(reference, "DigestValue"))
    _take_out(holder, signature)
    digest = hashlib.new(algorithm, _canonical(holder.getroottree(), form)).digest()
    if not hmac.compare_digest(digest, expected):
        raise _NotValid


def _take_out(parent: etree._Element, signature: etree._Element) -> None:
    """Take the signature out of its document and leave the text that follows it."""
    before, tail = signature.getprevious(), signature.tail or ""
    if before is not None:
        before.tail = (before.tail or "") + tail
    else:
        parent.text = (parent.text or "") + tail
    signature.tail = None
    parent.remove(signature)
