"""Two servers over one store, restarted in turn under load: no client sees an error."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.balancer import Balancer
from tests.journeys.conftest import log_in
from tests.server import Server
from tests.xml130 import dossier, envelope, visit

CLIENTS = 4


@dataclass(slots=True)
class Cluster:
    """Servers over one store behind a balancer."""

    servers: list[Server]
    balancer: Balancer

    @property
    def url(self) -> str:
        """The origin that clients know."""
        return self.balancer.url

    def client(self, token: str = "", **options: object) -> httpx.Client:
        """Return a client of the balancer."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, **options)


@pytest.fixture
def cluster(engine: str, tmp_path: Path) -> Iterator[Cluster]:
    """Two servers over one new store, the second of two workers, both started at once."""
    folder = tmp_path / "shared"
    servers = [
        Server(folder, engine=engine, arguments=("--demo", *more))
        for more in ((), ("--workers", "2"))
    ]
    balancer = Balancer([server.port for server in servers])
    for server in servers:
        server.extra["FHIR_SERVER_BASE_URL"] = balancer.url
    assert len({server.store for server in servers}) == 1
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(Server.start, servers))
    with balancer:
        for server in servers:
            balancer.wait_for(server.port, ready=True)
        yield Cluster(servers, balancer)
    for server in servers:
        server.end()


@dataclass(slots=True)
class Load:
    """Clients that ask all the time, and what they were answered."""

    cluster: Cluster
    token: str
    is_over: threading.Event = field(default_factory=threading.Event)
    statuses: Counter[int] = field(default_factory=Counter)
    made: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def run(self, *, keeps: bool) -> None:
        """Be one client, which keeps its connection or takes a new one for each request."""
        http = self.cluster.client(self.token)
        while not self.is_over.is_set():
            number = next(self.numbers)
            try:
                self.ask(http, number)
            except httpx.HTTPError as error:
                self.errors.append(f"{number}: {type(error).__name__} {error}")
            if not keeps:
                http.close()
                http = self.cluster.client(self.token)
        http.close()

    def ask(self, http: httpx.Client, number: int) -> None:
        """Make a resource, read it, find it."""
        answer = http.post(
            "/fhir/Observation",
            json={
                "resourceType": "Observation",
                "status": "final",
                "identifier": [{"system": "urn:rolling", "value": str(number)}],
                "code": {"text": "x" * 100},
            },
        )
        self.statuses[answer.status_code] += 1
        made = answer.json()["id"]
        self.made.append(made)
        for path in (f"/fhir/Observation/{made}", f"/fhir/Observation?identifier={number}"):
            answer = http.get(path)
            self.statuses[answer.status_code] += 1
            assert made in answer.text


def test_a_rolling_restart_is_seen_by_no_client(cluster: Cluster) -> None:
    """Each server is stopped by SIGTERM and started again while clients go on asking."""
    token = cluster.servers[0].token(client="system")
    with cluster.client(token) as http:
        # Of the two servers that were started together, one has made the demo people.
        assert http.get("/fhir/Patient?_summary=count").json()["total"] == 5
    load = Load(cluster, token)
    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(load.run, keeps=bool(number % 2)) for number in range(CLIENTS)]
        try:
            for server in cluster.servers:
                before = len(load.made)
                assert server.stop() == 0
                cluster.balancer.wait_for(server.port, ready=False)
                server.start()
                cluster.balancer.wait_for(server.port, ready=True)
                assert len(load.made) > before
        finally:
            load.is_over.set()
        for one in running:
            one.result()

    assert load.errors == []
    assert set(load.statuses) == {200, 201}
    assert all(cluster.balancer.served[server.port] > 10 for server in cluster.servers)
    with cluster.client(token) as http:
        found = http.get("/fhir/Observation?identifier=urn:rolling|&_summary=count").json()["total"]
        assert found == len(load.made) == len(set(load.made))


class Hopping(Cluster):
    """A cluster whose clients take a new connection, so another server, for each request."""

    def client(self, token: str = "", **options: object) -> httpx.Client:
        """Return a client that keeps no connection."""
        limits = httpx.Limits(max_keepalive_connections=0)
        return Cluster.client(self, token, limits=limits, **options)


def test_no_server_keeps_what_another_needs(cluster: Cluster) -> None:
    """Log-ins, sessions, tokens, keys, clients and submissions are the same at every server."""
    hopping = Hopping(cluster.servers, cluster.balancer)
    one, _ = cluster.servers

    with closing(log_in(hopping, "001195012345")) as browser:
        pages = [browser.get("/book") for _ in range(6)]
        assert {page.status_code for page in pages} == {200}
        assert all("NGUYỄN THỊ MẪU" in page.text for page in pages)
        assert browser.post("/book/logout").status_code == 200
        assert all('name="cccd"' in browser.get("/book").text for _ in range(4))

    old = one.token(client="clinic-01998")
    one.run("keys", "rotate")
    new = one.token(client="clinic-01998")
    with hopping.client(old) as before, hopping.client(new) as after:
        for http in (before, after):
            assert [http.get("/fhir/Organization").status_code for _ in range(4)] == [200] * 4
        body = envelope([dossier(visit(MA_CSKCB="01998", MA_LK="HOP-1"))], facility="01998")
        sent = after.post(
            "/submissions", content=body, headers={"Content-Type": "application/xml"}
        ).json()
        receipts = [after.get(f"/submissions/{sent['id']}") for _ in range(4)]
        assert [receipt.json() for receipt in receipts] == [sent] * 4

        one.run("client", "disable", "clinic-01998")
        for http in (before, after):
            assert [http.get("/fhir/Organization").status_code for _ in range(4)] == [401] * 4
