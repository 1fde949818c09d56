"""What goes through mirrors, and an independent reader of MirrorMaker 2's internal topics."""

import http.client
import json
import struct
import threading
import time
from dataclasses import dataclass, field, replace

from confluent_kafka import OFFSET_BEGINNING, TIMESTAMP_CREATE_TIME, Consumer, Producer, TopicPartition

from load import QUIET
from nodes import wait_until

# Old records would fall to retention before anybody copied them.
EPOCH = int(time.time() * 1000) - 3_600_000


@dataclass(frozen=True)
class Row:
    """A record as a reader sees it, without its offset."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple
    timestamp: int


def send(bootstrap: str, topic: str, rows: list[Row], **settings) -> None:
    producer = Producer({**QUIET, "bootstrap.servers": bootstrap, "acks": "all", **settings})
    failures = []
    for row in rows:
        while True:
            try:
                producer.produce(
                    topic, value=row.value, key=row.key, partition=row.partition, headers=list(row.headers), timestamp=row.timestamp,
                    on_delivery=lambda error, _: error and failures.append(error))
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(60) == 0 and not failures, failures


def rows(count: int, partitions: int = 1, first: int = 0, size: int = 20) -> list[Row]:
    return [
        Row(
            number % partitions, f"k{number}".encode(), f"v{number}-".encode().ljust(size, b"x"),
            (("n", str(number).encode()), ("empty", None)) if number % 3 else (), EPOCH + number)
        for number in range(first, first + count)]


class Stream:
    """Writes numbered records to a topic in the background, in transactions of which every fourth is aborted if so wanted."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, transactional: bool = False, first: int = 0):
        self.first = first
        self.bootstrap, self.topic, self.partitions, self.transactional = bootstrap, topic, partitions, transactional
        self.expected = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._work)

    def __enter__(self) -> "Stream":
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.stopping.set()
        self.thread.join(60)
        assert not self.thread.is_alive()

    def _work(self) -> None:
        settings = {"transactional.id": f"{self.topic}-writer"} if self.transactional else {"acks": "all"}
        producer = Producer({**QUIET, "bootstrap.servers": self.bootstrap, **settings})
        if self.transactional:
            producer.init_transactions(30)
        number, turn = self.first, 0
        while not self.stopping.is_set():
            turn += 1
            batch = rows(20, self.partitions, first=number)
            number += 20
            if self.transactional:
                producer.begin_transaction()
            for row in batch:
                producer.produce(
                    self.topic, value=row.value, key=row.key, partition=row.partition, headers=list(row.headers), timestamp=row.timestamp)
            if self.transactional and turn % 4 == 0:
                producer.abort_transaction(30)
                continue
            if self.transactional:
                producer.commit_transaction(30)
            else:
                assert producer.flush(30) == 0
            self.expected += batch
            time.sleep(0.05)


def read(bootstrap: str, topic: str, isolation: str = "read_committed", settings: dict | None = None) -> list[tuple[Row, int]]:
    """Every record that is there, with its offset, partition by partition."""
    consumer = Consumer({
        **QUIET, "bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False, "enable.partition.eof": True,
        "isolation.level": isolation, "auto.offset.reset": "earliest", **(settings or {})})
    try:
        metadata = consumer.list_topics(topic, timeout=10).topics[topic]
        if metadata.error or not metadata.partitions:
            return []
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in metadata.partitions])
        found, ended = [], set()
        while len(ended) < len(metadata.partitions):
            message = consumer.poll(20)
            assert message is not None, f"{topic} could not be read to its end"
            if message.error():
                ended.add(message.partition())
                continue
            kind, time = message.timestamp()
            assert kind == TIMESTAMP_CREATE_TIME
            headers = tuple(message.headers() or ())
            found.append((Row(message.partition(), message.key(), message.value(), headers, time), message.offset()))
        return sorted(found, key=lambda each: (each[0].partition, each[1]))
    finally:
        consumer.close()


def values(bootstrap: str, topic: str, isolation: str = "read_committed", settings: dict | None = None) -> list[Row]:
    return [row for row, _ in read(bootstrap, topic, isolation, settings)]


def by_partition(expected: list[Row]) -> list[Row]:
    return sorted(expected, key=lambda row: row.partition)


def wait_for(bootstrap: str, topic: str, expected: list[Row], seconds: float = 60, settings: dict | None = None) -> None:
    """The topic holds exactly these records, each partition in its order."""
    found = []

    def is_there():
        nonlocal found
        found = values(bootstrap, topic, settings=settings)
        return len(found) >= len(expected)

    wait_until(is_there, f"{len(expected)} records in {topic}", seconds, pause=0.2)
    assert found == by_partition(expected)


@dataclass
class Reader:
    """Takes Kafka's protocol types out of bytes; written from MirrorMaker's schemas, not from this project's code."""

    data: bytes
    at: int = 0
    kept: list = field(default_factory=list)

    def number(self, form: str) -> int:
        [value] = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(">" + form)
        return value

    def text(self) -> str:
        length = self.number("h")
        value = self.data[self.at:self.at + length].decode()
        assert len(value.encode()) == length
        self.at += length
        return value

    def done(self, *result):
        assert self.at == len(self.data), "bytes are left"
        return result


PROVENANCE = "martlet.provenance"


def plain(row: Row) -> Row:
    """Without the headers that tell where it comes from."""
    return replace(row, headers=tuple(header for header in row.headers if header[0] != PROVENANCE))


def stages(row: Row) -> list[list[str]]:
    """Where the record has been: alias, cluster, topic, topic id, partition, offset, timestamp of each stage."""
    return [value.decode().split("|") for name, value in row.headers if name == PROVENANCE]


def offset_syncs(bootstrap: str, topic: str) -> list[tuple[str, int, int, int]]:
    """Topic, partition, upstream and downstream offset."""
    found = []
    for row in values(bootstrap, topic):
        key, value = Reader(row.key), Reader(row.value)
        found.append(key.done(key.text(), key.number("i")) + value.done(value.number("q"), value.number("q")))
    return found


def checkpoints(bootstrap: str, topic: str) -> list[tuple[str, str, int, int, int, str]]:
    """Group, topic, partition, upstream and downstream offset, metadata."""
    found = []
    for row in values(bootstrap, topic):
        key, value = Reader(row.key), Reader(row.value)
        assert value.number("h") == 0
        found.append(
            key.done(key.text(), key.text(), key.number("i")) + value.done(value.number("q"), value.number("q"), value.text()))
    return found


def heartbeats(bootstrap: str, topic: str = "heartbeats") -> list[tuple[str, str, int]]:
    """Source, target, milliseconds since 1970."""
    found = []
    for row in values(bootstrap, topic):
        key, value = Reader(row.key), Reader(row.value)
        assert value.number("h") == 0
        found.append(key.done(key.text(), key.text()) + value.done(value.number("q")))
    return found


def positions(bootstrap: str, topic: str) -> dict[tuple[str, str, int], int]:
    """The last copied offset by alias, topic and partition."""
    found = {}
    for row in values(bootstrap, topic):
        connector, place = json.loads(row.key)
        assert connector == "MirrorSourceConnector"
        found[place["cluster"], place["topic"], place["partition"]] = json.loads(row.value)["offset"]
    return found


def commit(bootstrap: str, group: str, offsets: dict[tuple[str, int], int], metadata: str = "") -> None:
    consumer = Consumer({**QUIET, "bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
    places = [TopicPartition(topic, partition, offset, metadata) for (topic, partition), offset in offsets.items()]
    for place in consumer.commit(offsets=places, asynchronous=False):
        assert place.error is None, place
    consumer.close()


def committed(bootstrap: str, group: str, topic: str, partition: int = 0) -> int:
    consumer = Consumer({**QUIET, "bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
    [place] = consumer.committed([TopicPartition(topic, partition)], timeout=10)
    consumer.close()
    return place.offset


def next_record(bootstrap: str, group: str, topic: str, seconds: float = 30) -> Row:
    """The record that a member of the group reads first."""
    consumer = Consumer({
        **QUIET, "bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "error",
        "isolation.level": "read_committed"})
    consumer.subscribe([topic])
    try:
        message = wait_until(lambda: consumer.poll(1), f"{group} reads a record of {topic}", seconds, pause=0)
        assert not message.error(), message.error()
        return Row(message.partition(), message.key(), message.value(), tuple(message.headers() or ()), message.timestamp()[1])
    finally:
        consumer.close()


def ask(port: int, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Status and text of an answer over HTTP."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def metric(port: int, name: str, **labels: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    wanted = "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"
    # Nobody has counted yet where there is none.
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + wanted + " "))
