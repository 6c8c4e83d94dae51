"""Workers of one port are one server to who reads /metrics."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from fhir_server.rest.metrics import Metrics
from fhir_server.rest.together import Together, counted


def told(exposition: bytes, name: str) -> int:
    """Return one number of what is told."""
    found = re.search(rf"^{re.escape(name)} (\d+)$", exposition.decode(), re.MULTILINE)
    assert found, exposition.decode()
    return int(found[1])


async def test_each_tells_the_counts_of_all(tmp_path: Path) -> None:
    """Whichever is asked, also after one of them has ended, and with news of its own at once."""
    one, other = Metrics(), Metrics()
    got = 'http_requests_total{method="GET",status="200"}'

    async with counted(one, str(tmp_path)) as tell:
        async with counted(other, str(tmp_path)) as tell_other:
            other.observe("GET", 200, 0.01)
            other.failures += 1
        one.observe("GET", 200, 0.5)
        one.observe("POST", 201, 0.5)
        assert told(tell(), got) == 2
        assert told(tell(), "http_request_duration_seconds_count") == 3
        assert told(tell(), 'http_request_duration_seconds_bucket{le="0.01"}') == 1
        assert told(tell(), "http_failures_total") == 1
    assert told(tell_other(), got) == 2


async def test_one_alone_writes_nothing(tmp_path: Path) -> None:
    """Without workers there is no folder."""
    own = Metrics()
    own.observe("GET", 200, 0.01)

    async with counted(own, "") as tell:
        assert tell() == own.exposition()


def test_what_a_dead_worker_was_at_is_nothing_in_flight(tmp_path: Path) -> None:
    """Its counts stay, and what it was answering is not answered any more."""
    code = (
        "import sys; from pathlib import Path; from fhir_server.rest.metrics import Metrics; "
        "from fhir_server.rest.together import Together; own = Metrics(in_flight=3); "
        "own.observe('GET', 200, 0.01); Together(Path(sys.argv[1]), own).write()"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    living = Metrics(in_flight=1)
    Together(tmp_path, living).write()

    exposition = Together(tmp_path, Metrics(in_flight=2)).exposition()

    assert told(exposition, "http_requests_in_flight") == 3
    assert told(exposition, "http_request_duration_seconds_count") == 1
