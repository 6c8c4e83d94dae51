"""Downloads of test data: taken once, only if the bytes are right, and the examples are those."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.data import npm_examples
from tests.registry import Package, archive, locked, tree


def package(body: bytes) -> Package:
    """Return a package that has these bytes."""
    integrity = base64.b64encode(hashlib.sha512(body).digest()).decode()
    return Package("@scope/thing", "1.0.0", integrity)


@pytest.fixture
def source(tmp_path: Path) -> str:
    """A registry that has one package; it is read as the others are, by its URL."""
    folder = tmp_path / "registry" / "@scope" / "thing" / "-"
    folder.mkdir(parents=True)
    (folder / "thing-1.0.0.tgz").write_bytes(b"its bytes")
    return (tmp_path / "registry").as_uri() + "/"


def test_a_package_is_downloaded_once(tmp_path: Path, source: str) -> None:
    """The second time it is there, whatever the registry has become; no part is left."""
    nowhere = (tmp_path / "nowhere").as_uri() + "/"

    first = archive(package(b"its bytes"), tmp_path / "cache", (nowhere, source))
    again = archive(package(b"its bytes"), tmp_path / "cache", (nowhere,))

    assert first == again
    assert first.read_bytes() == b"its bytes"
    assert list(first.parent.iterdir()) == [first]


def test_other_bytes_are_an_error_and_are_not_kept(tmp_path: Path, source: str) -> None:
    """What is not what the integrity names is refused."""
    with pytest.raises(AssertionError, match="other bytes"):
        archive(package(b"others"), tmp_path / "cache", (source,))

    assert list((tmp_path / "cache").iterdir()) == []


def test_without_a_registry_it_is_a_skip_that_the_list_knows(tmp_path: Path) -> None:
    """Where nothing answers the test is skipped, in the words of tests/skips.toml."""
    with pytest.raises(pytest.skip.Exception, match="the npm registry cannot be reached"):
        archive(package(b""), tmp_path / "cache", ((tmp_path / "nowhere").as_uri() + "/",))


def test_a_lock_file_is_unpacked_where_it_says(tmp_path: Path) -> None:
    """Each package in its place, once; what another stands for, and what does not run, is left."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as into:
        for name in ("any/index.js", "any/bin/node", "any/README.md", "any/../out.js"):
            into.addfile(tarfile.TarInfo(name))
    made = package(packed.getvalue())
    row = {"version": made.version, "integrity": f"sha512-{made.integrity}"}
    lock = tmp_path / "package-lock.json"
    inner = "node_modules/a/node_modules/@scope/thing"
    rows = {"": {}, "node_modules/@scope/thing": row, inner: row}
    lock.write_text(json.dumps({"packages": rows | {"node_modules/b": row | {"name": "ms"}}}))
    where = tmp_path / "registry" / "@scope" / "thing" / "-"
    where.mkdir(parents=True)
    (where / "thing-1.0.0.tgz").write_bytes(packed.getvalue())
    source = (tmp_path / "registry").as_uri() + "/"

    first = tree(locked(lock), tmp_path / "cache", (source,))
    again = tree(locked(lock), tmp_path / "cache", ("nowhere:/",))

    assert first == again
    found = sorted(str(f.relative_to(first)) for f in first.rglob("*") if f.is_file())
    assert found == sorted(
        f"{place}/{file}" for place in rows if place for file in ("bin/node", "index.js")
    )
    assert (first / inner / "bin/node").stat().st_mode & 0o111
    assert not list(tmp_path.rglob("out.js"))


def test_npm_has_the_same_examples_as_the_shared_data(data: Path) -> None:
    """The selection from npm's package is the 720 of the shared data, byte for byte."""
    with (
        zipfile.ZipFile(data / "r4-examples-json.zip") as ours,
        zipfile.ZipFile(npm_examples()) as theirs,
    ):
        names = [name for name in ours.namelist() if name.endswith(".json")]
        assert sorted(theirs.namelist()) == sorted(names)
        assert all(ours.read(name) == theirs.read(name) for name in names)
