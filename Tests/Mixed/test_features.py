"""What either program has finalised is honoured by the other: an older metadata.version, its upgrade while both serve, eligible leader
replicas, and a cluster with everything that Apache Kafka turns on by default."""

import json
import re

import pytest

from broker import wait_until
from contents import Contents, fill
from kafka_nodes import KAFKA, MARTLET, kafka_tool
from mixed_clusters import MixedCluster

ROLES = ["broker,controller", "broker"]


def features(cluster, node) -> dict[str, int]:
    """As a broker tells it."""
    told = kafka_tool("features", "--bootstrap-server", node.address, "describe")
    return {name: level for name, level in re.findall(r"Feature: (\S+).*FinalizedVersionLevel: (\S+)", told)}


@pytest.mark.parametrize("programs", [(KAFKA, MARTLET), (MARTLET, KAFKA)], ids=["kafka-controls", "martlet-controls"])
def test_an_older_metadata_version_is_kept_and_raised(programs):
    cluster = MixedCluster(*programs, roles=ROLES, dynamic=True)
    try:
        first, second = cluster.nodes
        first.format("--standalone", "--release-version", "3.9")
        second.format()
        for node in cluster.nodes:
            node.start()
        for node in cluster.nodes:
            node.wait_ready()
        cluster.wait_whole()
        for node in cluster.nodes:
            assert features(cluster, node)["metadata.version"].startswith("3.9-IV0"), features(cluster, node)
        cluster.create("older", 2)
        fill(cluster, "older", "some", 10)
        cluster.wait_whole()
        second.stop()
        second.start().wait_ready()
        cluster.wait_whole()
        before = Contents(cluster, ["older"], [])
        # As far as both go.
        level = min(supported(cluster, node, "metadata.version") for node in cluster.nodes)
        cluster.martlet("cluster", "features", "--set", f"metadata.version={level}")
        wait_until(lambda: len({features(cluster, node)["metadata.version"] for node in cluster.nodes}) == 1, "both know", 30, 0.5)
        assert not before.differences(Contents(cluster, ["older"], []))
        cluster.create("newer", 2)
        fill(cluster, "newer", "some", 10)
        for node in reversed(cluster.nodes):
            assert node.stop() == 0
            node.start().wait_ready()
        cluster.wait_whole()
        assert not before.differences(Contents(cluster, ["older"], []))
    finally:
        cluster.close()


def supported(cluster, node, name: str) -> int:
    told = json.loads(cluster.martlet("cluster", "features", "--json", "-b", node.address))
    return next(each["maxSupportedLevel"] for each in told if each["feature"] == name)


@pytest.mark.parametrize("programs", [(KAFKA, MARTLET, KAFKA), (MARTLET, KAFKA, MARTLET)], ids=["kafka-controls", "martlet-controls"])
def test_eligible_leaders_are_told_by_both(programs):
    roles = ["broker,controller", "broker", "broker"]
    with MixedCluster(*programs, roles=roles, settings={"min.insync.replicas": "2"}) as cluster:
        if features(cluster, cluster.node(1)).get("eligible.leader.replicas.version") != "1":
            pytest.skip("this Apache Kafka has no eligible leader replicas")
        cluster.create("eligible", 1, copies=3)
        cluster.martlet("partition", "reassign", "eligible:0", "--replicas", "1,2,3")
        cluster.martlet("partition", "elect", "eligible:0")
        fill(cluster, "eligible", "some", 10)
        cluster.wait_whole()
        cluster.node(3).kill()
        wait_until(lambda: len(cluster.partitions("eligible")[0].isrs) == 2, "3 is out", 40)
        cluster.node(2).kill()
        wait_until(lambda: cluster.partitions("eligible")[0].isrs == [1], "2 is out", 40)
        told = kafka_tool("topics", "--bootstrap-server", cluster.node(1).address, "--describe", "--topic", "eligible")
        assert re.search(r"Isr: 1\s+Elr: 2\b", told), told
        cluster.node(2).start().wait_ready()
        cluster.node(3).start().wait_ready()
        cluster.wait_whole()

        def descriptions():
            return [
                kafka_tool("topics", "--bootstrap-server", node.address, "--describe", "--topic", "eligible") for node in cluster.nodes]

        wait_until(lambda: len({_partitions(each) for each in descriptions()}) == 1, "all tell the same", 20, pause=0.5)
        assert re.search(r"Elr:\s+(LastKnownElr|N/A|$)", descriptions()[1], re.MULTILINE), descriptions()[1]


def _partitions(description: str) -> str:
    return "\n".join(sorted(line.strip() for line in description.splitlines() if "Partition: " in line))
