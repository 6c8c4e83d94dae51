"""No expression hangs the server: what is too much is refused, soon."""

from __future__ import annotations

import time

import pytest

from fhir_server.model.fhirpath import expression as fhirpath
from fhir_server.model.fhirpath.environment import Environment
from fhir_server.model.fhirpath.errors import FhirPathError

TEN = "(0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9)"
LIMIT = 20
"""Seconds: what takes 1 alone may take more beside all the other tests."""

LONG = {
    "resourceType": "Patient",
    "name": [{"family": "a" * 1000, "given": [str(at)]} for at in range(1000)],
}


def often(text: str) -> str:
    """Return an expression that asks a million times."""
    return f"{TEN}.select(" * 6 + text + ")" * 6


@pytest.mark.parametrize(
    "text",
    [
        often("1"),
        often("2.5.log(3.3)"),
        often("(1.1).power(12.3)"),
        often("1.1 'mg' ~ 3.3 'g'"),
        often("@2015-01-01T00:00:00Z + 3.5 seconds"),
        often("'a1'.replaceMatches('(a)', '$1$1')"),
        often("%resource.name.distinct()"),
        "1.repeat($this + 1)",
        "'a'.repeat($this & $this)",
        f"{TEN}.combine({TEN}).aggregate($total.combine($total), name)",
        "descendants().select(%resource.descendants())",
        "descendants().select(%resource = %resource)",
        "name.select(%resource ~ %resource)",
        "name ~ name.sort(-given.first())",
        "name.family.join().matches('a*b')",
        "name.family.join().replaceMatches('a', 'bb')",
        "name.family.join().replace('', name.family.first())",
        "name.family.join().toChars().select(%resource.name.family.join().upper())",
        "1." + "toString().length()." * 900 + "repeat($this + 1)",
    ],
)
def test_what_is_too_much_is_refused(text: str) -> None:
    """It ends with `too-costly`, in a second or so."""
    read = fhirpath.compile(text)
    begin = time.monotonic()

    with pytest.raises(FhirPathError) as refusal:
        read.evaluate(LONG)

    assert refusal.value.kind == "too-costly"
    assert time.monotonic() - begin < LIMIT


def test_the_steps_are_the_caller_s() -> None:
    """What is enough for one is too little for another."""
    read = fhirpath.compile("name.given.count()")

    assert read.evaluate(LONG, Environment(steps=10_000)) == [1000]
    with pytest.raises(FhirPathError):
        read.evaluate(LONG, Environment(steps=1000))


def test_a_resource_that_is_too_deep_is_refused() -> None:
    """Comparing what is nested beyond all measure is an error of FHIRPath, not of Python."""
    extension: dict[str, object] = {"url": "x"}
    for _ in range(2000):
        extension = {"extension": [extension]}
    deep = {"resourceType": "Patient", "extension": [extension]}

    with pytest.raises(FhirPathError, match="too deeply"):
        fhirpath.compile("extension = extension").evaluate(deep)
