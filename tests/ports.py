"""Ports of loopback for what the tests start."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """Return a port of loopback that nobody listens on now.

    It is below the ports that Linux gives to clients (from 32768): a client that calls a killed
    server's port could be given that very port, be connected to itself, and keep the server out.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
