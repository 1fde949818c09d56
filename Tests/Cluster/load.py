"""Clients that write down what they do: idempotent producers that wait for all in-sync replicas, readers assigned by hand, readers in
a group, one that asks for end offsets and one that commits. They run with librdkafka's defaults, as users do."""

import logging
import sys
import time
from functools import partial
from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from operations import FAILED, OK, UNKNOWN, Operation, Recorder

sys.path.append(str(Path(__file__).resolve().parents[1] / "Clients"))

from workload import Worker  # noqa: E402

# What librdkafka would print of each connection that a fault ends; log_level does not silence it.
QUIET = {"logger": logging.getLogger("librdkafka"), "log.connection.close": False}
QUIET["logger"].setLevel(logging.CRITICAL + 1)
QUIET["logger"].addHandler(logging.NullHandler())

# Errors after which a record surely is in no log. Everything else may have been written.
SURELY_NOT_WRITTEN = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError._PURGE_QUEUE, KafkaError.UNKNOWN_TOPIC_OR_PART}


class Writer(Worker):
    """Sends numbered values to all partitions in turn, at a pace, whatever happens to those before."""

    def __init__(self, name: str, bootstrap: str, topic: str, partitions: int, recorder: Recorder, rate: float, **settings):
        super().__init__()
        self.process, self.topic, self.partitions, self.recorder, self.rate = name, topic, partitions, recorder, rate
        self.errors: list[str] = []
        self.fatal: str | None = None
        self.sent = self.acknowledged = 0
        self.producer = Producer({
            **QUIET, "bootstrap.servers": bootstrap, "client.id": name, "enable.idempotence": True, "acks": "all",
            "message.timeout.ms": 300_000, "linger.ms": 5, "error_cb": self._error, **settings,
        })

    def _error(self, error):
        self.errors.append(error.str())
        if error.fatal():
            self.fatal = error.str()

    def work(self):
        began = time.monotonic()
        while not self.stopping.is_set():
            due = int((time.monotonic() - began) * self.rate)
            # After a long fault the pace goes on from here; nobody makes up for what was not sent.
            if due - self.sent > 10_000:
                began = time.monotonic() - self.sent / self.rate
            while self.sent < due and len(self.producer) < 50_000:
                self._send()
            self.producer.poll(0.005)
        left = self.producer.flush(120)
        assert left == 0, f"{left} records of {self.process} were neither acknowledged nor failed"

    def _send(self):
        partition = self.sent % self.partitions
        value = f"{self.process}:{self.sent}"
        operation = self.recorder.begin(self.process, sends=[(str(partition), None, value)])
        self.sent += 1
        self.producer.produce(self.topic, value=value, partition=partition, on_delivery=partial(self._delivered, operation))

    def _delivered(self, operation: Operation, error, message):
        if error is None:
            [(key, _, value)] = operation.sends
            operation.sends = [(key, message.offset(), value)]
            self.acknowledged += 1
            self.recorder.end(operation, OK)
        else:
            self.errors.append(error.str())
            self.recorder.end(operation, FAILED if error.code() in SURELY_NOT_WRITTEN else UNKNOWN)


class Reader(Worker):
    """Follows all partitions, or in a group those it is given."""

    def __init__(self, name: str, bootstrap: str, topic: str, partitions: int, recorder: Recorder, group: str | None = None):
        super().__init__()
        self.process, self.recorder, self.group = name, recorder, group
        self.rebalanced: set[str] = set()
        self.polled = 0
        self.consumer = Consumer({
            **QUIET, "bootstrap.servers": bootstrap, "client.id": name, "group.id": group or name, "enable.auto.commit": bool(group),
            "auto.offset.reset": "earliest", "session.timeout.ms": 10_000, "isolation.level": "read_committed",
        })
        if group:
            self.consumer.subscribe([topic], on_assign=self._rebalance, on_revoke=self._rebalance, on_lost=self._rebalance)
        else:
            self.consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)])

    def _rebalance(self, _, partitions):
        self.rebalanced.update(str(each.partition) for each in partitions)

    def work(self):
        while not self.stopping.is_set():
            started = time.monotonic()
            messages = [message for message in self.consumer.consume(500, timeout=0.1) if not message.error()]
            if not messages:
                continue
            operation = Operation(
                self.process, started, time.monotonic(), OK, subscribed=bool(self.group), rebalanced=sorted(self.rebalanced),
                polls=[(str(message.partition()), message.offset(), message.value().decode()) for message in messages])
            self.rebalanced.clear()
            self.polled += len(messages)
            with self.recorder.lock:
                self.recorder.operations.append(operation)
        self.consumer.close()


class EndWatcher(Worker):
    """Asks for the partitions' end offsets."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, recorder: Recorder):
        super().__init__()
        self.topic, self.partitions, self.recorder = topic, partitions, recorder
        self.consumer = Consumer({**QUIET, "bootstrap.servers": bootstrap, "client.id": "ends", "group.id": "ends"})

    def work(self):
        while not self.stopping.wait(0.2):
            for partition in range(self.partitions):
                operation = self.recorder.begin("ends")
                try:
                    _, end = self.consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=2)
                    operation.ends = [(str(partition), end)]
                    self.recorder.end(operation, OK)
                except KafkaException:
                    self.recorder.end(operation, FAILED)
        self.consumer.close()


class Committer(Worker):
    """Commits rising offsets of a group; remembers the last one that was confirmed."""

    def __init__(self, bootstrap: str, topic: str):
        super().__init__()
        self.topic, self.confirmed, self.tried = topic, 0, 0
        self.consumer = Consumer({**QUIET, "bootstrap.servers": bootstrap, "group.id": "committer", "enable.auto.commit": False})

    def work(self):
        while not self.stopping.wait(0.02):
            self.tried += 1
            try:
                [done] = self.consumer.commit(offsets=[TopicPartition(self.topic, 0, self.tried)], asynchronous=False)
                if done.error is None:
                    self.confirmed = self.tried
            except KafkaException:
                time.sleep(0.05)

    def verify(self, seconds: float = 60) -> str | None:
        """A sentence when a confirmed offset was lost."""
        [committed] = self.consumer.committed([TopicPartition(self.topic, 0)], timeout=seconds)
        self.consumer.close()
        if self.confirmed <= committed.offset <= self.tried or (self.confirmed == 0 and committed.offset < 0):
            return None
        return f"lost-commit: {self.confirmed} was confirmed, at most {self.tried} was tried, {committed.offset} is committed"


def read_everything(bootstrap: str, topic: str, partitions: int, recorder: Recorder, seconds: float = 120) -> int:
    """The final read: from the beginning of each partition to its end. Returns the number of records."""
    consumer = Consumer({
        **QUIET, "bootstrap.servers": bootstrap, "group.id": "final", "enable.auto.commit": False, "auto.offset.reset": "error",
        "isolation.level": "read_committed", "enable.partition.eof": True,
    })
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    # The end that a partition has once nobody writes any more; an end that is met before may be a follower's old one.
    ends = {partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=60)[1] for partition in range(partitions)}
    waiting = {partition for partition, end in ends.items() if end > 0}
    deadline = time.monotonic() + seconds
    count = 0
    while waiting:
        assert time.monotonic() < deadline, f"the final read did not come to the end of {sorted(waiting)}"
        operation = recorder.begin("final", final=True)
        for message in consumer.consume(1000, timeout=1):
            if message.error():
                if message.error().code() == KafkaError._PARTITION_EOF and message.offset() >= ends[message.partition()]:
                    waiting.discard(message.partition())
                continue
            operation.polls.append((str(message.partition()), message.offset(), message.value().decode()))
        count += len(operation.polls)
        recorder.end(operation, OK)
    consumer.close()
    return count
