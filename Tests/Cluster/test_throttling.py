"""Throttled replication between real processes (KIP-73): copying takes as long as its rate says, and replicas in sync are left alone."""

import json
import subprocess
import time

import pytest
from confluent_kafka import Producer

from broker import binary
from clusters import Cluster
from load import QUIET
from nodes import wait_until

MEGABYTE = 1 << 20
RATE = 4 * MEGABYTE
# One answer to a fetch, which may overshoot: replica.fetch.response.max.bytes.
OVERSHOOT = 4 * MEGABYTE


@pytest.fixture(scope="module")
def cluster():
    with Cluster(3, proxied=False, settings={"replica.fetch.response.max.bytes": str(OVERSHOOT)}) as cluster:
        yield cluster


def martlet(cluster: Cluster, *arguments) -> str:
    done = subprocess.run(
        [str(binary()), *map(str, arguments), "-b", cluster.bootstrap], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def fill(cluster: Cluster, topic: str, partitions: int, megabytes: int) -> None:
    failures = []
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "compression.type": "none", **QUIET})
    value = bytes(100_000)
    for number in range(megabytes * MEGABYTE // len(value)):
        producer.produce(
            topic, value, partition=number % partitions, on_delivery=lambda error, _: failures.append(error) if error else None)
        producer.poll(0)
        if len(producer) > 200:
            producer.flush(60)
    assert producer.flush(60) == 0 and not failures


def move_seconds(cluster: Cluster, topic: str, *arguments) -> float:
    """Moves all of the topic to the brokers that hold nothing of it."""
    held = {number for partition in cluster.partitions(topic).values() for number in partition.replicas}
    target = next(node.number for node in cluster.nodes if node.number not in held)
    began = time.monotonic()
    martlet(cluster, "partition", "reassign", topic, "--brokers", target, *arguments)
    seconds = time.monotonic() - began
    assert all(partition.replicas == [target] for partition in cluster.partitions(topic).values())
    return seconds


def test_a_reassignment_takes_as_long_as_its_throttle_says(cluster):
    megabytes = 32
    cluster.create("heavy", 2, 1)
    first = cluster.partitions("heavy")
    if first[0].leader != first[1].leader:
        martlet(cluster, "partition", "reassign", "heavy", "--brokers", first[0].leader)
    fill(cluster, "heavy", 2, megabytes)
    free = move_seconds(cluster, "heavy")
    throttled = move_seconds(cluster, "heavy", "--throttle", RATE)
    least = (megabytes * MEGABYTE - OVERSHOOT) / RATE
    print(f"{free:.1f} s without a throttle, {throttled:.1f} s with one, at least {least:.1f} s expected")
    assert throttled >= least and throttled > 2 * free, (free, throttled)
    # Not held back for ever either.
    assert throttled < 4 * least + free, (free, throttled)
    assert json.loads(martlet(cluster, "partition", "throttle", "--json"))["topics"] == []


def test_replicas_in_sync_are_not_throttled(cluster):
    cluster.create("in-sync", 1, 3)
    martlet(cluster, "partition", "throttle", "in-sync", "--rate", 50_000)
    try:
        began = time.monotonic()
        fill(cluster, "in-sync", 1, 8)
        seconds = time.monotonic() - began
        # At the rate of the throttle it would take minutes, and with acks=all the producer would wait as long.
        assert seconds < 60, seconds
        assert len(cluster.partitions("in-sync")[0].isrs) == 3
    finally:
        martlet(cluster, "partition", "throttle", "--off")


def test_a_follower_that_comes_back_is_throttled_until_the_limit_is_lifted(cluster):
    cluster.create("catching-up", 1, 3)
    leader = cluster.leader("catching-up", 0)
    follower = next(node for node in cluster.nodes if node is not leader)
    follower.kill()
    wait_until(lambda: len(cluster.partitions("catching-up")[0].isrs) == 2, "the dead follower is out", 30)
    fill(cluster, "catching-up", 1, 16)
    martlet(cluster, "partition", "throttle", "catching-up", "--rate", 100_000)
    follower.start().wait_ready()
    wait_until(lambda: f"registered with the controller" in follower.log(), "it is back")
    # At 100 kB/s it needs some two minutes after the first answer.
    time_is_over = time.monotonic() + 8
    while time.monotonic() < time_is_over:
        assert follower.number not in cluster.partitions("catching-up")[0].isrs
        time.sleep(0.2)
    martlet(cluster, "partition", "throttle", "--off")
    wait_until(lambda: follower.number in cluster.partitions("catching-up")[0].isrs, "it has caught up", 30)
