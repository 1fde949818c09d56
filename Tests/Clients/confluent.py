"""Short ways of saying what the confluent-kafka tests do all the time."""

import time

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition


def producer(bootstrap: str, **settings) -> Producer:
    return Producer({"bootstrap.servers": bootstrap, **dotted(settings)})


def consumer(bootstrap: str, group: str = "unused", **settings) -> Consumer:
    defaults = {"auto.offset.reset": "earliest", "enable.auto.commit": False, "enable.partition.eof": False}
    return Consumer({"bootstrap.servers": bootstrap, "group.id": group, **defaults, **dotted(settings)})


def dotted(settings: dict) -> dict:
    return {key.replace("_", "."): value for key, value in settings.items()}


def send(sender: Producer, topic: str, values, partition: int | None = None, **options) -> list:
    """Produces all values, waits, and returns the messages in the order they were sent; an error fails the test."""
    delivered, errors = [], []

    def report(error, message):
        errors.append(error) if error else delivered.append(message)

    where = {} if partition is None else {"partition": partition}
    for value in values:
        while True:
            try:
                sender.produce(topic, value=value, on_delivery=report, **where, **options)
                break
            except BufferError:
                sender.poll(0.1)
    left = sender.flush(60)
    assert not errors, f"delivery failed: {errors[0]}"
    assert left == 0, f"{left} records were not delivered within a minute"
    return delivered


def take(reader: Consumer, count: int, seconds: float = 30) -> list:
    """Polls until `count` messages are there."""
    taken = []
    deadline = time.monotonic() + seconds
    while len(taken) < count:
        assert time.monotonic() < deadline, f"only {len(taken)} of {count} messages within {seconds} s"
        for message in reader.consume(min(count - len(taken), 1000), timeout=0.5):
            error = message.error()
            if error and error.code() == KafkaError._PARTITION_EOF:
                continue
            assert not error, str(error)
            taken.append(message)
    return taken


def join(reader: Consumer, partitions: int, seconds: float = 45) -> list:
    """Polls until the reader has that many partitions assigned; returns the messages that came meanwhile."""
    messages = []
    deadline = time.monotonic() + seconds
    while len(reader.assignment()) != partitions:
        assert time.monotonic() < deadline, f"{len(reader.assignment())} of {partitions} partitions within {seconds} s"
        messages += [message for message in reader.consume(100, timeout=0.1) if not message.error()]
    return messages


def read_all(bootstrap: str, topic: str, partitions: int = 1, **settings) -> list:
    """Every message of the topic's partitions from their beginnings to the ends they have now."""
    reader = consumer(bootstrap, **settings)
    try:
        count, assignment = 0, []
        for partition in range(partitions):
            low, high = reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
            count += high - low
            assignment.append(TopicPartition(topic, partition, low))
        reader.assign(assignment)
        return take(reader, count, 60)
    finally:
        reader.close()
