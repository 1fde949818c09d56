"""A node that was away while the others removed the part of the metadata log that it lacks: it fetches a snapshot (KIP-630)."""

import pytest
from confluent_kafka.admin import AdminClient

from clusters import Cluster
from commands import martlet_json
from confluent import producer, read_all, send
from load import QUIET
from nodes import Node, wait_until
from samples import many

SETTINGS = {"metadata.log.max.record.bytes.between.snapshots": "3000", "metadata.max.retention.bytes": "6000"}


def log_directory(node: Node):
    return node.data / "__cluster_metadata-0"


def snapshots(node: Node) -> list[int]:
    """The end offsets of the snapshots that the node has, oldest first."""
    return sorted(int(path.name[:20]) for path in log_directory(node).glob("*.checkpoint") if path.name[0].isdigit())


def topics(node: Node) -> set[str]:
    """As this node knows them."""
    found = AdminClient({"bootstrap.servers": node.address, **QUIET}).list_topics(timeout=10).topics
    return {topic for topic in found if not topic.startswith("__")}


@pytest.mark.parametrize("size, controllers", [(3, 0), (2, 1)])
def test_a_node_that_fell_behind_the_log_gets_a_snapshot(size, controllers):
    with Cluster(size, controllers=controllers, proxied=False, settings=SETTINGS) as cluster:
        cluster.create("before", 3)
        leader = cluster.controller()
        behind = next(node for node in cluster.brokers if node is not leader)
        assert behind.stop() == 0
        end = martlet_json(cluster, "quorum", "status")["highWatermark"]
        rest = [node for node in cluster.nodes if node is not behind]

        # A log is cut up to its oldest snapshot whenever an older one is removed.
        number, first = 0, {}
        while not all(snapshots(node) and snapshots(node)[0] > max(end, first.get(node, 0)) for node in rest):
            assert number < 120, {node: snapshots(node) for node in rest}
            cluster.create(f"away-{number}", 3, 2 if size > 2 else 1)
            number += 1
            for node in rest:
                first[node] = first.get(node) or min(snapshots(node), default=0)
        assert "metadata snapshot loaded" not in behind.log()
        assert max(snapshots(behind), default=0) <= end

        behind.start().wait_ready()
        cluster.wait_whole()
        assert "metadata snapshot loaded" in behind.log()
        assert snapshots(behind)[0] > end and not list(log_directory(behind).glob("*.part"))

        # It serves what came about while it was away, and follows what comes.
        cluster.create("after", 3)
        send(producer(cluster.bootstrap, acks="all"), "after", many(300))
        assert len(read_all(behind.address, "after", 3)) == 300
        assert len(topics(behind)) == number + 2
        if behind.is_controller:
            # With another one gone it is needed for a majority, and may lead.
            leader.kill()
            wait_until(lambda: cluster.controller() is not leader, "another controller leads", 30)
            wait_until(lambda: leader.number not in cluster.admin().list_topics(timeout=5).brokers, "the dead one is fenced", 30)
            cluster.create("majority", 3, 2)
        # And it goes on from its own files.
        behind.kill()
        behind.start().wait_ready()
        assert behind.log().count("metadata snapshot loaded") == 1
