"""UnregisterController: a controller that is gone for good is forgotten, and no longer holds up what all controllers have to support."""

import struct

from clusters import Cluster
from commands import ask, martlet
from nodes import wait_until

UNSUPPORTED_VERSION = 35
CONTROLLER_ID_NOT_REGISTERED = 136
# 4.4-IV2, the first with UnregisterControllerRecord.
METADATA_VERSION = 33


def unregister(address: str, controller: int) -> int:
    """UnregisterController, version 0. Returns the error."""
    return struct.unpack(">ih", ask(address, 94, 0, struct.pack(">ib", controller, 0))[:6])[1]


def registered(cluster: Cluster) -> set[int]:
    """The controllers as DescribeCluster tells them on a controller's listener, each with where it listens."""
    live = next(node for node in cluster.controllers if node.is_running)
    answer = ask(live.controller_address, 60, 1, struct.pack(">bbb", 0, 2, 0))
    # Throttle time, error, no message, endpoint type, cluster id, controller; then the nodes.
    error, message, kind = struct.unpack(">hbb", answer[4:8])
    assert (error, message, kind) == (0, 0, 2)
    position = 8 + answer[8] + 4
    count, position, found = answer[position] - 1, position + 1, set()
    for _ in range(count):
        found.add(struct.unpack(">i", answer[position:position + 4])[0])
        position += 4
        position += answer[position]      # host
        position += 4                     # port
        position += max(answer[position], 1)  # rack
        position += 1                     # tagged fields
    return found


def test_a_controller_that_left_the_quorum_is_forgotten():
    with Cluster(1, controllers=3, proxied=False) as cluster:
        wait_until(lambda: registered(cluster) == {1, 2, 3}, "all controllers are registered")
        assert unregister(cluster.bootstrap, 3) == UNSUPPORTED_VERSION
        martlet(cluster, "cluster", "features", "--set", f"metadata.version={METADATA_VERSION}")

        def raised():
            done = martlet(cluster, "cluster", "features", "--set", "kraft.version=1", check=False)
            assert done.returncode == 0 or "are not known yet" in done.stderr, done.stderr
            return done.returncode == 0

        wait_until(raised, "kraft.version is raised", 30, pause=0.5)
        gone = next(node for node in cluster.controllers if node is not cluster.controller())
        martlet(cluster, "quorum", "remove", gone.number, "--yes")
        assert gone.stop() == 0
        assert registered(cluster) == {1, 2, 3}, "its registration stays"
        assert unregister(cluster.bootstrap, gone.number) == 0
        rest = {1, 2, 3} - {gone.number}
        wait_until(lambda: registered(cluster) == rest, "it is forgotten", 10)
        assert unregister(cluster.bootstrap, gone.number) == CONTROLLER_ID_NOT_REGISTERED

        for node in cluster.nodes:
            if node.is_running:
                node.kill()
        for node in cluster.nodes:
            if node is not gone:
                node.start()
        for node in cluster.nodes:
            if node is not gone:
                node.wait_ready()
        assert registered(cluster) == rest
