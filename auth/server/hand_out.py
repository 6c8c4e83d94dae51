"""Tokens handed out by the command line of a demo: as the client, or as the VNeID app would."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from auth.grants import new_family
from auth.ports import Claims
from auth.server.oauth import AuthorizationServer
from auth.server.token import issue_for_client, issue_for_family


class NotHandedOut(Exception):
    """No token is given; the text is one sentence for the operator."""


async def client_token(server: AuthorizationServer, client_id: str) -> str:
    """Return an access token of a client that acts for itself, with all its scopes.

    Raises:
        NotHandedOut: There is no such client, or it is disabled or an app.
    """
    client = await server.grants.client(client_id)
    if client is None or client.disabled:
        raise NotHandedOut("There is no such client, or it is disabled.")
    if client.kind == "app":
        raise NotHandedOut("This client acts for citizens; use --citizen.")
    return issue_for_client(server, client, client.scopes)


async def citizen_token(
    server: AuthorizationServer,
    claims: Claims,
    *,
    patient: str | None = None,
    patient_of: Callable[[str], Awaitable[str | None]],
    app: str = "vneid-app",
) -> str:
    """Return an access token as the app would hold it after a level-2 login.

    Args:
        server: The authorization server.
        claims: What VNeID would say of the citizen.
        patient: The child to act for, by id or by 12-digit number; None is the citizen.
        patient_of: The Patient who holds a number.
        app: The client.

    Raises:
        NotHandedOut: The citizen is not a verified guardian of that Patient.
    """
    client = await server.grants.client(app)
    if client is None or client.disabled:
        raise NotHandedOut("There is no such client, or it is disabled.")
    settled = await server.directory.settle(claims)
    stands_for = settled.patient_id
    if patient is not None:
        is_number = len(patient) == 12 and patient.isdecimal()  # noqa: PLR2004 - a number's length
        wanted = await patient_of(patient) if is_number else patient.removeprefix("Patient/")
        children = await server.directory.children(claims.number)
        known = {settled.patient_id, *(child.patient_id for child in children)}
        if wanted is None or wanted not in known:
            raise NotHandedOut("The citizen is not a verified guardian of that person.")
        stands_for = wanted
    family = new_family(
        client=client,
        patient=stands_for,
        own_patient=settled.patient_id,
        number=claims.number,
        scopes=client.scopes,
        now=server.time(),
        kept_apart=settled.kept_apart,
        name=claims.name,
    )
    await server.grants.open_family(family)
    return issue_for_family(server, family, family.scopes)
