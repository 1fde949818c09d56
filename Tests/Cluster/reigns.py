"""What clients of two linked clusters were told, and whether the logs keep to it, through any number of take-overs.

A reign is the time between two take-overs. Its records have to be in the topic for ever, at their offsets; only those that a fail-over left
behind, because they lay beyond the mirror's end, are excused, and they have to be in what was cut off and kept."""

import re
import time
from collections import Counter

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from clusters import Cluster
from load import QUIET, Writer
from nodes import wait_until
from operations import OK, Recorder
from workload import Worker

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
Ends = dict[int, int]
Contents = dict[int, list[tuple[int, str]]]


class ReignWriter(Writer):
    """A writer that may have to leave a cluster that does not answer any more."""

    def __init__(self, reign: int, number: int, cluster: Cluster, topic: str, partitions: int, recorder: Recorder, rate: float):
        super().__init__(
            f"reign {reign} writer {number}", cluster.bootstrap, topic, partitions, recorder, rate,
            **{"compression.type": CODECS[number % len(CODECS)], "linger.ms": 100})

    def leave(self) -> None:
        """What is under way stays undecided."""
        self.stopping.set()
        while self.is_alive():
            self.producer.purge()
            self.join(0.1)
        if self.error:
            raise self.error


class Traveller(Worker):
    """One member of a group that reads where the topic is written, and goes on at the other cluster from the group's offsets there."""

    group = "traveller"

    def __init__(self, cluster: Cluster, topic: str):
        super().__init__()
        self.cluster, self.topic = cluster, topic
        self.seen: set[str] = set()
        # The furthest offset after what was read of the cluster that is read now.
        self.position: Ends = {}

    def work(self):
        while not self.stopping.is_set():
            cluster = self.cluster
            consumer = Consumer({
                **QUIET, "bootstrap.servers": cluster.bootstrap, "group.id": self.group, "auto.offset.reset": "earliest",
                "auto.commit.interval.ms": 200, "session.timeout.ms": 6000, "reconnect.backoff.max.ms": 200})
            consumer.subscribe([self.topic])
            while self.cluster is cluster and not self.stopping.is_set():
                for message in consumer.consume(500, 0.1):
                    if not message.error():
                        self.seen.add(message.value().decode())
                        place = message.partition()
                        self.position[place] = max(self.position.get(place, 0), message.offset() + 1)
            # Closing waits for a coordinator that may be dead.
            closing = Closing(consumer)
            closing.start()
            closing.join(10)

    def go_over(self, cluster: Cluster) -> None:
        self.cluster = cluster


class Closing(Worker):
    def __init__(self, consumer: Consumer):
        super().__init__()
        self.consumer = consumer

    def work(self):
        self.consumer.close()


class Reigns:
    """The book of what was acknowledged when."""

    def __init__(self, recorder: Recorder):
        self.recorder = recorder
        self.number = 0
        # Where the successor of a reign began, if it began with a fail-over.
        self.left_behind: dict[int, Ends] = {}

    def end(self, successor_starts: Ends | None) -> None:
        if successor_starts is not None:
            self.left_behind[self.number] = successor_starts
        self.number += 1

    def judge(self, contents: Contents, kept: set[tuple[int, int]]) -> list[str]:
        """Sentences about whatever was promised and is not so. `kept` are partitions and offsets of what was cut off."""
        faults, sent, found = [], set(), {}
        for partition, records in contents.items():
            found[partition] = dict(records)
        for operation in self.recorder.operations:
            for key, offset, value in operation.sends:
                sent.add(value)
                if operation.outcome != OK or found[int(key)].get(offset) == value:
                    continue
                start = self.left_behind.get(reign_of(value), {}).get(int(key))
                if start is None or offset < start:
                    faults.append(f"{value!r} was acknowledged at {key}-{offset}, where {found[int(key)].get(offset)!r} is")
                elif (int(key), offset) not in kept:
                    faults.append(f"{value!r} was acknowledged at {key}-{offset}, left behind, and is in no file of what was cut off")
        counts = Counter(value for records in contents.values() for _, value in records)
        faults += [f"{value!r} is there {count} times" for value, count in counts.items() if count > 1]
        faults += [f"{value!r} was never sent" for value in counts if value not in sent]
        for partition, records in contents.items():
            faults += [f"{partition}: {sentence}" for sentence in out_of_order(records)]
        return faults


def reign_of(value: str) -> int:
    return int(re.match(r"reign (\d+) ", value)[1])


def out_of_order(records: list[tuple[int, str]]) -> list[str]:
    """What one writer wrote later stands before what it wrote first."""
    last: dict[str, int] = {}
    found = []
    for offset, value in records:
        writer, number = value.rsplit(":", 1)
        if int(number) <= last.get(writer, -1):
            found.append(f"{value!r} at {offset} comes after {writer}:{last[writer]}")
        last[writer] = int(number)
    return found


def ends(cluster: Cluster, topic: str, partitions: int) -> Ends:
    """As clients see them."""
    def found():
        consumer = Consumer({**QUIET, "bootstrap.servers": cluster.bootstrap, "group.id": "ends"})
        try:
            return {number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1] for number in range(partitions)}
        except KafkaException:
            # Leaders change still.
            return None
        finally:
            consumer.close()

    return wait_until(found, f"the ends of {topic} are told", 120, 0.5)


def contents(cluster: Cluster, topic: str, until: Ends) -> Contents:
    """Every record up to the ends."""
    consumer = Consumer({
        **QUIET, "bootstrap.servers": cluster.bootstrap, "group.id": "contents", "enable.auto.commit": False, "enable.partition.eof": True,
        "auto.offset.reset": "error"})
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in until])
    found: Contents = {partition: [] for partition in until}
    waiting = {partition for partition, end in until.items() if end > 0}
    deadline = time.monotonic() + 120
    while waiting:
        assert time.monotonic() < deadline, f"the end of {sorted(waiting)} is not reached"
        for message in consumer.consume(1000, 0.2):
            if not message.error():
                found[message.partition()].append((message.offset(), message.value().decode()))
                if message.offset() + 1 >= until[message.partition()]:
                    waiting.discard(message.partition())
    consumer.close()
    return found


def committed(cluster: Cluster, group: str, topic: str, partitions: int, seconds: float = 30) -> Ends:
    """A group's offsets, without those that it has not."""
    consumer = Consumer({**QUIET, "bootstrap.servers": cluster.bootstrap, "group.id": group})
    try:
        places = consumer.committed([TopicPartition(topic, partition) for partition in range(partitions)], timeout=seconds)
    finally:
        consumer.close()
    for place in places:
        if place.error:
            raise KafkaException(place.error)
    return {place.partition: place.offset for place in places if place.offset >= 0}


def cut_offsets(cluster: Cluster, topic: str) -> set[tuple[int, int]]:
    """Partitions and offsets in the files of what was cut off, on any node."""
    found = set()
    for node in cluster.brokers:
        for path in node.data.glob(f"mirror-cut.{topic}-*"):
            partition = int(path.name.removeprefix(f"mirror-cut.{topic}-").split(".")[0])
            content, position = path.read_bytes(), 0
            while position + 61 <= len(content):
                base = int.from_bytes(content[position:position + 8], "big")
                last = int.from_bytes(content[position + 23:position + 27], "big")
                found.update((partition, offset) for offset in range(base, base + last + 1))
                position += int.from_bytes(content[position + 8:position + 12], "big") + 12
    return found
