"""The README's worked session runs as it is written."""

from __future__ import annotations

import re
import subprocess

from tests.server import ROOT, Server


def sessions() -> list[str]:
    """Return the README's blocks that a reader pastes into a shell."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```sh session\n(.*?)```", text, flags=re.DOTALL)


def test_the_worked_session_runs(server: Server) -> None:
    """Every line of the session works when pasted, one after the other, in one shell."""
    script = "\n".join(sessions()).replace("http://127.0.0.1:8080", server.url)
    assert script.count('as "$') >= 5

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT,
        env=server.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert '"status":"created"' in done.stdout.replace(" ", "")
    assert "Từng đợt khám chữa bệnh" in done.stdout
    assert '"outcome":"complete"' in done.stdout.replace(" ", "")
