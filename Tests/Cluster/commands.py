"""The command line against a cluster of the tests, and what it refuses to do."""

import json
import os
import socket
import struct
import subprocess

from broker import binary
from clusters import Cluster


def martlet(cluster: Cluster, *arguments, check: bool = True) -> subprocess.CompletedProcess:
    environment = {**os.environ, "MARTLET_BOOTSTRAP_SERVER": cluster.bootstrap}
    done = subprocess.run([str(binary()), *map(str, arguments)], capture_output=True, text=True, timeout=90, env=environment)
    if check:
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def martlet_json(cluster: Cluster, *arguments, check: bool = True):
    return json.loads(martlet(cluster, *arguments, "--json", check=check).stdout)


def ask(address: str, api: int, version: int, body: bytes) -> bytes:
    """The body of the answer to a request with a flexible header."""
    host, port = address.split(",")[0].rsplit(":", 1)
    frame = struct.pack(">hhih4sb", api, version, 1, 4, b"test", 0) + body
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(struct.pack(">i", len(frame)) + frame)
        connection.settimeout(30)
        answer = b""
        while len(answer) < 4 or len(answer) < 4 + struct.unpack(">i", answer[:4])[0]:
            received = connection.recv(4096)
            assert received, "the connection was closed without an answer"
            answer += received
    # Size, correlation id, tagged fields of the header.
    return answer[9:]


def unregister(address: str, broker: int) -> int:
    """UnregisterBroker, version 0, for a broker that may be alive, which `martlet broker unregister` does not send. Returns the error."""
    return struct.unpack(">ih", ask(address, 64, 0, struct.pack(">ib", broker, 0))[:6])[1]
