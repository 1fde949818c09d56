"""Compaction between real processes: every replica cleans its own log, followers copy logs with gaps, and no node's end changes the table."""

import time

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from clusters import Cluster
from load import QUIET
from nodes import wait_until

TOPIC = "table"
COMPACTED = {"cleanup.policy": "compact", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.01"}
SETTINGS = {"log.cleaner.backoff.ms": "100", "log.initial.task.delay.ms": "100", "log.segment.delete.delay.ms": "0"}
KEYS = 50


class Table:
    """What is written, and when: by timestamps that close a segment every twenty records."""

    def __init__(self, cluster):
        self.cluster, self.values, self.number = cluster, {}, 0
        self.now = int(time.time() * 1000) - 3_500_000

    def write(self, count: int) -> None:
        failures = []
        producer = Producer({
            **QUIET, "bootstrap.servers": self.cluster.bootstrap, "acks": "all", "enable.idempotence": True, "batch.num.messages": 10})
        for _ in range(count):
            self.number += 1
            self.now += 50
            key, value = f"k{self.number * 7 % KEYS}", None if self.number % 11 == 0 else f"v{self.number}"
            self.values[key] = value
            producer.produce(
                TOPIC, key=key, value=value, partition=0, timestamp=self.now,
                on_delivery=lambda error, _: failures.append(str(error)) if error else None)
        assert producer.flush(180) == 0 and not failures, failures[:3]

    def check(self) -> int:
        """Reads the topic and compares; returns how many records are left."""
        consumer = Consumer({
            **QUIET, "bootstrap.servers": self.cluster.bootstrap, "group.id": "none", "enable.auto.commit": False,
            "enable.partition.eof": True, "auto.offset.reset": "error"})
        consumer.assign([TopicPartition(TOPIC, 0, 0)])
        found, count, offset, deadline = {}, 0, -1, time.monotonic() + 60
        while True:
            assert time.monotonic() < deadline, "the end of the table was not reached"
            message = consumer.poll(1)
            if message is None:
                continue
            if message.error():
                assert message.error().code() == KafkaError._PARTITION_EOF, str(message.error())
                break
            assert message.offset() > offset
            offset, count = message.offset(), count + 1
            found[message.key().decode()] = message.value() and message.value().decode()
        consumer.close()
        assert {key: value for key, value in found.items() if value} == {key: value for key, value in self.values.items() if value}
        return count

    def wait_compacted(self) -> None:
        for node in self.cluster.nodes:
            wait_until(lambda: self.cleaned(node) > self.number - 60, f"{node} has cleaned its replica", 60)
        wait_until(lambda: self.check() < 3 * KEYS, "the table is small", 60, pause=0.3)

    @staticmethod
    def cleaned(node) -> int:
        path = node.data / "cleaner-offset-checkpoint"
        lines = path.read_text().splitlines() if path.exists() else []
        return next((int(line.split()[2]) for line in lines if line.startswith(f"{TOPIC} 0 ")), 0)


def test_every_replica_is_cleaned_and_any_may_end():
    with Cluster(3, proxied=False, settings=SETTINGS) as cluster:
        cluster.create(TOPIC, 1, **COMPACTED)
        table = Table(cluster)
        table.write(2000)
        table.wait_compacted()
        for ending in ("kill", "stop", "kill"):
            leader = cluster.leader(TOPIC, 0)
            leader.kill() if ending == "kill" else leader.stop()
            table.write(1000)
            table.check()
            leader.start().wait_ready()
            cluster.wait_whole()
            table.wait_compacted()
        # A replica that begins anew copies what the others have compacted.
        follower = next(node for node in cluster.nodes if node is not cluster.leader(TOPIC, 0))
        follower.stop()
        for path in sorted((follower.data / f"{TOPIC}-0").iterdir()):
            if path.name != "partition.metadata":
                path.unlink()
        follower.start().wait_ready()
        cluster.wait_whole()
        ends = [node.log_end(TOPIC) for node in cluster.nodes]
        assert len(set(ends)) == 1, ends
        for node in cluster.nodes:
            if node is not follower:
                node.stop()
                break
        table.check()
