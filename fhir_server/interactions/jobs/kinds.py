"""KINDS: what does a job of each kind, and the turn that a process has at one."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from fhir_server.interactions.jobs.bundles import do_batch, do_transaction
from fhir_server.interactions.jobs.kept import remove
from fhir_server.interactions.jobs.pages import gather_answers, gather_resources
from fhir_server.interactions.jobs.record import WORKED
from fhir_server.model.outcome import FhirError, LoginRequired, Throttled, TooCostly, Unavailable
from fhir_server.model.primitives import micros

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fhir_server.interactions.jobs.work import Kind, Work

KINDS: Final[Mapping[str, Kind]] = MappingProxyType({
    "search": gather_resources,
    "history": gather_answers,
    "operation": gather_answers,
    "transaction": do_transaction,
    "batch": do_batch,
})


async def take_turn(work: Work) -> None:
    """Do as much of a job as its turn allows; what is refused ends it with the refusal.

    Raises:
        Superseded: It is another's now, or was cancelled.
        Unavailable: It cannot be done now.
    """
    if micros(work.now()) - work.job.begun > WORKED:
        await work.refuse(
            TooCostly(
                "The work took too long; ask for something narrower.",
                text_vi="Việc xử lý mất quá nhiều thời gian; hãy hỏi phạm vi hẹp hơn.",
            )
        )
        return
    await work.begin()
    try:
        await KINDS[work.job.kind](work)
    except LoginRequired:
        # What it was begun with was taken back: nothing is left of it.
        await remove(work.store, work.job_id, work.raw, work.job)
    except (Throttled, Unavailable):
        raise
    except FhirError as refusal:
        await work.refuse(refusal)
