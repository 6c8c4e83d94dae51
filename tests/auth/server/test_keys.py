"""The signing keys in their folder."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from auth import tokens
from auth.server import keys as keys_module
from auth.server.keys import FolderKeys, KeysUnusable
from auth.tokens import AccessToken, InvalidToken, Verifier
from tests.auth.world import Clock


def a_token(keys: FolderKeys, clock: Clock) -> str:
    now = int(clock().timestamp())
    return tokens.issue(
        AccessToken(
            iss="i", aud="a", sub="s", client_id="c", scope="", iat=now, exp=now + 900, jti="j"
        ),
        keys,
    )


def test_a_key_is_made_on_first_start_for_its_owner_alone(tmp_path: Path) -> None:
    """Mode 0600, in a folder that is made; the next start uses the same."""
    folder = tmp_path / "data" / "keys"
    first = FolderKeys(folder, Clock())
    files = list(folder.iterdir())

    assert [file.name for file in files] == ["signing-000001.jwk.json"]
    assert files[0].stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert FolderKeys(folder, Clock()).active().kid == first.active().kid


def test_a_rotated_key_verifies_until_its_tokens_have_ended(tmp_path: Path) -> None:
    """The new one signs at once, in every process; the old one goes after 15 minutes."""
    clock = Clock()
    keys, other = FolderKeys(tmp_path, clock), FolderKeys(tmp_path, clock)
    verifier = Verifier(other, issuer="i", audience="a")
    old = a_token(keys, clock)
    verifier.verify(old, clock().timestamp())

    kid = keys.rotate()

    assert other.active().kid == kid
    assert len(other.jwks()["keys"]) == 2
    clock.pass_by(890)
    verifier.verify(old, clock().timestamp())
    verifier.verify(a_token(other, clock), clock().timestamp())
    clock.pass_by(60)
    assert [key["kid"] for key in other.jwks()["keys"]] == [kid]
    with pytest.raises(InvalidToken):
        verifier.verify(old, clock().timestamp() - 100)


def test_a_new_key_of_a_neighbour_is_known_before_its_folder_says_so(tmp_path: Path) -> None:
    """A folder of another machine shows its new time late: the first token of the key is enough."""
    clock = Clock()
    keys, other = FolderKeys(tmp_path, clock), FolderKeys(tmp_path, clock)
    before = tmp_path.stat().st_mtime_ns
    kid = keys.rotate()
    os.utime(tmp_path, ns=(before, before))
    verifier = Verifier(other, issuer="i", audience="a")

    verifier.verify(a_token(keys, clock), clock().timestamp())

    assert other.active().kid == kid


def test_unknown_keys_are_not_looked_for_all_the_time(tmp_path: Path) -> None:
    """Whoever sends tokens of no key makes us look into the folder once a second."""
    clock = Clock()
    keys, other = FolderKeys(tmp_path, clock), FolderKeys(tmp_path, clock)
    os.utime(tmp_path, ns=(1, 1))  # long ago
    assert other.verifying("unknown") is None
    kid = keys.rotate()
    os.utime(tmp_path, ns=(1, 1))

    assert other.verifying(kid) is None
    clock.pass_by(1)
    assert other.verifying(kid) is not None


def test_two_changes_in_one_tick_are_both_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder's time is then the same after the second: while it is so new, it says nothing."""
    monkeypatch.setattr(keys_module, "_TICK", 60 * 10**9)
    keys, other = FolderKeys(tmp_path, Clock()), FolderKeys(tmp_path, Clock())
    tick = tmp_path.stat().st_mtime_ns
    before = other.active().kid

    kid = keys.rotate()
    os.utime(tmp_path, ns=(tick, tick))

    assert other.active().kid == kid != before


def test_a_folder_that_is_away_for_a_while_ends_nothing(tmp_path: Path) -> None:
    """What is known goes on verifying and signing; afterwards a new key is noticed."""
    clock = Clock()
    folder, elsewhere = tmp_path / "keys", tmp_path / "elsewhere"
    keys = FolderKeys(folder, clock)
    verifier = Verifier(keys, issuer="i", audience="a")
    kid = keys.active().kid

    folder.rename(elsewhere)
    verifier.verify(a_token(keys, clock), clock().timestamp())
    assert keys.verifying("unknown") is None
    assert keys.edition() == keys.edition()
    elsewhere.rename(folder)
    new = FolderKeys(folder, clock).rotate()

    assert keys.active().kid == new != kid


def test_several_rotations_keep_all_keys_in_use(tmp_path: Path) -> None:
    """Each key verifies for 15 minutes after the next came."""
    clock = Clock()
    keys = FolderKeys(tmp_path, clock)
    for _ in range(3):
        clock.pass_by(400)
        keys.rotate()

    assert len(keys.jwks()["keys"]) == 4
    clock.pass_by(600)
    assert len(keys.jwks()["keys"]) == 2


def test_servers_that_start_at_once_share_one_key(tmp_path: Path) -> None:
    """No race leaves two first keys."""
    found: list[str | None] = []
    threads = [
        threading.Thread(target=lambda: found.append(FolderKeys(tmp_path, Clock()).active().kid))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(found)) == 1
    assert len(list(tmp_path.glob("signing-*"))) == 1
    assert not list(tmp_path.glob(".signing*"))


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """The start says what to do."""
    FolderKeys(tmp_path, Clock())
    next(tmp_path.glob("signing-*")).chmod(0o644)

    with pytest.raises(KeysUnusable, match="chmod 600"):
        FolderKeys(tmp_path, Clock())


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """One sentence, no trace."""
    (tmp_path / "file").write_text("")

    with pytest.raises(KeysUnusable):
        FolderKeys(tmp_path / "file" / "keys", Clock())
