"""What a caller may see of a type, as an Expression, and whether one version is shown.

A policy says Criteria in FHIR's words; here they become the expression that every search,
read, chain, `_has`, include and count is narrowed by.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from auth.criteria import AnyOf, Anything, Criteria, InPatientCompartment, Matching, Tagged
from fhir_server.interactions.elsewhere import is_hidden_system
from fhir_server.interactions.masked_search import askable, askable_of_shown, referring
from fhir_server.model import codec
from fhir_server.model.definitions import RESOURCE_TYPES
from fhir_server.model.outcome import Forbidden, Gone, UnknownResource
from fhir_server.search import expression as ex
from fhir_server.search.extract import index_values
from fhir_server.search.query import parse_criteria

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fhir_server.interactions.context import Context, FhirRequest
    from fhir_server.search.expression import Expression
    from fhir_server.store.port import Name, Version


_NOT_FHIR: Final = {
    "submit": (
        "This client may not submit dossiers.",
        "Ứng dụng này không được phép gửi hồ sơ.",
    ),
    "submission-read": (
        "This client may not read submissions.",
        "Ứng dụng này không được phép xem các lần gửi hồ sơ.",
    ),
}
"""What is refused of the paths that are not FHIR: their interactions have no name out there."""


@lru_cache(maxsize=8192)
def expression_of(criteria: Criteria, resource_type: str) -> Expression:
    """Return the expression that shows what these criteria show of a type."""
    match criteria:
        case Anything():
            return ex.EVERYTHING
        case InPatientCompartment(patient_id):
            return ex.InPatient(frozenset({patient_id}))
        case Tagged(tag):
            return ex.Tagged(tag)
        case Matching(query):
            return parse_criteria(resource_type, query)
        case AnyOf(parts):
            return ex.Or(tuple(expression_of(part, resource_type) for part in parts))


def where_shown(ctx: Context, interaction: str, resource_type: str) -> Expression | None:
    """Return what the caller may see of a type in this interaction; None where it is Forbidden."""
    criteria = ctx.policy.narrow(interaction, resource_type)
    return None if criteria is None else expression_of(criteria, resource_type)


def require_granted(ctx: Context, request: FhirRequest) -> None:
    """Refuse an interaction that the caller is never granted, whatever the id.

    Raises:
        Forbidden: The policy does not grant the interaction on this type.
    """
    if request.interaction == "search-system" and any(
        ctx.policy.narrow("search-system", kind) for kind in RESOURCE_TYPES
    ):
        return  # it is asked of type by type, as the entries of a Bundle are
    code = request.operation if request.interaction == "operation" else request.interaction
    require_type(ctx, code or "", request.resource_type)


def require_type(ctx: Context, interaction: str, resource_type: str | None) -> None:
    """Refuse an interaction or operation on a type that the caller is never granted.

    Raises:
        Forbidden: The policy does not grant it.
    """
    if ctx.policy.narrow(interaction, resource_type) is None:
        if interaction in _NOT_FHIR:
            english, vietnamese = _NOT_FHIR[interaction]
            raise Forbidden(english, text_vi=vietnamese)
        of = f" on {resource_type}" if resource_type else ""
        of_vi = f" trên {resource_type}" if resource_type else ""
        raise Forbidden(
            f"{interaction}{of} is not granted to this client.",
            text_vi=f"Ứng dụng này không được cấp quyền {interaction}{of_vi}.",
        )


def narrowed(ctx: Context, where: Expression, kind: str) -> Expression:
    """Return the expression with every chain and `_has` in it looking only at what is shown.

    What is masked of a type cannot be asked for either: a match would say what the mask hides.
    """
    match where:
        case ex.And(operands):
            return ex.And(tuple(narrowed(ctx, part, kind) for part in operands))
        case ex.Or(operands):
            return ex.Or(tuple(narrowed(ctx, part, kind) for part in operands))
        case ex.Not(operand):
            return ex.Not(narrowed(ctx, operand, kind))
        case ex.Chain(param, target, inner):
            chain = ex.Chain(param, target, shown_and(ctx, target, inner))
            return askable(ctx.policy.masks, kind, chain)
        case ex.Has(source, param, inner):
            found = shown_and(ctx, source, inner)
            return referring(ctx.policy.masks, source, param, found)
        case ex.Differs(_, inner):
            return _differs(ctx, where, narrowed(ctx, inner, kind), kind)
        case _ if isinstance(where, ex.Open):
            raise ex.unresolved(where)
        case ex.TokenIs("identifier", system, _) if kind == "Patient" and is_hidden_system(
            system, ctx.policy.facility
        ):
            return ex.NOTHING
        case _:
            return _askable(ctx, where, kind)


def _askable(ctx: Context, leaf: Expression, kind: str) -> Expression:
    return askable_of_shown(
        ctx.policy.masks, kind, leaf, lambda target: where_shown(ctx, "search-type", target)
    )


def _differs(ctx: Context, where: ex.Differs, inner: Expression, kind: str) -> Expression:
    """Return what may be asked of values that differ; `inner`: of those that do not.

    What may not be asked for may not be found by its being another either; nor may an identifier
    of a Patient, of whom a facility is not shown all.
    """
    if _says_nothing(inner) or (
        kind == "Patient" and where.param == "identifier" and ctx.policy.facility
    ):
        return ex.NOTHING
    return _askable(ctx, where, kind)


def _says_nothing(where: Expression) -> bool:
    match where:
        case ex.And(operands) | ex.Or(operands) | ex.CompositeIs(_, operands):
            return where == ex.NOTHING or any(map(_says_nothing, operands))
        case _:
            return False


def shown_and(ctx: Context, resource_type: str, where: Expression) -> Expression:
    """Return what is asked of a type, of what a search shows the caller of it alone."""
    shown = where_shown(ctx, "search-type", resource_type)
    if shown is None:
        return ex.NOTHING
    return both(narrowed(ctx, where, resource_type), shown)


def both(left: Expression, right: Expression) -> Expression:
    """Return an expression that asks both, without what asks nothing."""
    if left == ex.EVERYTHING:
        return right
    return left if right == ex.EVERYTHING else ex.And((left, right))


async def is_shown(ctx: Context, version: Version, interaction: str = "read") -> bool:
    """Return whether the caller may see this current version."""
    criteria = ctx.policy.narrow(interaction, version.resource_type)
    return criteria is not None and await matches_criteria(ctx, criteria, version)


async def matches_criteria(ctx: Context, criteria: Criteria, version: Version) -> bool:
    """Return whether the current version is among what these criteria show."""
    match criteria:
        case Anything():
            return True
        case InPatientCompartment(patient_id):
            return patient_id in await _concerned(ctx, version)
        case AnyOf(parts):
            for part in sorted(parts, key=_cost):
                if await matches_criteria(ctx, part, version):
                    return True
            return False
        case Tagged(tag):
            return tag in await ctx.store.tags((version.resource_type, version.resource_id))
        case _:
            where = expression_of(criteria, version.resource_type)
            if isinstance(where, ex.Ids):
                return version.resource_id in where.ids
            if version.deleted:
                return False
            return await ctx.store.visible((version.resource_type, version.resource_id), where)


def _cost(criteria: Criteria) -> int:
    match criteria:
        case Anything() | InPatientCompartment():
            return 0
        case Tagged():
            return 1
        case _:
            return 2


async def fetch_shown(ctx: Context, names: Sequence[Name]) -> list[Version]:
    """Return the current versions of these, of those that are there and shown to the caller.

    Their order, type by type, is as if the others were not named.
    """
    by_type: dict[str, list[str]] = {}
    for kind, identity in names:
        by_type.setdefault(kind, []).append(identity)
    found: dict[str, list[Version]] = {}
    for kind, identities in by_type.items():
        criteria = ctx.policy.narrow("read", kind) or ctx.policy.narrow("search-type", kind)
        if criteria is None:
            continue
        if criteria == Anything():
            versions = await ctx.store.read_many([(kind, one) for one in identities])
            found[kind] = [v for v in versions if v is not None and not v.deleted]
            continue
        where = both(ex.Ids(frozenset(identities)), expression_of(criteria, kind))
        page = await ctx.store.search(ex.Search(((kind, where),), count=len(identities)))
        found[kind] = list(page.versions)
    shown = {(one.resource_type, one.resource_id) for some in found.values() for one in some}
    order = dict.fromkeys(kind for kind, identity in names if (kind, identity) in shown)
    return [version for kind in order for version in found[kind]]


async def is_version_shown(
    ctx: Context, version: Version, current: Version | None, interaction: str
) -> bool:
    """Return whether the caller may see one version of a resource, old ones too.

    What a resource said while it was about another Patient is not shown with what it says now.
    """
    if current is None or not await is_shown(ctx, current, interaction):
        return False
    if version.version_id == current.version_id or version.deleted:
        return True
    if ctx.policy.narrow(interaction, version.resource_type) == Anything():
        return True
    return _patients(ctx, version) <= await _concerned(ctx, current)


async def _concerned(ctx: Context, version: Version) -> set[str]:
    """Return the Patients in whose compartment a version is; a deletion, what it deleted."""
    if not version.deleted:
        return set(version.patients)
    last = await ctx.store.vread(version.resource_type, version.resource_id, version.version_id - 1)
    return _patients(ctx, last) if last is not None and not last.deleted else set()


def _patients(ctx: Context, version: Version) -> set[str]:
    index = index_values(codec.loads_stored(version.body), base_url=ctx.base_url, words=False)
    return set(index.patients)


async def visible_version(
    ctx: Context, resource_type: str, resource_id: str, interaction: str = "read"
) -> Version:
    """Return the current version of a resource that the caller may see.

    Raises:
        UnknownResource: There never was one, or it is not shown: the same bytes for both.
        Gone: It was deleted.
    """
    criteria = ctx.policy.narrow(interaction, resource_type)
    while True:
        current = await ctx.store.read(resource_type, resource_id)
        if (
            current is None
            or criteria is None
            or not await matches_criteria(ctx, criteria, current)
        ):
            raise unknown(resource_type, resource_id)
        if _is_steady(criteria):
            break
        # The store was asked about what is current; it must still be what was read.
        again = await ctx.store.read(resource_type, resource_id)
        if again is not None and again.version_id == current.version_id:
            break
    if current.deleted:
        raise gone(current)
    return current


def _is_steady(criteria: Criteria) -> bool:
    """Return whether a version is judged by itself, or by tags, which no write takes away."""
    if isinstance(criteria, AnyOf):
        return all(_is_steady(part) for part in criteria.criteria)
    if not isinstance(criteria, Matching):
        return True
    return criteria.query.startswith("_id=") and "&" not in criteria.query


def unknown(resource_type: str, resource_id: str) -> UnknownResource:
    """Return the refusal of an id that is not here or not shown."""
    name = f"{resource_type}/{resource_id}"
    return UnknownResource(f"{name} is not known.", text_vi=f"Không có {name}.")


def gone(version: Version) -> Gone:
    """Return the refusal of a resource that was deleted, with the deletion's ETag."""
    return Gone(
        f"{version.resource_type}/{version.resource_id} was deleted.",
        text_vi=f"{version.resource_type}/{version.resource_id} đã bị xóa.",
        headers={"ETag": f'W/"{version.version_id}"'},
    )
