"""The same log cleaned by both programs: the same files byte for byte where the clock and the codecs' libraries allow it, and each serves and
goes on cleaning what the other cleaned."""

import shutil
import struct
import time

import pytest
from confluent_kafka import Producer

from broker import wait_until
from contents import CODECS, Contents
from kafka_nodes import KAFKA, MARTLET
from load import QUIET
from mixed_clusters import MixedCluster

TOPIC = {
    "cleanup.policy": "compact", "segment.ms": "1000", "min.cleanable.dirty.ratio": "0.01", "index.interval.bytes": "200",
    "message.timestamp.before.max.ms": "9223372036854775807",
}
TOPICS = ["plain", "idempotent", "transactional", *(f"codec-{codec}" for codec in CODECS[1:])]
REST, WORK = "86400000", "300"


class Clock:
    def __init__(self):
        self.now = int(time.time() * 1000) - 3_000_000

    def next(self, step: int = 30) -> int:
        self.now += step
        return self.now


def entries(count: int):
    """Keys that are written again and again, every ninth value a tombstone, batches of many sizes."""
    for number in range(count):
        yield f"k{number * 7 % 40}", None if number % 9 == 8 else f"value-{number}-" + "x" * (number * 13 % 50)


def write(producer, topic: str, clock: Clock, some) -> None:
    failures = []
    for number, (key, value) in enumerate(some):
        producer.produce(
            topic, key=key, value=value, timestamp=clock.next(),
            on_delivery=lambda error, _: failures.append(str(error)) if error else None)
        if number % 7 == number % 4:
            producer.flush(30)
    assert producer.flush(60) == 0 and not failures, failures[:3]


def producer(cluster, **settings) -> Producer:
    return Producer({
        **QUIET, "bootstrap.servers": cluster.bootstrap, "linger.ms": 5, "batch.num.messages": 8,
        **{key.replace("_", "."): value for key, value in settings.items()}})


def fill(cluster) -> None:
    for topic in TOPICS:
        cluster.create(topic, 1, **TOPIC)
    write(producer(cluster), "plain", Clock(), entries(400))
    clock = Clock()
    for _ in range(3):
        write(producer(cluster, enable_idempotence=True), "idempotent", clock, entries(130))
    clock = Clock()
    for number in range(24):
        sender = producer(cluster, transactional_id=f"t{number % 5}")
        sender.init_transactions(30)
        sender.begin_transaction()
        write(sender, "transactional", clock, list(entries(60))[number * 2:number * 2 + 15])
        sender.abort_transaction(30) if number % 3 == 1 else sender.commit_transaction(30)
    for codec in CODECS[1:]:
        write(producer(cluster, compression_type=codec), f"codec-{codec}", Clock(), entries(250))
    # The active segments: nothing of the closed ones is the log's last batch.
    for topic in TOPICS:
        later = Clock()
        later.now += 1_000_000
        sender = producer(cluster)
        for key in ("tail-1", "tail-2"):
            write(sender, topic, later, [(key, "x")])


def run(cluster, program: str, backoff: str):
    node = cluster.node(1)
    node.settings["log.cleaner.backoff.ms"] = backoff
    node.properties.write_text("".join(f"{key}={value}\n" for key, value in node.settings.items()))
    node.start(program).wait_ready()
    cluster.wait_whole()
    return node


def cleaned(node) -> dict[str, int]:
    path = node.data / "cleaner-offset-checkpoint"
    lines = path.read_text().splitlines()[2:] if path.exists() else []
    return {line.split()[0]: int(line.split()[2]) for line in lines}


def clean(cluster, program: str) -> dict[str, int]:
    """Lets the program clean all topics and stops it."""
    node = run(cluster, program, WORK)
    wait_until(lambda: set(cleaned(node)) >= set(TOPICS), f"{program} has cleaned all topics", 120, pause=0.2)
    assert node.stop() == 0, node.log()[-3000:]
    return {topic: offset for topic, offset in cleaned(node).items() if topic in TOPICS}


def files(node, topic: str) -> dict[str, bytes]:
    """Of the closed segments; the newest one is written to and closed by the programs in their own ways."""
    directory = node.data / f"{topic}-0"
    newest = max(path.stem for path in directory.glob("*.log"))
    return {
        path.name: path.read_bytes() for path in sorted(directory.iterdir())
        if path.suffix in (".log", ".index", ".timeindex", ".txnindex") and path.stem != newest and path.stat().st_size}


HEADER = struct.Struct(">qiibIhiqqqhii")


def batches(log: bytes):
    position = 0
    while position < len(log):
        fields = HEADER.unpack_from(log, position)
        size = fields[1] + 12
        yield fields, log[position:position + size]
        position += size


@pytest.fixture(scope="module")
def cluster():
    """One combined node, filled by Apache Kafka, whose cleaner rests."""
    cluster = MixedCluster(KAFKA)
    try:
        cluster.node(1).format()
        run(cluster, KAFKA, REST)
        fill(cluster)
        assert cluster.node(1).stop() == 0
        yield cluster
    finally:
        cluster.close()


def test_both_clean_the_same(cluster):
    node = cluster.node(1)
    dirty, by_kafka = node.directory / "dirty", node.directory / "by-kafka"
    shutil.copytree(node.data, dirty)
    size = {topic: sum(map(len, files(node, topic).values())) for topic in TOPICS}
    kafka_offsets = clean(cluster, KAFKA)
    theirs = {topic: files(node, topic) for topic in TOPICS}
    node.data.rename(by_kafka)
    dirty.rename(node.data)
    offsets = clean(cluster, MARTLET)
    assert offsets == kafka_offsets
    for topic in TOPICS:
        ours = files(node, topic)
        assert sum(map(len, ours.values())) < size[topic] / 2
        names = {name for name in ours if not name.endswith(".txnindex")}
        assert names == {name for name in theirs[topic] if not name.endswith(".txnindex")}, topic
        assert ours.get("00000000000000000000.txnindex", b"") == theirs[topic].get("00000000000000000000.txnindex", b"")
        my_batches, other_batches = list(batches(ours["00000000000000000000.log"])), list(batches(theirs[topic]["00000000000000000000.log"]))
        # Kafka 4.1 keeps the last batch of each cleaning, if need be empty; Kafka 4.5 and Martlet the last below the high watermark.
        last = other_batches[-1][0]
        has_extra = last[12] == 0 and last[0] + last[6] + 1 == offsets[topic] and last[0] != my_batches[-1][0][0]
        if has_extra:
            other_batches.pop()
        horizons = 0
        for (mine, my_bytes), (other, other_bytes) in zip(my_batches, other_batches, strict=True):
            attributes = mine[5]
            if attributes & 0x40:
                # The horizon is the time of cleaning and a day; what is counted from it differs with it.
                horizons += 1
                skipped = {1, 4, 7} if attributes & 7 else {4, 7}
                assert [each for index, each in enumerate(mine) if index not in skipped] == [
                    each for index, each in enumerate(other) if index not in skipped], (topic, mine, other)
                assert abs(mine[7] - other[7]) < 600_000
            elif attributes & 7:
                assert [*mine[:1], *mine[2:4], *mine[5:]] == [*other[:1], *other[2:4], *other[5:]], (topic, mine, other)
            else:
                assert my_bytes == other_bytes, (topic, mine, other)
        assert horizons, "there are tombstones"
        if not topic.startswith("codec") and not has_extra:
            assert ours["00000000000000000000.index"] == theirs[topic]["00000000000000000000.index"], topic
            assert ours["00000000000000000000.timeindex"] == theirs[topic]["00000000000000000000.timeindex"], topic

    # Each serves what the other cleaned, and both the same.
    contents = {}
    for label, program in (("martlet", MARTLET), ("martlet", KAFKA), ("kafka", KAFKA), ("kafka", MARTLET)):
        if label == "kafka" and by_kafka.exists():
            node.data.rename(node.directory / "by-martlet")
            by_kafka.rename(node.data)
        run(cluster, program, REST)
        contents[label, program] = Contents(cluster, TOPICS, [])
        assert not [line for line in node.complaints() if "cleaner" in line.lower() or "corrupt" in line.lower()]
        assert node.stop() == 0
    first = contents["martlet", MARTLET]
    for place, other in contents.items():
        assert not first.differences(other), place


def test_each_goes_on_where_the_other_stopped(cluster):
    node = cluster.node(1)
    expected = None
    for number, program in enumerate((MARTLET, KAFKA, MARTLET)):
        run(cluster, program, REST)
        clock = Clock()
        # Ahead of the markers of transactions, whose time is the broker's, or no segment would be rolled.
        clock.now = int(time.time() * 1000) + 300_000 + number * 1_000_000
        for topic in TOPICS:
            write(producer(cluster, enable_idempotence=True), topic, clock, [*entries(90), ("tail-1", "y"), ("tail-2", "y")])
            clock.next(50_000)
            write(producer(cluster), topic, clock, [("tail-3", "z")])
        tables = {
            place: {record[1]: record[2] for record in records}
            for place, records in Contents(cluster, TOPICS, []).records.items() if place[2] == "read_committed"}
        assert node.stop() == 0
        before = cleaned(node)
        run(cluster, program, WORK)
        wait_until(
            lambda: all(cleaned(node).get(topic, 0) > before.get(topic, 0) for topic in TOPICS), f"{program} went on", 120, pause=0.2)
        after = {
            place: {record[1]: record[2] for record in records}
            for place, records in Contents(cluster, TOPICS, []).records.items() if place[2] == "read_committed"}
        assert after == tables, program
        expected = expected or {place: set(table) for place, table in after.items()}
        assert {place: set(table) for place, table in after.items()} == expected
        assert node.stop() == 0
