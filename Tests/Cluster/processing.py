"""Applications that read one topic, write to another, and commit both in one transaction; and what has to be true of them on a mirror."""

import threading

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from nodes import wait_until
from transactional import read_to_end
from workload import Worker


class Processing(Worker):
    """Reads partition 0 of a topic as a group and writes each record's offset to another topic, a few to a transaction."""

    def __init__(self, bootstrap: str, group: str, reads: str, writes: str, at_once: int = 3):
        super().__init__()
        self.at_once = at_once
        self.bootstrap, self.group, self.reads, self.writes = bootstrap, group, reads, writes
        self.committed = 0
        self.source_is_gone = threading.Event()

    def work(self):
        while not self.stopping.is_set():
            try:
                self._run()
            except KafkaException:
                if self.source_is_gone.is_set():
                    return

    def _run(self):
        consumer = Consumer({
            "bootstrap.servers": self.bootstrap, "group.id": self.group, "isolation.level": "read_committed", "enable.auto.commit": False,
            "auto.offset.reset": "earliest", "log_level": 0})
        try:
            producer = Producer({
                "bootstrap.servers": self.bootstrap, "transactional.id": self.group, "transaction.timeout.ms": 60_000,
                "socket.timeout.ms": 5_000, "log_level": 0})
            producer.init_transactions(30)
            [found] = consumer.committed([TopicPartition(self.reads, 0)], 30)
            consumer.assign([TopicPartition(self.reads, 0, max(found.offset, 0))])
            while not self.stopping.is_set():
                messages = [each for each in consumer.consume(self.at_once, timeout=0.2) if not each.error()]
                if not messages:
                    continue
                producer.begin_transaction()
                for message in messages:
                    producer.produce(self.writes, value=str(message.offset()), partition=0)
                ends = [TopicPartition(self.reads, 0, messages[-1].offset() + 1)]
                producer.send_offsets_to_transaction(ends, consumer.consumer_group_metadata(), 30)
                if self.committed % 7 == 6:
                    producer.abort_transaction(30)
                    consumer.seek(TopicPartition(self.reads, 0, messages[0].offset()))
                else:
                    producer.commit_transaction(30)
                self.committed += 1
        finally:
            consumer.close()


def committed(bootstrap: str, group: str, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "log_level": 0})

    def found():
        try:
            return consumer.committed([TopicPartition(topic, 0)], 30)
        except KafkaException as error:
            # Groups have no coordinator before there are any.
            if error.args[0].code() in (KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS):
                return None
            raise

    try:
        return wait_until(found, f"group {group} has a coordinator", 60, 0.1)[0].offset
    finally:
        consumer.close()


def judge(bootstrap: str, group: str, reads: str, writes: str) -> int:
    """What a group goes on with is what has been written for what it has read: nothing is left out, nothing is done twice. Returns where."""
    written = [int(value) for value in read_to_end(bootstrap, writes)]
    assert written == list(range(len(written))), f"{writes} has records twice or not at all"
    end = committed(bootstrap, group, reads)
    held = len(read_to_end(bootstrap, reads, "read_uncommitted"))
    assert end == min(len(written), held), f"{group} goes on at {end}; done is {len(written)}, and {held} are there"
    return end
