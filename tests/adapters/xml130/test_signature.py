"""CHUKYDONVI verified: vectors made by signxml 5.2, and every way to bend them refused.

The vectors' certificates are self-signed for this test, of an invented facility.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from adapters.xml130.parse import parse
from adapters.xml130.signature import _take_out, verify
from tests.xml130 import dossier, envelope

DATA = Path(__file__).parents[2] / "data" / "xml130"
RSA = (DATA / "signed-rsa.xml").read_bytes()
EC = (DATA / "signed-ec.xml").read_bytes()


@pytest.mark.parametrize("body", [RSA, EC], ids=["rsa", "ec"])
def test_a_signed_envelope_is_valid(body):
    """RSA with inclusive and ECDSA with exclusive canonical XML verify, and the envelope parses."""
    assert verify(body)
    assert parse(body).signed
    assert not parse(body).issues


def test_form_that_says_nothing_does_not_count():
    """Comments, quotes of attributes and the XML declaration are not signed content."""
    changed = RSA.replace(b"<THONGTINHOSO>", b"<!-- x --><THONGTINHOSO >", 1).replace(
        b"encoding='utf-8'", b'encoding="UTF-8"'
    )

    assert verify(changed)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<MACSKCB>01999", b"<MACSKCB>01998"),
        (b"<NGAYLAP>20261120", b"<NGAYLAP>20261121"),
        (b"<THONGTINHOSO>", b"<THONGTINHOSO> "),
        (b'Reference URI=""', b'Reference URI="#x"'),
        (b'Reference URI=""', b"Reference"),
        (b"xmldsig#enveloped-signature", b"xmldsig#enveloped"),
        (b"xmldsig-more#rsa-sha256", b"xmldsig#rsa-sha1"),
        (b"xmldsig-more#rsa-sha256", b"xmldsig-more#ecdsa-sha256"),
        (b"xmlenc#sha256", b"xmldsig#sha1"),
        (b"<ds:SignatureValue>G", b"<ds:SignatureValue>H"),
        (b"<ds:SignatureValue>", b"<ds:SignatureValue>*"),
        (b"<ds:DigestValue>", b"<ds:DigestValue>A"),
        (b"<ds:X509Certificate>", b"<ds:X509Certificate>AAAA"),
        (b"X509Data", b"KeyName"),
        (b"CHUKYDONVI", b"CHUKY"),
        (b"<GIAMDINHHS", b"<!DOCTYPE GIAMDINHHS><GIAMDINHHS"),
        (b"</CHUKYDONVI>", b"<ds:Signature xmlns:ds='http://www.w3.org/2000/09/xmldsig#'/></CHUKYDONVI>"),
    ],
)  # fmt: skip
def test_what_is_bent_is_not_valid(old, new):
    """Changed content, another reference, weak or unknown algorithms, a second signature."""
    assert old in RSA

    assert not verify(RSA.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"xml-exc-c14n#", b"xpath#"),
        (b"xml-exc-c14n#", b"xml-exc-c14n"),
        (b"<ds:SignatureValue>", b"<ds:SignatureValue>AAAA"),
        (b"ecdsa-sha256", b"rsa-sha256"),
        (b"ecdsa-sha256", b"ecdsa-md5"),
        (b"xmlenc#sha256", b"xmldsig#sha1"),
        (b"<ds:Transforms>", b'<ds:Transforms><ds:Transform Algorithm="x"/>'),
        (
            b"</ds:Transforms>",
            b'<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/></ds:Transforms>',
        ),
    ],
)
def test_what_is_bent_in_an_ecdsa_signature_is_not_valid(old, new):
    """Unknown forms, a transform more, a value of another length, another kind of key."""
    assert old in EC

    assert not verify(EC.replace(old, new))


def test_an_unsigned_envelope_is_not_valid():
    """An absent or empty CHUKYDONVI is no signature, nor are bytes that are no XML."""
    assert not verify(envelope([dossier()]))
    assert not verify(b"")
    assert not verify(b"<GIAMDINHHS>")


def test_the_certificate_may_be_asked_to_be_in_force():
    """With a moment given, a certificate before or after its time does not sign."""
    assert verify(EC, now=datetime(2026, 11, 20, tzinfo=UTC))
    assert not verify(EC, now=datetime(2025, 11, 20, tzinfo=UTC))
    assert not verify(EC, now=datetime(2037, 11, 20, tzinfo=UTC))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(EC) - 1), st.integers(1, 255))
def test_a_changed_byte_never_raises(at, change):
    """Whatever byte changes, the answer is yes or no; content never changes under a yes."""
    body = bytes([*EC[:at], EC[at] ^ change, *EC[at + 1 :]])

    if verify(body):
        before, after = parse(EC), parse(body)
        assert (before.facility, before.dossiers) == (after.facility, after.dossiers)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<C>a<S/>b</C>", "<C>ab</C>"),
        ("<C><S/></C>", "<C></C>"),
        ("<C>a<x/>b<S/>c</C>", "<C>a<x/>bc</C>"),
        ("<C><x/><S/>c</C>", "<C><x/>c</C>"),
    ],
)
def test_taking_the_signature_out_leaves_the_text_around_it(before, after):
    """The enveloped-signature transform takes the element alone."""
    parent = etree.fromstring(before)

    _take_out(parent, parent.find("S"))

    assert etree.tostring(parent).decode() == after
