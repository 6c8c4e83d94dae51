"""The signing keys in their folder: made on first start, rotated, shared by every process.

`signing-000001.jwk.json`, `signing-000002.jwk.json` …: the highest signs, those before it
verify until the tokens that they signed have ended.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from joserfc.jwk import ECKey

from auth.tokens import CLOCK_SKEW, LIFETIME

_PRIVATE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700
_FOREIGN_BITS: Final = 0o077


_COOLDOWN: Final = 1.0
"""Seconds between two looks into the folder for a key that is not known."""

_TICK: Final = 20_000_000
"""Nanoseconds, more than a tick of a file system's clock: two changes in one have the same time."""


class KeysUnusable(Exception):
    """The folder or a key in it cannot be used; the text says what to do."""


class FolderKeys:
    """Our signing keys (auth.ports.KeySource); a rotation by another process is noticed."""

    def __init__(self, folder: Path, now: Callable[[], datetime]) -> None:
        self._folder = folder
        self._now = now
        self._seen: int = -1
        self._unsettled: int = -1
        self._looked = float("-inf")
        self._keys: list[tuple[ECKey, int]] = []
        _make_folder(folder)
        if not self._files():
            self._add(1)
        self._load()

    def active(self) -> ECKey:
        """Return the key to sign with."""
        self._refresh()
        return self._keys[-1][0]

    def verifying(self, kid: str) -> ECKey | None:
        """Return the key of this `kid` while it verifies."""
        self._refresh()
        found = self._verifying(kid)
        now = self._now().timestamp()
        if found is None and not 0 <= now - self._looked < _COOLDOWN:
            # The folder may be on another machine, whose changes are told here late: a token that
            # a neighbour has signed with a new key is known before.
            self._looked = now
            self._reload()
            found = self._verifying(kid)
        return found

    def _verifying(self, kid: str) -> ECKey | None:
        active = self._keys[-1][0]
        if active.kid == kid:
            return active
        return next((key for key in self._current() if key.kid == kid), None)

    def edition(self) -> int:
        """Return a number that is another one after the keys have changed, in any process."""
        try:
            changed = self._folder.stat().st_mtime_ns
        except OSError:  # the folder is away: what is known goes on
            return self._seen
        if 0 <= time.time_ns() - changed < _TICK:
            # Another change may follow in the same tick of the file system: it would not be told.
            self._unsettled -= 1
            return self._unsettled
        return changed

    def jwks(self) -> dict[str, Any]:
        """Return the public keys that verify, as a JSON Web Key Set."""
        self._refresh()
        return {
            "keys": [
                {**key.as_dict(private=False), "use": "sig", "alg": "ES256"}
                for key in self._current()
            ]
        }

    def rotate(self) -> str:
        """Add a new signing key and return its `kid`; the old one verifies until its tokens end."""
        last = int(self._files()[-1].name.removeprefix("signing-")[:6])
        self._add(last + 1)
        self._load()
        return str(self._keys[-1][0].kid)

    def _current(self) -> list[ECKey]:
        """The active key, and those whose last token has not ended yet."""
        now = self._now().timestamp()
        keep = [self._keys[-1][0]]
        for (key, _), (_, replaced_at) in zip(self._keys, self._keys[1:], strict=False):
            if now <= replaced_at + LIFETIME + CLOCK_SKEW:
                keep.append(key)
        return keep

    def _refresh(self) -> None:
        # One stat a look: that is what notices `fhir-server keys rotate` in every process.
        if self.edition() != self._seen:
            self._reload()

    def _reload(self) -> None:
        with suppress(OSError):  # the folder is away: what is known goes on
            self._load()

    def _load(self) -> None:
        seen = self.edition()
        keys = [_read(path) for path in self._files()]
        if keys:
            self._seen, self._keys = seen, keys

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("signing-[0-9][0-9][0-9][0-9][0-9][0-9].jwk.json"))

    def _add(self, number: int) -> None:
        key = ECKey.generate_key("P-256", private=True, auto_kid=True)
        content = {**key.as_dict(private=True), "created": int(self._now().timestamp())}
        # Where two processes start at once, one of them makes the key and both use it.
        with suppress(FileExistsError):
            write_private(self._folder / f"signing-{number:06}.jwk.json", content)


def write_private(path: Path, content: dict[str, Any]) -> None:
    """Write a file that only its owner reads, whole or not at all.

    Raises:
        FileExistsError: It is there already.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_MODE)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(content))
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise KeysUnusable(f"The key folder cannot be made: {error.strerror}.") from None


def _read(path: Path) -> tuple[ECKey, int]:
    if path.stat().st_mode & _FOREIGN_BITS:
        raise KeysUnusable(f"{path.name} can be read by others; chmod 600 it, then rotate.")
    content = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    created = int(content.pop("created"))
    return ECKey.import_key(content), created
