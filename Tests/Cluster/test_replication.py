"""Replication between real processes: what is acknowledged by all replicas survives any one of them."""

import time

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from clusters import Cluster
from load import QUIET
from nodes import wait_until


@pytest.fixture(scope="module")
def cluster():
    with Cluster(3, proxied=False) as cluster:
        yield cluster


def produce(cluster, topic, values, **config):
    failures = []
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "enable.idempotence": True, **QUIET, **config})
    for value in values:
        producer.produce(topic, value, partition=0, on_delivery=lambda error, _: failures.append(error) if error else None)
    left = producer.flush(60)
    assert left == 0 and not failures, (left, failures[:3])


def consume(cluster, topic, count, seconds=30, **config):
    consumer = Consumer({
        "bootstrap.servers": cluster.bootstrap, "group.id": "none", "auto.offset.reset": "earliest", "enable.auto.commit": False,
        **QUIET, **config})
    consumer.assign([TopicPartition(topic, 0, 0)])
    values, deadline = [], time.monotonic() + seconds
    while len(values) < count and time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            values.append(message.value().decode())
    consumer.close()
    return values


def test_acknowledged_records_survive_the_leader(cluster):
    cluster.create("survives", 1)
    first = [f"a{number}" for number in range(500)]
    produce(cluster, "survives", first)
    leader = cluster.leader("survives", 0)
    leader.kill()
    began = time.monotonic()
    second = [f"b{number}" for number in range(500)]
    produce(cluster, "survives", second)
    print(f"went on after {time.monotonic() - began:.2f} s")
    assert consume(cluster, "survives", 1000) == first + second
    leader.start().wait_ready()
    cluster.wait_whole()
    produce(cluster, "survives", ["c"])
    others = [node for node in cluster.nodes if node is not leader]
    assert consume(cluster, "survives", 1001) == first + second + ["c"]
    assert others


def test_a_dead_leader_is_missed_by_its_sockets(cluster):
    """Not by the end of its session, which lasts 9 s. What remains are the pauses that librdkafka makes between its questions."""
    cluster.create("missed", 1)
    gaps = []
    for number in range(8):
        produce(cluster, "missed", [f"before-{number}"])
        leader = cluster.leader("missed", 0)
        began = time.monotonic()
        leader.kill()
        wait_until(lambda: cluster.partitions("missed")[0].leader not in (-1, leader.number), "another one leads", 30, 0.02)
        gaps.append(time.monotonic() - began)
        produce(cluster, "missed", [f"after-{number}"])
        leader.start().wait_ready()
        cluster.wait_whole()
    print(f"another one led after {[f'{gap:.2f}' for gap in gaps]} s")
    assert max(gaps) < 5, gaps


def test_consumers_read_from_a_follower_in_their_rack():
    settings = {"replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector"}
    with Cluster(3, proxied=False, settings=settings) as cluster:
        cluster.create("near", 1)
        values = [f"v{number}" for number in range(100)]
        produce(cluster, "near", values)
        leader = cluster.leader("near", 0)
        other = next(node for node in cluster.nodes if node is not leader)
        assert consume(cluster, "near", 100, **{"client.rack": other.zone}) == values


def test_too_few_replicas_refuse_acks_all(cluster):
    cluster.create("strict", 1, **{"min.insync.replicas": "3"})
    produce(cluster, "strict", ["a"])
    follower = next(node for node in cluster.nodes if node is not cluster.leader("strict", 0))
    follower.kill()
    wait_until(lambda: len(cluster.partitions("strict")[0].isrs) == 2, "the dead follower is out", 30)
    with pytest.raises(AssertionError):
        produce(cluster, "strict", ["b"], **{"message.timeout.ms": 2000})
    follower.start().wait_ready()
    cluster.wait_whole()
    produce(cluster, "strict", ["c"])


def delete_before(cluster, topic, offset, seconds):
    """Returns how far every live replica is by the answer."""
    admin = cluster.admin()
    futures = admin.delete_records([TopicPartition(topic, 0, offset)], operation_timeout=seconds, request_timeout=seconds + 10)
    [future] = futures.values()
    return future.result(seconds + 10).low_watermark


def test_records_are_deleted_once_every_live_replica_has_deleted_them(cluster):
    cluster.create("deleted", 1)
    produce(cluster, "deleted", [f"{number}" for number in range(100)])
    assert delete_before(cluster, "deleted", 40, 20) == 40
    follower = next(node for node in cluster.nodes if node is not cluster.leader("deleted", 0) and node is not cluster.controller())
    follower.pause()
    try:
        # It counts until its session is over, after 9 s.
        with pytest.raises(KafkaException) as refused:
            delete_before(cluster, "deleted", 60, 3)
        assert refused.value.args[0].code() == KafkaError.REQUEST_TIMED_OUT
    finally:
        follower.resume()
    assert delete_before(cluster, "deleted", 60, 30) == 60
    # Who is down does not hold it up.
    cluster.wait_whole()
    follower.kill()
    assert delete_before(cluster, "deleted", 80, 30) == 80
    assert consume(cluster, "deleted", 20) == [f"{number}" for number in range(80, 100)]
    follower.start().wait_ready()
    cluster.wait_whole()
