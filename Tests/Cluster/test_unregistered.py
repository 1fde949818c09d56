"""UnregisterBroker for a broker that runs: it was meant for another one, or came too early. The broker registers again and serves."""

import pytest

from broker import Broker, wait_until
from clusters import Cluster
from commands import martlet, martlet_json, unregister
from confluent import producer, read_all, send
from samples import many
from topics import create


@pytest.fixture(scope="module")
def cluster():
    with Cluster(3, proxied=False) as cluster:
        yield cluster


def test_a_node_that_stands_alone():
    with Broker() as broker:
        create(broker.bootstrap, "kept", 2)
        send(producer(broker.bootstrap), "kept", many(500), partition=0)
        for round in range(2):
            before = broker.log().count("registered with the controller")
            assert unregister(broker.bootstrap, 1) == 0
            wait_until(lambda: broker.log().count("registered with the controller") > before, "it registers again", 10)
            send(producer(broker.bootstrap, message_timeout_ms=20_000), "kept", many(500), partition=0)
            assert len(read_all(broker.bootstrap, "kept")) == 500 * (round + 2)
            create(broker.bootstrap, f"new-{round}", 1)
        # What it says of itself after a restart fits too.
        broker.kill()
        broker.start()
        assert len(read_all(broker.bootstrap, "kept")) == 1500
        assert broker.stop() == 0


@pytest.mark.parametrize("is_controller", [True, False])
def test_a_node_of_three(cluster, is_controller):
    topic = f"kept-{is_controller}"
    cluster.create(topic, 6)
    cluster.wait_whole()
    send(producer(cluster.bootstrap, acks="all"), topic, many(600))
    controller = cluster.controller()
    node = next(node for node in cluster.nodes if (node is controller) == is_controller)
    assert unregister(cluster.bootstrap, node.number) == 0
    wait_until(lambda: "this broker was unregistered while it runs" in node.log(), "it notices", 10)
    cluster.wait_whole(30)
    states = {each["id"]: each["state"] for each in martlet_json(cluster, "broker", "list")}
    assert states == {1: "alive", 2: "alive", 3: "alive"}
    sender = producer(cluster.bootstrap, acks="all", message_timeout_ms=20_000)
    for partition in range(6):
        send(sender, topic, many(10), partition=partition)
    assert len(read_all(cluster.bootstrap, topic, 6)) == 660
    martlet(cluster, "partition", "elect", topic)
    wait_until(lambda: {each.leader for each in cluster.partitions(topic).values()} == {1, 2, 3}, "it leads again", 20)
    assert node.stop() == 0
    node.start().wait_ready()
    cluster.wait_whole()
