"""`/auth/callback`: the identity provider's answer, the level, whose book; then the code.

NĐ 69/2024/NĐ-CP: a level-2 account is asked for; contract 6: the log-in settles the number.
"""

from __future__ import annotations

import logging
import re
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from auth.grants import CODE_LIFETIME, Code, new_family
from auth.guardianship import is_born_later
from auth.limits import LOGIN_FAILED
from auth.policy import LEVEL
from auth.ports import Child, Identity, LoginFailed, ProviderUnreachable
from auth.server.login import Login, again_url, answer, answer_url, keep, stale_page, take
from auth.server.oauth import AuthorizationServer, fields, form_of, source_of
from auth.server.pages import origin_of, page
from fhir_server.model.outcome import FhirError

NUMBER: Final = re.compile(r"[0-9]{12}")
_log = logging.getLogger(__name__)


async def callback(server: AuthorizationServer, request: Request) -> Response:
    """Take the identity provider's answer, and answer the client or ask whose book."""
    source = source_of(request)
    given = fields(request.url.query)
    login = await take(server, request, given.get("state", ""))
    if login is None:
        await server.limits.count(LOGIN_FAILED, source)
        return stale_page()
    if "code" not in given:
        return answer(server, login, error="access_denied")
    try:
        identity = await server.provider.identify(
            code=given["code"],
            redirect_uri=server.callback_url,
            verifier=login.provider_verifier,
            nonce=login.provider_nonce,
            issuer=given.get("iss"),
        )
        return await _identified(server, login, identity)
    except ProviderUnreachable:
        return answer(server, login, error="temporarily_unavailable")
    except LoginFailed as failure:
        _log.warning("login.refused: %s", failure)
        await server.limits.count(LOGIN_FAILED, source)
        return answer(server, login, error="access_denied")
    except FhirError as refusal:
        _log.warning("login.not_settled: %s", type(refusal).__name__)
        return answer(server, login, error="temporarily_unavailable")


async def choose_patient(server: AuthorizationServer, request: Request) -> Response:
    """Answer the client for the book that was chosen."""
    source = source_of(request)
    form = await form_of(request)
    login = await take(server, request, form.get("login", ""))
    if login is None or not login.own_patient:
        await server.limits.count(LOGIN_FAILED, source)
        return stale_page()
    patient = form.get("patient", "")
    if patient != login.own_patient:
        children = await server.directory.children(login.number)
        if all(child.patient_id != patient for child in children):
            return stale_page()
    return await _finish(server, login, patient)


async def _identified(server: AuthorizationServer, login: Login, identity: Identity) -> Response:
    if identity.level < LEVEL or identity.claims is None:
        return page(
            "level.html",
            status=403,
            again=again_url(server, login),
            back=answer_url(server, login, error="access_denied"),
        )
    claims = identity.claims
    if not NUMBER.fullmatch(claims.number):
        raise LoginFailed("the number is not 12 digits")
    if is_born_later(claims.number, claims.birth_date, server.now()):
        _log.warning("login.refused: the birth date is in the future")
        return page(
            "refused.html",
            status=403,
            vi="Ngày sinh trong tài khoản VNeID ở tương lai nên không mở được sổ sức khỏe.",
            en="The birth date in the VNeID account is in the future, so no health book opens.",
            again=again_url(server, login),
            back=answer_url(server, login, error="access_denied"),
        )
    settled = await server.directory.settle(claims)
    login = msgspec.structs.replace(
        login,
        own_patient=settled.patient_id,
        number=claims.number,
        name=claims.name,
        kept_apart=settled.kept_apart,
    )
    if "launch/patient" in login.scopes:
        children = await server.directory.children(claims.number)
        if children:
            return await _ask_whose(server, login, children)
    return await _finish(server, login, settled.patient_id)


async def _ask_whose(
    server: AuthorizationServer, login: Login, children: tuple[Child, ...]
) -> Response:
    client = await server.grants.client(login.client_id)
    return page(
        "patient.html",
        # Browsers hold the redirect that follows a form to the same rule.
        form_action=("'self'", origin_of(login.redirect_uri)),
        action=server.url("patient"),
        client=client.name if client else "",
        login=await keep(server, login),
        own=login.own_patient,
        children=children,
    )


async def _finish(server: AuthorizationServer, login: Login, patient: str) -> Response:
    """Open the grant, and answer the client with its code."""
    client = await server.grants.client(login.client_id)
    if client is None or client.disabled:
        return stale_page()
    family = new_family(
        client=client,
        patient=patient,
        own_patient=login.own_patient,
        number=login.number,
        scopes=login.scopes,
        now=server.time(),
        kept_apart=login.kept_apart,
        name=login.name,
    )
    await server.grants.open_family(family)
    code = Code(
        family=family.id,
        client_id=login.client_id,
        redirect_uri=login.redirect_uri,
        challenge=login.challenge,
        until=server.time() + CODE_LIFETIME,
        nonce=login.nonce,
    )
    return answer(server, login, code=await server.grants.issue_code(code, family))
