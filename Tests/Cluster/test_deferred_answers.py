"""One connection's produce requests with acks=all do not wait for one another: the leader appends what comes while replicas lag. Those of
idempotent producers do, for a broker that has started again knows the last batch of each producer only."""

from contextlib import contextmanager

import pytest
from confluent_kafka import Producer

from clusters import Cluster
from load import QUIET
from nodes import wait_until

IN_FLIGHT = 5


@pytest.fixture(scope="module")
def cluster():
    with Cluster(3, controllers=1, proxied=False) as cluster:
        yield cluster


class OneRecordARequest:
    """A producer that has `IN_FLIGHT` requests on their way to one broker at a time, of one record each."""

    def __init__(self, cluster, topic, **settings):
        self.topic, self.delivered = topic, []
        self.producer = Producer({
            "bootstrap.servers": cluster.bootstrap, "acks": "all", "linger.ms": 0, "batch.num.messages": 1,
            "max.in.flight.requests.per.connection": IN_FLIGHT, **QUIET, **settings,
        })
        self.send("first")
        assert self.producer.flush(30) == 0

    def send(self, value: str) -> None:
        self.producer.produce(self.topic, value, partition=0, on_delivery=lambda error, m: self.delivered.append((error, m.offset(), m.value())))

    def finish(self, count: int) -> None:
        assert self.producer.flush(60) == 0
        assert self.delivered[1:] == [(None, number + 1, str(number).encode()) for number in range(count)]


@contextmanager
def requests_on_their_way(cluster, producer, appended: int):
    """While one of the leader's followers is paused, and the leader has appended so many records."""
    leader = cluster.leader(producer.topic, 0)
    lagging = next(node for node in cluster.brokers if node is not leader)
    lagging.pause()
    try:
        for number in range(IN_FLIGHT):
            producer.send(str(number))
        wait_until(lambda: leader.log_end(producer.topic) == appended, f"the leader has appended {appended} records", 8, 0.05)
        yield
    finally:
        lagging.resume()


def test_records_are_appended_while_earlier_ones_wait_for_a_replica(cluster):
    topic = "appended"
    cluster.create(topic, 1)
    producer = OneRecordARequest(cluster, topic)
    with requests_on_their_way(cluster, producer, 1 + IN_FLIGHT):
        producer.producer.poll(0)
        assert len(producer.delivered) == 1, "nothing is acknowledged that one of the replicas in sync lacks"
    producer.finish(IN_FLIGHT)
    cluster.wait_whole()


def test_one_batch_of_an_idempotent_producer_waits_at_a_time(cluster):
    """And none is lost or repeated when all nodes die with it."""
    topic = "dies"
    cluster.create(topic, 1)
    producer = OneRecordARequest(cluster, topic, **{"enable.idempotence": True})
    with requests_on_their_way(cluster, producer, 2):
        for node in cluster.brokers:
            node.kill()
    cluster.start_nodes()
    producer.finish(IN_FLIGHT)
    cluster.wait_whole()
