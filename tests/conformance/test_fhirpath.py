"""The FHIRPath cases of FHIR/fhir-test-cases for R4: 935, but those that fhirpath.toml lists."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from fhir_server.model import codec
from fhir_server.model.fhirpath import expression as fhirpath
from fhir_server.model.fhirpath import show
from fhir_server.model.fhirpath.expression import Environment, FhirPathError, Result
from tests.data import DATA, shared_data

pytestmark = pytest.mark.data

CASES = 935
NOTHING = {"resourceType": "Basic"}
NOW = datetime(2024, 1, 1, 7, 30, 15, 125_000, tzinfo=UTC)


@dataclass(frozen=True)
class Case:
    """One case: what it is evaluated on, and what it must give.

    `invalid` is `syntax`, `semantic` or `execution` where it must be refused; `is_predicate` says
    that the result is asked for as a truth.
    """

    id: str
    input: str | None
    expression: str
    invalid: str | None
    is_predicate: bool
    is_ordered: bool
    outputs: tuple[tuple[str | None, str], ...]


@cache
def cases() -> tuple[Case, ...]:
    """Return the cases in their order; a name that stands twice has `#2` behind it."""
    if not DATA.is_dir():
        return ()
    found: dict[str, Case] = {}
    for test in etree.parse(DATA / "fhirpath" / "tests-fhir-r4.xml").iter("test"):
        name, expression = test.get("name"), test.find("expression")
        case = Case(
            id=name if name not in found else f"{name}#2",
            input=test.get("inputfile"),
            expression=expression.text,
            invalid=expression.get("invalid"),
            is_predicate=test.get("predicate") == "true",
            is_ordered=test.get("ordered") != "false",
            outputs=tuple((out.get("type"), out.text or "") for out in test.iter("output")),
        )
        found[case.id] = case
    return tuple(found.values())


@cache
def exceptions() -> dict[str, dict[str, str]]:
    """Return the cases that are not as N1 has it, with the reason and what we give."""
    text = Path(__file__).with_name("fhirpath.toml").read_text(encoding="utf-8")
    return {row["case"]: row for row in tomllib.loads(text)["exception"]}


@cache
def resource(name: str | None) -> dict[str, Any]:
    """Return an input; the cases name the XML of what we have as JSON."""
    if name is None:
        return NOTHING
    path = DATA / "fhirpath" / "input-json" / Path(name).with_suffix(".json")
    return codec.parse_resource(path.read_bytes())


def shown(result: Result) -> tuple[str, str]:
    """Return a result as the cases write one: the type's name and the value's text."""
    type_ = result.type.removeprefix("System.")
    if type_ not in {result.type, "Quantity"}:
        type_ = type_[0].lower() + type_[1:]
    value = result.value
    if isinstance(value, bool):
        return type_, "true" if value else "false"
    literal = show.literal(value) if hasattr(value, "literal") else str(value)
    at = "@" if type_ in {"date", "dateTime", "time"} and not literal.startswith("@") else ""
    return type_, at + literal.removesuffix("T")


def is_as(result: Result, output: tuple[str | None, str]) -> bool:
    """Tell whether a result is the one that a case has; numbers may differ in trailing zeros."""
    type_, text = shown(result)
    wanted, value = output
    if isinstance(result.value, Decimal) and wanted == "decimal":
        return type_ == wanted and result.value == Decimal(value)
    return wanted in {None, type_} and text == value


def outcome(case: Case) -> str:
    """Return `as expected`, or what came instead."""
    try:
        read = fhirpath.compile(case.expression)
        holder = resource(case.input)
        if case.input:
            read.check(holder["resourceType"])
        found = read.results(holder, Environment(now=NOW))
        if case.is_predicate:
            found = [Result("System.Boolean", read.is_true(holder, Environment(now=NOW)), None)]
    except FhirPathError as error:
        if case.invalid is None:
            return f"refused: {error.kind}"
        return "as expected" if error.position is not None else "refused without a position"
    texts = [" ".join(shown(result)) for result in found]
    if case.invalid is not None:
        return f"not refused: {', '.join(texts)}"
    outputs = list(case.outputs)
    if not case.is_ordered:
        outputs.sort(key=lambda output: output[1])
        found.sort(key=lambda result: shown(result)[1])
    if len(found) == len(outputs) and all(map(is_as, found, outputs)):
        return "as expected"
    return ", ".join(texts) or "nothing"


@pytest.mark.parametrize("case", cases() or [None], ids=lambda case: case and case.id)
def test_the_case_gives_what_it_must(case: Case) -> None:
    """A case gives the items that it lists, or is refused; those listed give what the list says."""
    shared_data()
    listed = exceptions().get(case.id)

    assert outcome(case) == ("as expected" if listed is None else listed["gives"])


def test_every_case_is_there_and_every_exception_is_one() -> None:
    """All 935 are run, fewer than 20 are exceptions, and each has a reason."""
    shared_data()

    names = {case.id for case in cases()}

    assert len(names) == CASES
    assert set(exceptions()) <= names
    assert len(exceptions()) < 20
    assert all(row["reason"] for row in exceptions().values())


def test_every_case_comes_back_from_its_text() -> None:
    """An expression that is shown and read again is the same tree."""
    shared_data()

    for case in cases():
        if case.invalid != "syntax" and case.id not in exceptions():
            try:
                read = fhirpath.compile(case.expression)
            except FhirPathError:
                assert case.invalid
                continue
            assert fhirpath.compile(str(read)) == read, case.expression
