"""The label of HIV data, set at every write: contract section 6.

What content asks for it, and what it is, says `model.sensitivity`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_server.model import codec, sensitivity

if TYPE_CHECKING:
    from fhir_server.interactions.context import Context, Resource
    from fhir_server.store.port import Version


def labelled(ctx: Context, made: Resource, current: Version | None) -> tuple[Resource, bytes]:
    """Return the resource with the label that it must have, and its bytes.

    The label of a line that has it because of its visit stays, whoever may write the line:
    only `system`, and so a dossier sent again, says that the visit is no longer one.
    """
    body = codec.dumps(made)
    needed = sensitivity.may_carry_hiv(body) and sensitivity.carries_hiv(made)
    if not needed and ctx.principal.kind != "system" and current is not None:
        needed = _is_labelled_by_visit(current.body)
    if not needed or sensitivity.is_labelled(made):
        return made, body
    made = sensitivity.labelled(made)
    return made, codec.dumps(made)


def _is_labelled_by_visit(body: bytes) -> bool:
    """Return whether a version has the label of HIV data, and no code of its own that asks it."""
    if b'"HIV"' not in body:
        return False
    before = codec.loads_stored(body)
    return sensitivity.is_labelled(before) and not sensitivity.carries_hiv(before)
