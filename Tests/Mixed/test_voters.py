"""Voters of either program are added, moved to another port and removed while the other leads the quorum."""

import json

import pytest

from broker import free_port
from contents import fill
from kafka_nodes import KAFKA, MARTLET, kafka_release, kafka_tool, wait_until
from mixed_clusters import MixedCluster


def quorum(cluster) -> dict:
    return json.loads(cluster.martlet("quorum", "status", "--json"))


def voters(cluster) -> list[int]:
    return sorted(voter["nodeId"] for voter in quorum(cluster)["voters"])


def is_level(cluster) -> bool:
    found = quorum(cluster)
    return found["leaderId"] >= 0 and all(found["highWatermark"] - each["logEndOffset"] < 20 for each in found["voters"])


@pytest.fixture(scope="module", params=[KAFKA, MARTLET])
def cluster(request):
    """The first node leads and is the only voter; two more controllers follow, of the other program and of its own."""
    leader, other = request.param, MARTLET if request.param == KAFKA else KAFKA
    roles = ["broker,controller", "controller", "controller"]
    cluster = MixedCluster(leader, other, leader, roles=roles, dynamic=True)
    try:
        first, *others = cluster.nodes
        first.format("--standalone")
        for node in others:
            node.format("--no-initial-controllers")
        for node in cluster.nodes:
            node.start()
        for node in cluster.nodes:
            node.wait_ready()
        cluster.wait_whole()
        yield cluster
    finally:
        cluster.close()


def add(cluster, node, tool: str) -> None:
    """By Martlet's command or Kafka's tool, each with the configuration of the new voter."""
    wait_until(lambda: node.number in [each["nodeId"] for each in quorum(cluster)["observers"]], f"{node} follows", 30, pause=0.2)
    if tool == MARTLET:
        cluster.martlet("quorum", "add", "--config", node.properties)
    else:
        kafka_tool("metadata-quorum", "--bootstrap-server", cluster.bootstrap, "--command-config", node.properties, "add-controller")


def remove(cluster, node, tool: str) -> None:
    if tool == MARTLET:
        cluster.martlet("quorum", "remove", node.number, "--yes")
    else:
        directory = next(each["directoryId"] for each in quorum(cluster)["voters"] if each["nodeId"] == node.number)
        kafka_tool(
            "metadata-quorum", "--bootstrap-server", cluster.bootstrap, "remove-controller", "--controller-id", node.number,
            "--controller-directory-id", directory)


@pytest.mark.parametrize("tool", [MARTLET, KAFKA])
def test_voters_are_added_and_removed(cluster, tool):
    _, other, same = cluster.nodes
    assert voters(cluster) == [1]
    add(cluster, other, tool)
    assert voters(cluster) == [1, 2]
    wait_until(lambda: is_level(cluster), "the new voter has the log", 30, pause=0.2)
    add(cluster, same, tool)
    assert voters(cluster) == [1, 2, 3]
    cluster.create(f"voted-{tool}", 1)
    fill(cluster, f"voted-{tool}", "some", 5)
    remove(cluster, same, tool)
    remove(cluster, other, tool)
    assert voters(cluster) == [1]
    cluster.create(f"later-{tool}", 1)


def test_a_voter_that_moves_tells_the_leader(cluster):
    """Its new endpoint goes into the log by UpdateRaftVoter, so that the others find it."""
    first, other, _ = cluster.nodes
    if other.program == KAFKA and kafka_release().startswith("3."):
        pytest.skip("Kafka 3.9 tells only if no fetch is under way in the moment in which it looks, every few seconds; mended in 4.1")
    add(cluster, other, MARTLET)
    assert other.stop() == 0
    former = other.ports["CONTROLLER"]
    other.ports["CONTROLLER"] = other.published["CONTROLLER"] = port = free_port()
    other.properties.write_text(other.properties.read_text().replace(
        f"listeners=CONTROLLER://127.0.0.1:{former}", f"listeners=CONTROLLER://127.0.0.1:{port}"))
    other.start().wait_ready()
    wait_until(lambda: f"{port}" in described(cluster) and f"{former}" not in described(cluster), "the leader knows the port", 60, 0.5)
    wait_until(lambda: is_level(cluster), "the voter has the log", 30, pause=0.2)
    # It can also lead: the other asks for votes at the new port.
    assert first.stop() == 0
    first.start().wait_ready()
    cluster.wait_whole()
    wait_until(lambda: is_level(cluster), "all have the log", 60, pause=0.2)
    cluster.create("moved", 1)


def described(cluster) -> str:
    return kafka_tool("metadata-quorum", "--bootstrap-server", cluster.bootstrap, "describe", "--status")
