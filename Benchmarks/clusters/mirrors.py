"""What links and mirrors cost: mirroring beside the replication of a follower, a planned and an unplanned take-over of many partitions, how far
mirrors are behind over a distance, and the process of MirrorMaker's kind."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from confluent_kafka import Consumer, Producer, TopicPartition

from clusters import Cluster
from commands import martlet, martlet_json
from figures import Figures
from kafka_mirror import KafkaMirror
from kafka_nodes import KAFKA_DIRECTORY
from links import destination_cluster, link, metric, source_cluster, wait_end, wait_mirror
from load import QUIET
from mirror_process import Mirror
from nodes import wait_until

TOPIC, PARTITIONS = "mirrored", 6


def fill(cluster: Cluster, total: int, memory) -> None:
    from scenarios import produce
    produce(cluster, total, PARTITIONS, memory, acks=1)


def mirroring(options, figures: Figures):
    """CPU of the destination per GB mirrored, and of a follower per GB replicated, both catching up with what is there."""
    from scenarios import TOPIC as topic, UsedMemory
    total = int(options.gigabytes * 1e9)
    mirrors, followers, ratios, memory_used, rates = [], [], [], [], []
    for _ in range(options.rounds):
        with source_cluster(1) as source, destination_cluster(1) as destination:
            source.create(topic, PARTITIONS)
            memory = UsedMemory(source.directory, total * 3)
            fill(source, total, memory)
            link(destination, source)
            node, before, began = destination.node(1), destination.node(1).cpu_seconds, time.monotonic()
            memory.give(total)
            martlet(destination, "link", "mirror", "link", topic)
            for partition in range(PARTITIONS):
                wait_end(destination, topic, source.node(1).log_end(topic, partition), partition, 300)
            rates.append(options.gigabytes / (time.monotonic() - began))
            mirrors.append((node.cpu_seconds - before) / options.gigabytes)
            memory_used.append(node.resident_megabytes)
        with Cluster(2, controllers=1, proxied=False, settings={"default.replication.factor": "1", "min.insync.replicas": "1"}) as cluster:
            first, second = cluster.brokers
            cluster.create(topic, PARTITIONS, copies=1)
            for partition in range(PARTITIONS):
                martlet(cluster, "partition", "reassign", f"{topic}:{partition}", "--replicas", str(first.number))
            memory = UsedMemory(cluster.directory, total * 3)
            fill(cluster, total, memory)
            before = second.cpu_seconds
            memory.give(total)
            for partition in range(PARTITIONS):
                martlet(cluster, "partition", "reassign", f"{topic}:{partition}", "--replicas", f"{first.number},{second.number}", "--no-wait")
            cluster.wait_whole(300)
            wait_until(lambda: all(len(each.isrs) == 2 for each in cluster.partitions(topic).values()), "the follower has caught up", 300)
            followers.append((second.cpu_seconds - before) / options.gigabytes)
        ratios.append(mirrors[-1] / followers[-1])
    figures.add("mirroring: CPU of the destination per GB", mirrors, "s")
    figures.add("replication: CPU of a follower per GB", followers, "s")
    figures.add("mirroring: ratio", ratios, "", 2)
    figures.add("mirroring: rate", rates, "GB/s")
    figures.add("mirroring: resident memory of the destination", memory_used, "MB")


# Batches go on as they are in the first two; headers have every batch unpacked and packed again.
MIRROR_MODES = {
    "at least once": {},
    "exactly once": {"exactly.once.source.support": "enabled"},
    "with provenance headers": {"replication.provenance.headers.enable": "true"},
}


def mirror_maker(options, figures: Figures):
    """What mirroring 1 GB costs `martlet mirror run`, and with MARTLET_KAFKA Kafka's MirrorMaker 2 beside it, with the same file.

    Both catch up with what is there, one after the other in each round, from and to clusters of Martlet. CPU is that of the process from its
    start to the last record; what has gone by when the remote topic appears is said too, since of a JVM that is a large part of little data."""
    programs = {"martlet": Mirror, **({"MirrorMaker 2": KafkaMirror} if KAFKA_DIRECTORY else {})}
    for mode, settings in MIRROR_MODES.items():
        # Kafka has no such headers.
        runs = {name: MirrorRuns() for name in programs if name == "martlet" or "provenance" not in mode}
        for _ in range(options.rounds):
            for name, found in runs.items():
                found.measure(options, programs[name], settings)
        for name, found in runs.items():
            found.report(figures, f"{name}, {mode}")


@dataclass
class MirrorRuns:
    cpu: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    resident: list[float] = field(default_factory=list)

    def measure(self, options, program: type[Mirror], settings: dict[str, str]) -> None:
        from scenarios import TOPIC as topic, UsedMemory
        total = int(options.gigabytes * 1e9)
        with source_cluster(1) as source, destination_cluster(1) as destination, TemporaryDirectory() as directory:
            source.create(topic, PARTITIONS)
            memory = UsedMemory(source.directory, total * 3)
            fill(source, total, memory)
            memory.give(total)
            ends = [source.node(1).log_end(topic, partition) for partition in range(PARTITIONS)]
            aliases = {"A": source.bootstrap, "B": destination.bootstrap}
            began = time.monotonic()
            with program(Path(directory), aliases, {"A->B.enabled": "true", "A->B.topics": topic, **settings}) as mirror:
                try:
                    wait_until(lambda: len(topic_ends(destination, f"A.{topic}")) == PARTITIONS, "the remote topic is there", 120)
                    self.starts.append(mirror.cpu_seconds)
                    # Markers of transactions come on top.
                    wait_until(
                        lambda: all(own >= end for own, end in zip(topic_ends(destination, f"A.{topic}"), ends)), "all is mirrored", 600, 0.2)
                except AssertionError as error:
                    raise AssertionError(f"{error}\n{mirror.log()[-2000:]}") from None
                self.rates.append(options.gigabytes / (time.monotonic() - began))
                self.cpu.append(mirror.cpu_seconds / options.gigabytes)
                self.resident.append(mirror.resident_megabytes)

    def report(self, figures: Figures, name: str) -> None:
        figures.add(f"{name}: CPU per GB", self.cpu, "s")
        figures.add(f"{name}: CPU until the remote topic is there", self.starts, "s")
        figures.add(f"{name}: rate, with the start", self.rates, "GB/s")
        figures.add(f"{name}: resident memory", self.resident, "MB")


def topic_ends(cluster: Cluster, topic: str) -> list[int]:
    """The ends of a topic's partitions; none while it is not there."""
    found = cluster.admin().list_topics(timeout=10).topics.get(topic)
    if found is None:
        return []
    try:
        return [cluster.node(1).log_end(topic, partition) for partition in sorted(found.partitions)]
    except ValueError:
        # Its logs are about to be opened.
        return []


def takeover(options, figures: Figures):
    """1,000 partitions taken over, as planned and at once: from the command until all are writable."""
    topics = [f"over-{number}" for number in range(10)]
    planned, unplanned = [], []
    for _ in range(min(3, options.rounds)):
        with source_cluster(1) as source, destination_cluster(1) as destination:
            link(destination, source)
            for topic in topics:
                source.create(topic, 100)
            writer = Producer({"bootstrap.servers": source.bootstrap, "linger.ms": 5, **QUIET})
            for topic in topics:
                for partition in range(100):
                    writer.produce(topic, b"x" * 100, partition=partition)
            assert writer.flush(60) == 0
            martlet(destination, "link", "mirror", "link", *topics)
            wait_until(
                lambda: all(each["lag"] == 0 and each["state"] == "ACTIVE" for each in martlet_json(destination, "link", "mirrors")),
                "all mirrors have all", 120, 0.5)
            began = time.monotonic()
            martlet(destination, "link", "promote", "link", *topics[:5], *topics[5:], "--timeout", "60")
            planned.append(time.monotonic() - began)
            martlet(destination, "link", "delete", "link", "--force")
        with source_cluster(1) as source, destination_cluster(1) as destination:
            link(destination, source)
            for topic in topics:
                source.create(topic, 100)
            martlet(destination, "link", "mirror", "link", *topics)
            wait_until(
                lambda: all(each["lag"] == 0 and each["state"] == "ACTIVE" for each in martlet_json(destination, "link", "mirrors")),
                "all mirrors have all", 120, 0.5)
            source.node(1).kill()
            began = time.monotonic()
            martlet(destination, "link", "failover", "link", "--all", "--timeout", "60")
            unplanned.append(time.monotonic() - began)
    figures.add("1,000 partitions promoted", planned, "s", 5)
    figures.add("1,000 partitions failed over", unplanned, "s", 3)


def failback(options, figures: Figures):
    """A pair that parted is brought together again: what that moves, beside what differs. `--gigabytes 10` for a pair of 10 GB."""
    from scenarios import TOPIC as topic, UsedMemory
    total, parted = int(options.gigabytes * 1e9), 20_000_000
    shares, moved, seconds, cut = [], [], [], []
    for _ in range(min(3, options.rounds)):
        with source_cluster(1) as source, destination_cluster(1) as destination:
            source.create(topic, PARTITIONS)
            fill(source, total, UsedMemory(source.directory, 0))
            link(destination, source)
            martlet(destination, "link", "mirror", "link", topic)
            for partition in range(PARTITIONS):
                wait_end(destination, topic, source.node(1).log_end(topic, partition), partition, 600)
            martlet(destination, "link", "pause", "link", topic)
            fill(source, parted, UsedMemory(source.directory, 0))
            martlet(destination, "link", "failover", "link", topic)
            fill(destination, parted, UsedMemory(source.directory, 0))
            ends = [destination.node(1).log_end(topic, partition) for partition in range(PARTITIONS)]
            link(source, destination, "back")
            began = time.monotonic()
            martlet(source, "link", "restore", "back", topic)
            wait_mirror(source, topic, seconds=300)
            seconds.append(time.monotonic() - began)
            assert [source.node(1).log_end(topic, partition) for partition in range(PARTITIONS)] == ends
            moved.append(metric(source, "kafka_connect_mirror_mirrorsourceconnector_byte_count", topic))
            cut.append(metric(source, "martlet_link_cut_records_total", topic))
            shares.append(moved[-1] / parted)
    figures.add(f"failback of {options.gigabytes:g} GB: moved", [each / 1e6 for each in moved], "MB")
    figures.add("failback: moved, by what differs", shares, "", 1.1)
    figures.add("failback: records cut off", cut, "")
    figures.add("failback: until the old source has everything", seconds, "s")


def lag(options, figures: Figures):
    """From a record's acknowledgement at the source to its arrival at a consumer of the mirror, 25 ms each way between the clusters."""
    waits: list[float] = []
    with source_cluster(1, proxied=True) as source, destination_cluster(1) as destination:
        source.create(TOPIC, 6)
        # Everybody reaches the source by its proxy; only the destination is far away.
        name = source.node(1).name
        for process in destination.nodes:
            source.network.started("far", process.process.pid)
        source.network.shape("far", name, 0.025)
        source.network.shape(name, "far", 0.025)
        link(destination, source)
        martlet(destination, "link", "mirror", "link", TOPIC)
        wait_until(lambda: len(destination.partitions(TOPIC)) == 6, "the mirror is there", 30)
        reader = Consumer({"bootstrap.servers": destination.bootstrap, "group.id": "lag", "fetch.wait.max.ms": 10, **QUIET})
        reader.assign([TopicPartition(TOPIC, partition, 0) for partition in range(6)])
        writer = Producer({"bootstrap.servers": source.bootstrap, "linger.ms": 0, **QUIET})
        acknowledged: dict[bytes, float] = {}

        def delivered(error, message):
            assert error is None, error
            acknowledged[message.value()[:20]] = time.monotonic()

        arrived: dict[bytes, float] = {}
        number, began = 0, time.monotonic()
        while time.monotonic() - began < 20:
            while number < (time.monotonic() - began) * 1000:
                writer.produce(TOPIC, f"{number:020d}".encode() + b"x" * 980, partition=number % 6, on_delivery=delivered)
                number += 1
            writer.poll(0)
            for message in reader.consume(500, timeout=0.001):
                if not message.error():
                    arrived[message.value()[:20]] = time.monotonic()
        writer.flush(30)
        waits = sorted((arrived[key] - acknowledged[key]) * 1000 for key in arrived if key in acknowledged)
        reader.close()
    figures.add("lag at 50 ms round trip, 1,000 records/s: p50", [waits[len(waits) // 2]], "ms")
    figures.add("lag at 50 ms round trip, 1,000 records/s: p99", [waits[len(waits) * 99 // 100]], "ms", 250)


def compression(options, figures: Figures):
    """What `link.compression.type=zstd` saves on the way and costs in CPU on both sides, for JSON records produced without compression and as lz4."""
    from test_link_compression import records
    # More than a window of zstd's, so that it does not find the same records again.
    values = [value.encode() for value in records(60_000)]
    total = int(options.gigabytes * 1e9)
    for produced in ("none", "lz4"):
        used, ratio = {}, 0.0
        for setting in ("none", "zstd"):
            with source_cluster(1) as source, destination_cluster(1) as destination:
                source.create(TOPIC, PARTITIONS)
                writer = Producer({
                    "bootstrap.servers": source.bootstrap, "compression.type": produced, "linger.ms": 20, "batch.size": 262_144,
                    "queue.buffering.max.kbytes": 65_536, **QUIET})
                written = number = 0
                while written < total:
                    value = values[number % len(values)]
                    try:
                        writer.produce(TOPIC, value, partition=number // 1000 % PARTITIONS)
                    except BufferError:
                        writer.poll(0.05)
                        continue
                    written, number = written + len(value), number + 1
                assert writer.flush(120) == 0
                link(destination, source, link_compression_type=setting)
                before = source.node(1).cpu_seconds, destination.node(1).cpu_seconds
                martlet(destination, "link", "mirror", "link", TOPIC)
                for partition in range(PARTITIONS):
                    wait_end(destination, TOPIC, source.node(1).log_end(TOPIC, partition), partition, 300)
                [traffic] = martlet_json(destination, "link", "describe", "link")["traffic"]
                fetched = traffic["bytes"] / 1e9
                used[setting] = ((source.node(1).cpu_seconds - before[0]) / fetched, (destination.node(1).cpu_seconds - before[1]) / fetched)
                ratio = traffic["bytes"] / traffic["wireBytes"]
        figures.add(f"compression, produced as {produced}: bytes stored by bytes sent", [ratio], "")
        for side, where in ((0, "source"), (1, "destination")):
            figures.add(
                f"compression, produced as {produced}: CPU of the {where} on top, per GB stored", [used["zstd"][side] - used["none"][side]], "s")
