"""Two clusters of three, for tests of transactions over links: single brokers of the source can be cut off."""

import pytest

from commands import martlet
from links import destination_cluster, source_cluster


@pytest.fixture(scope="module")
def source():
    with source_cluster(3, proxied=True, settings={"transaction.state.log.num.partitions": "3"}) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def destination(source):
    with destination_cluster(3) as cluster:
        yield cluster


def start_again(cluster) -> None:
    """Nodes that were killed run again, all replicas are in sync, and not everything is led by the node that was there first."""
    for node in cluster.nodes:
        if not node.is_running:
            node.start()
    for node in cluster.nodes:
        node.wait_ready(60)
    cluster.wait_whole()
    martlet(cluster, "partition", "elect", "--all", "--yes")
