"""Results are fetched as far as they are shown at that moment, over every store."""

from __future__ import annotations

from fhir_server.model import codec
from tests.contracts.test_jobs import ASYNC, Server, ids_of, observed, record_of, server, tag
from tests.fhir_server.interactions.test_writes import observation, patient

__all__ = ["server"]  # the fixture


async def fetched(server: Server, url: str, caller: str = "system") -> list[str]:
    """Return the ids in a file of results."""
    answer = await server.client(caller).get(url)
    assert answer.status_code == 200, answer.text
    return ids_of([codec.loads(line) for line in answer.content.splitlines()])


async def begun(server: Server, path: str, caller: str = "system") -> str:
    """Return the URL of the one file that a request gave."""
    answer = await server.client(caller).get(path, headers=ASYNC)
    (item,) = (await server.done(answer, caller))["output"]
    return item["url"]


async def test_what_was_deleted_since_is_not_fetched(server: Server) -> None:
    """What is left is."""
    await observed(server, 3)
    url = await begun(server, "Observation")
    assert await fetched(server, url) == ["o000", "o001", "o002"]

    assert (await server.client().delete("Observation/o001")).status_code == 204

    assert await fetched(server, url) == ["o000", "o002"]


async def test_what_is_of_another_patient_by_now_is_not_fetched(server: Server) -> None:
    """Nor does the AuditEvent name whom nothing in the file is of."""
    await observed(server, 2)
    await server.world.put(patient("9") | {"id": "bo"})
    url = await begun(server, "Observation", "ana")

    await server.world.put(observation("Patient/bo") | {"id": "o000"})

    assert await fetched(server, url, "ana") == ["o001"]


async def test_what_a_facility_lost_is_not_fetched(server: Server) -> None:
    """Its access tag is asked anew, as that of a read is."""
    await observed(server, 2)
    for identity in ("o000", "o001"):
        await tag(server, identity, add=True)
    url = await begun(server, "Observation", "hospital")
    assert await fetched(server, url, "hospital") == ["o000", "o001"]

    await tag(server, "o000", add=False)

    assert await fetched(server, url, "hospital") == ["o001"]


async def test_the_audit_names_whom_the_lines_that_go_out_show(server: Server) -> None:
    """Nobody else: what is left out was not shown."""
    await observed(server, 1)
    await server.world.put(patient("9") | {"id": "bo"})
    await server.world.put(observation("Patient/bo") | {"id": "of-bo"})
    url = await begun(server, "Observation")
    await server.client().delete("Observation/of-bo")

    await fetched(server, url)

    (latest,) = await server.world.store.audit(limit=1)
    assert record_of(latest.body) == ("job-output", 200)
    assert latest.patients == ("ana",)


async def test_an_answer_with_what_is_hidden_now_is_gone(server: Server) -> None:
    """A Bundle goes out whole or not at all, in the words of one that never was."""
    await observed(server, 2)
    url = await begun(server, "Patient/ana/$everything")
    assert (await server.client().get(url)).status_code == 200

    await server.client().delete("Observation/o001")

    gone = await server.client().get(url)
    never = await server.client().get(url.replace(url.split("/")[-2], "never"))
    assert (gone.status_code, gone.content) == (404, never.content)


async def test_a_history_tells_what_the_live_one_tells(server: Server) -> None:
    """Of what was deleted its versions are still told to who may see all."""
    await observed(server, 1)
    url = await begun(server, "Observation/o000/_history")

    await server.client().delete("Observation/o000")

    assert (await server.client().get(url)).status_code == 200
