"""The command line against a cluster of the tests, and what it refuses to do."""

import json
import os
import struct
import subprocess

from broker import binary
from clusters import Cluster
from raw import ask


def martlet(cluster: Cluster, *arguments, check: bool = True) -> subprocess.CompletedProcess:
    environment = {**os.environ, "MARTLET_BOOTSTRAP_SERVER": cluster.bootstrap}
    done = subprocess.run([str(binary()), *map(str, arguments)], capture_output=True, text=True, timeout=90, env=environment)
    if check:
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def martlet_json(cluster: Cluster, *arguments, check: bool = True):
    return json.loads(martlet(cluster, *arguments, "--json", check=check).stdout)


def unregister(address: str, broker: int) -> int:
    """UnregisterBroker, version 0, for a broker that may be alive, which `martlet broker unregister` does not send. Returns the error."""
    return struct.unpack(">ih", ask(address, 64, 0, struct.pack(">ib", broker, 0))[:6])[1]
