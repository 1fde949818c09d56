"""A process that reads records, processes them and writes what comes out, each batch in a transaction with the offsets of what it read.

    pipeline.py BOOTSTRAP SOURCE TARGET GROUP TRANSACTIONAL_ID

It runs until it is killed, and ends by itself when its producer has been fenced or does not get on. The latter is for librdkafka 2.16: a
broker that left the metadata while it was a group's cached coordinator is taken down by it, and TxnOffsetCommit then waits for that one for
ever, whatever timeout was given."""

import os
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from load import QUIET


class Watchdog:
    """Ends the process when one transaction takes longer than any fault here explains: calls of librdkafka may not come back at all."""

    SECONDS = 25

    def __init__(self):
        self.began = None
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        while True:
            began = self.began
            if began is not None and time.monotonic() - began > self.SECONDS:
                print("a transaction does not end: starting again", flush=True)
                os._exit(4)
            time.sleep(0.5)

    def __enter__(self):
        self.began = time.monotonic()

    def __exit__(self, *_):
        self.began = None


def main(bootstrap: str, source: str, target: str, group: str, transactional_id: str) -> int:
    reader = Consumer({
        **QUIET, "bootstrap.servers": bootstrap, "group.id": group, "isolation.level": "read_committed", "enable.auto.commit": False,
        "auto.offset.reset": "earliest", "session.timeout.ms": 6000, "partition.assignment.strategy": "cooperative-sticky",
    })
    writer = Producer({
        **QUIET, "bootstrap.servers": bootstrap, "transactional.id": transactional_id, "transaction.timeout.ms": 15_000, "linger.ms": 5,
        "retry.backoff.ms": 50,
    })
    if not attempt(lambda: writer.init_transactions(60)):
        return 2
    reader.subscribe([source])
    watchdog = Watchdog()
    while True:
        messages = [message for message in reader.consume(50, timeout=0.3) if message.error() is None]
        if not messages:
            continue
        with watchdog:
            if process(reader, writer, target, messages):
                continue
            # The others need not wait for this member's session to end.
            reader.close()
            return 3


def attempt(work, seconds: float = 60) -> bool:
    """Repeats what may be repeated; false when this producer is at its end."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            work()
            return True
        except KafkaException as error:
            cause = error.args[0]
            if cause.fatal():
                print(f"fatal: {cause}", flush=True)
                return False
            if cause.txn_requires_abort():
                raise
            if not cause.retriable() or time.monotonic() > deadline:
                print(f"giving up: {cause}", flush=True)
                return False


def process(reader, writer, target, messages) -> bool:
    """One batch as one transaction. After an abort the batch is read again."""
    try:
        writer.begin_transaction()
        for message in messages:
            writer.produce(target, key=message.key(), value=b"processed " + message.value(), partition=message.partition())
        ends = {}
        for message in messages:
            ends[message.partition()] = message.offset() + 1
        offsets = [TopicPartition(messages[0].topic(), partition, end) for partition, end in ends.items()]
        if not attempt(lambda: writer.send_offsets_to_transaction(offsets, reader.consumer_group_metadata(), 8), 10):
            return False
        return attempt(lambda: writer.commit_transaction(60))
    except KafkaException as error:
        cause = error.args[0]
        if cause.fatal() or not cause.txn_requires_abort():
            print(f"ended by: {cause}", flush=True)
            return False
        print(f"aborting: {cause}", flush=True)
        if not attempt(lambda: writer.abort_transaction(60)):
            return False
    return rewind(reader)


def rewind(reader) -> bool:
    """Back to what is committed: the batch was aborted. False when that cannot be done: another start begins there anyway."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            for found in reader.committed(reader.assignment(), timeout=20):
                reader.seek(TopicPartition(found.topic, found.partition, found.offset if found.offset >= 0 else 0))
            return True
        except KafkaException as error:
            # A partition that is being given away cannot be sought in; the next look does not find it any more.
            print(f"rewinding again: {error}", flush=True)
            time.sleep(0.2)
    return False


if __name__ == "__main__":
    # Not by way of librdkafka's own end, which would wait for that broker too.
    os._exit(main(*sys.argv[1:]))
