"""What is measured. The clients run with librdkafka's defaults; nodes speak to each other directly, without the tests' proxy."""

import json
import os
import random
import subprocess
import tempfile
import time
from pathlib import Path

from confluent_kafka import Producer

from clusters import Cluster
import mirrors
from figures import Figures
from load import QUIET, Writer
from measure import native
from nodes import seconds_until, wait_until
from operations import OK, Recorder
from transactions import transactions
from unavailability import acknowledgements, longest_gap

TOPIC = "bench"


class Load:
    """One idempotent producer with acks=all under a steady pace, and the gaps in what is acknowledged to it."""

    def __init__(self, cluster: Cluster, partitions: int = 3, rate: float = 500):
        self.recorder = Recorder()
        self.writer = Writer("bench", cluster.bootstrap, TOPIC, partitions, self.recorder, rate)
        self.partitions = partitions
        self.writer.start()
        self.go_on()

    def go_on(self, seconds: float = 60) -> None:
        """Waits until in every partition records that were sent from now on have been acknowledged."""
        start, first = time.monotonic(), len(self.recorder.operations)

        def is_going_on():
            done = {operation.sends[0][0] for operation in self.recorder.operations[first:] if operation.outcome == OK}
            return len(done) == self.partitions

        wait_until(is_going_on, f"records sent after {start:.3f} are acknowledged", seconds, 0.01)

    def gap(self, start: float, partition: int | None = None) -> float:
        """The longest since a moment, of the partition that had the longest."""
        moments = acknowledgements(self.recorder.operations)
        now = time.monotonic()
        wanted = moments.values() if partition is None else [moments[str(partition)]]
        return max(longest_gap(each, start, now) for each in wanted)

    def finish(self) -> tuple[list[str], int]:
        """Errors that the producer was told of, and records that were not acknowledged."""
        self.writer.finish()
        return self.writer.errors, sum(operation.outcome != OK for operation in self.recorder.operations)


def new_cluster(size: int = 3, **settings: str) -> Cluster:
    return Cluster(size, proxied=False, settings=settings)


def leader_killed(options, figures: Figures):
    """A partition leader is killed under a producer: how long nothing of that partition is acknowledged."""
    gaps, restarts, controller_too = [], [], []
    with new_cluster() as cluster:
        cluster.create(TOPIC, 3)
        load = Load(cluster)
        for round in range(2 * options.rounds):
            # In turn one that leads nothing but partitions, and one that leads the quorum too; whichever there is if there is no choice.
            controller = cluster.controller()
            leaders = [cluster.leader(TOPIC, partition) for partition in range(3)]
            leader = next((each for each in leaders if (each is controller) == bool(round % 2)), leaders[0])
            started = time.monotonic()
            leader.kill()
            load.go_on()
            (controller_too if leader is controller else gaps).append(load.gap(started))
            restarts.append(seconds_until(lambda: leader.start().wait_ready(), "it is back"))
            cluster.wait_whole()
            load.go_on()
        _, unacknowledged = load.finish()
    figures.add("leader killed -> producer goes on", gaps, "s", 1.5)
    figures.add("leader killed that led the quorum too", controller_too, "s")
    figures.add("killed node ready again", restarts, "s", 1)
    figures.add("records not acknowledged in the end", [unacknowledged], "", 0)


def controller_failover(options, figures: Figures):
    """The active controller, which is nothing else, is killed: how long until another one creates topics."""
    elected, created, gaps = [], [], []
    with Cluster(3, controllers=3, proxied=False) as cluster:
        cluster.create(TOPIC, 3)
        load = Load(cluster)
        for number in range(options.rounds):
            leader = cluster.controller()
            started = time.monotonic()
            leader.kill()
            # Asked through the command line, which costs a tenth of a second or less; that is part of the figure.
            wait_until(lambda: cluster.controller() is not leader, "another controller leads", 60, 0.005)
            elected.append(time.monotonic() - started)
            cluster.create(f"after-{number}", 1)
            created.append(time.monotonic() - started)
            load.go_on()
            gaps.append(load.gap(started))
            leader.start().wait_ready()
        load.finish()
    figures.add("controller killed -> another one leads", elected, "s", 1.5)
    figures.add("controller killed -> a topic is created", created, "s")
    figures.add("controller killed: longest gap of the producer", gaps, "s")


def rolling_restart(options, figures: Figures):
    """All nodes are stopped and started cleanly, one after the other: what the producer notices."""
    gaps, errors_seen, lost = [], [], []
    with new_cluster() as cluster:
        cluster.create(TOPIC, 3)
        for _ in range(max(1, options.rounds // 2)):
            load = Load(cluster)
            for node in cluster.nodes:
                started = time.monotonic()
                assert node.stop() == 0, f"{node} did not stop cleanly"
                node.start().wait_ready()
                cluster.wait_whole()
                load.go_on()
                gaps.append(load.gap(started))
            errors, unacknowledged = load.finish()
            # Connections that end with a node are no errors to a producer; records that fail are.
            errors_seen.append(len([error for error in errors if "Disconnected" not in error and "refused" not in error]))
            lost.append(unacknowledged)
    figures.add("rolling restart: longest gap per node", gaps, "s")
    figures.add("rolling restart: errors told to the producer", errors_seen, "", 0)
    figures.add("rolling restart: records not acknowledged", lost, "", 0)


def restart_after_kill(options, figures: Figures):
    """A node is killed under load and started: how long until it is ready, and until its replicas are in sync."""
    ready, in_sync = [], []
    generator = random.Random(1)
    with new_cluster() as cluster:
        cluster.create(TOPIC, 12)
        load = Load(cluster, 12, rate=2000)
        for _ in range(options.rounds):
            node = generator.choice(cluster.nodes)
            node.kill()
            load.go_on()
            started = time.monotonic()
            node.start().wait_ready()
            ready.append(time.monotonic() - started)
            cluster.wait_whole()
            in_sync.append(time.monotonic() - started)
        load.finish()
    figures.add("restart after kill -9 under load: ready", ready, "s", 1)
    figures.add("restart after kill -9 under load: in sync everywhere", in_sync, "s")


class UsedMemory:
    """Page cache that was used a moment ago, given to the nodes bit by bit as they write.

    On a virtual machine the first use of a page is the host's work, which costs four times as much as the copy into it and would fall on
    whoever writes more, or more slowly: guests give free memory back to the host after a second or two."""

    AHEAD = 200 << 20

    def __init__(self, directory, size: int):
        self.path = directory / "used"
        self.left = size + self.AHEAD
        block = random.Random(1).randbytes(1 << 20)
        with open(self.path, "wb", buffering=0) as file:
            for _ in range((self.left >> 20) + 1):
                file.write(block)
        self.give(self.AHEAD)

    def give(self, size: int) -> None:
        self.left = max(0, self.left - size)
        os.truncate(self.path, self.left)


def produce(cluster: Cluster, total: int, partitions: int, memory: UsedMemory, **settings) -> tuple[float, float]:
    """Sends so many bytes as fast as the cluster takes them. Returns seconds of the nodes' CPUs and of the wall."""
    producer = Producer({
        **QUIET, "bootstrap.servers": cluster.bootstrap, "linger.ms": 5, "batch.size": 1_000_000, "queue.buffering.max.kbytes": 262_144,
        "queue.buffering.max.messages": 1_000_000, **settings,
    })
    value = random.Random(1).randbytes(1000)
    failures, acknowledged = [], 0
    step = 1000

    def delivered(error, _):
        nonlocal acknowledged
        if error:
            failures.append(error.str())
        acknowledged += 1
        if acknowledged % step == 0:
            memory.give(step * len(value) * len(cluster.nodes))

    before, started = sum(node.cpu_seconds for node in cluster.nodes), time.monotonic()
    for number in range(total // len(value)):
        while True:
            try:
                producer.produce(TOPIC, value, partition=number % partitions, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.05)
        if number % 1000 == 0:
            producer.poll(0)
    assert producer.flush(300) == 0 and not failures, f"{len(failures)} records failed: {failures[:1]}"
    elapsed = time.monotonic() - started
    wait_until(lambda: cluster.wait_whole() is None, "followers have caught up")
    return sum(node.cpu_seconds for node in cluster.nodes) - before, elapsed


def replica_minimum(total: int) -> float:
    """CPU seconds per GB that sending to two followers and following cost in C, in memory that was used before as well."""
    size = 1_000_000
    with tempfile.TemporaryDirectory() as directory:
        UsedMemory(Path(directory), 2 * total).give(2 * total)
        arguments = [str(native.replica()), directory, str(size), str(total // size)]
        measured = json.loads(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)
    return 2 * (measured["sending"] + measured["following"])


def cpu_per_gigabyte(options, figures: Figures):
    """CPU of all brokers per GB: three nodes with three replicas and acks=all beside one node with acks=1, both warmed up. With the same
    producer for both, and with an idempotent one, which librdkafka lets have one request at a time on its way to a partition."""
    total = int(options.gigabytes * 1e9)
    producers = {"": {}, ", idempotent producer": {"enable.idempotence": True}}
    single, minima, triples, ratios = [], [], {name: [] for name in producers}, {name: [] for name in producers}
    for _ in range(options.rounds):
        minima.append(replica_minimum(total))
        with new_cluster(1) as cluster:
            cluster.create(TOPIC, 6)
            memory = UsedMemory(cluster.directory, total * 4)
            produce(cluster, total // 10, 6, memory, acks=1)
            # As many bytes as three nodes write: the same memory, and enough CPU time for a clock of 10 ms.
            single.append(produce(cluster, total * 3, 6, memory, acks=1)[0] / options.gigabytes / 3)
        for name, settings in producers.items():
            with new_cluster(3) as cluster:
                cluster.create(TOPIC, 6)
                memory = UsedMemory(cluster.directory, total * 4)
                produce(cluster, total // 10, 6, memory, acks="all", **settings)
                triples[name].append(produce(cluster, total, 6, memory, acks="all", **settings)[0] / options.gigabytes)
            ratios[name].append(triples[name][-1] / single[-1])
    figures.add("CPU per GB, one node, acks=1", single, "s")
    figures.add("CPU per GB, two replicas more in C", minima, "s")
    figures.add("ratio of that", [(one + two) / one for one, two in zip(single, minima)], "")
    for name in producers:
        figures.add(f"CPU per GB, three nodes, acks=all{name}", triples[name], "s")
        figures.add(f"ratio{name}", ratios[name], "", 4)


def distance(options, figures: Figures):
    """Requests of one producer per round trip between zones, with acks=all and five requests in flight, and what that amounts to."""
    # Not idempotent: librdkafka has one request at a time on its way to a partition then.
    settings = {"acks": "all", "batch.size": 16_384, "linger.ms": 5, "max.in.flight.requests.per.connection": 5,
                "queue.buffering.max.messages": 2000}
    size, seconds = 1000, 4
    for milliseconds in (10, 40):
        rates = []
        for _ in range(min(3, options.rounds)):
            with Cluster(3) as cluster:
                cluster.create(TOPIC, 1)
                cluster.distance(milliseconds / 2000)
                producer, delivered = Producer({**QUIET, "bootstrap.servers": cluster.bootstrap, **settings}), []

                def send(end: float):
                    while time.monotonic() < end:
                        try:
                            producer.produce(TOPIC, b"x" * size, partition=0, on_delivery=lambda error, _: delivered.append(error))
                        except BufferError:
                            producer.poll(0.01)

                send(time.monotonic() + 1)
                delivered.clear()
                send(time.monotonic() + seconds)
                count = len(delivered)
                assert not any(delivered) and producer.flush(60) == 0
                rates.append(count / seconds)
        figures.add(f"round trip of {milliseconds} ms: MB/s", [rate * size / 1e6 for rate in rates], "")
        figures.add(f"round trip of {milliseconds} ms: requests in each", [rate / 16 * milliseconds / 1000 for rate in rates], "")


def many_partitions(options, figures: Figures):
    """6,000 partitions with three replicas: creation, a controller's fail-over, a node's restart."""
    count = options.partitions
    created, failover, restarts = [], [], []
    with new_cluster() as cluster:
        started = time.monotonic()
        for number in range(0, count, 500):
            cluster.create(f"many-{number}", min(500, count - number))
        cluster.wait_whole(300)
        created.append(time.monotonic() - started)
        for _ in range(min(3, options.rounds)):
            leader = cluster.controller()
            started = time.monotonic()
            leader.kill()
            # Asked through the command line, which costs a tenth of a second or less; that is part of the figure.
            wait_until(lambda: cluster.controller() is not leader, "another controller leads", 60, 0.005)
            failover.append(time.monotonic() - started)
            started = time.monotonic()
            leader.start().wait_ready(120)
            restarts.append(time.monotonic() - started)
            cluster.wait_whole(300)
        memory = [node.resident_megabytes for node in cluster.nodes]
    figures.add(f"{count} partitions created and in sync", created, "s", 60)
    figures.add(f"{count} partitions: controller's fail-over", failover, "s", 3)
    figures.add(f"{count} partitions: node's restart", restarts, "s", 5)
    figures.add(f"{count} partitions: resident memory per node", memory, "MB")


def idle(options, figures: Figures):
    """Three nodes with 100 topics that nobody uses: share of one core per node."""
    seconds = 20
    with new_cluster() as cluster:
        for number in range(100):
            cluster.create(f"idle-{number}", 1)
        time.sleep(5)
        before = [node.cpu_seconds for node in cluster.nodes]
        time.sleep(seconds)
        shares = [100 * (node.cpu_seconds - used) / seconds for node, used in zip(cluster.nodes, before)]
    figures.add("idle with 100 topics, per node", shares, "%", 2)


SCENARIOS = {
    "leader": leader_killed,
    "controller": controller_failover,
    "rolling": rolling_restart,
    "restart": restart_after_kill,
    "cpu": cpu_per_gigabyte,
    "distance": distance,
    "partitions": many_partitions,
    "idle": idle,
    "transactions": transactions,
    "mirroring": mirrors.mirroring,
    "takeover": mirrors.takeover,
    "failback": mirrors.failback,
    "lag": mirrors.lag,
    "mirror-maker": mirrors.mirror_maker,
    "link-compression": mirrors.compression,
}
