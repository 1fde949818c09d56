"""`make demo-dr`: two clusters of real processes with a link, real producers and consumers; the primary dies, the other takes over, the primary
comes back as its mirror and takes over again. Prints what that cost, as the clients saw it. Everything is on this machine, in a temporary
directory, and is ended and removed."""

import argparse
import collections
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

sys.path.append(str(Path(__file__).resolve().parents[1] / "Clients"))

from broker import wait_until  # noqa: E402
from commands import martlet, martlet_json  # noqa: E402
from links import destination_cluster, source_cluster  # noqa: E402
from load import QUIET  # noqa: E402

TOPIC, GROUP, PARTITIONS = "orders", "billing", 3
# A client that has given up a write after this long tries the other cluster.
DELIVERY_SECONDS = 1.0
TICK = 0.01


class Shop(threading.Thread):
    """Producers, one for each partition in turn: writes numbered records at a steady rate, each until it is acknowledged, and goes over to the
    other cluster whenever the one it writes to refuses or does not answer."""

    def __init__(self, clusters, rate: int):
        super().__init__(daemon=True)
        self.clusters, self.per_tick = clusters, max(1, int(rate * TICK))
        self.target, self.stopping = 0, threading.Event()
        # Number, cluster, time.
        self.acknowledged: list[tuple[int, int, float]] = []
        self.producers: dict[int, Producer] = {}
        self.refusals = 0

    def producer(self) -> Producer:
        if self.target not in self.producers:
            self.producers[self.target] = Producer({
                **QUIET, "bootstrap.servers": self.clusters[self.target].bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 0,
                "message.timeout.ms": int(DELIVERY_SECONDS * 1000), "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200,
                "topic.metadata.propagation.max.ms": 500,
            })
        return self.producers[self.target]

    def attempt(self, numbers: list[int]) -> list[int]:
        """Writes once; returns what was not acknowledged."""
        failed, left, target = [], set(numbers), self.target

        def delivered(number):
            def done(error, _):
                left.discard(number)
                if error:
                    failed.append(number)
                else:
                    self.acknowledged.append((number, target, time.monotonic()))
            return done

        producer = self.producer()
        for number in numbers:
            producer.produce(TOPIC, str(number), partition=number % PARTITIONS, on_delivery=delivered(number))
        deadline = time.monotonic() + DELIVERY_SECONDS + 1
        while left and time.monotonic() < deadline:
            producer.poll(0.01)
        return sorted([*failed, *left])

    def run(self):
        number, due = 0, time.monotonic()
        while not self.stopping.is_set():
            waiting = list(range(number, number + self.per_tick))
            number += self.per_tick
            while waiting and not self.stopping.is_set():
                waiting = self.attempt(waiting)
                if waiting:
                    self.refusals += len(waiting)
                    # What an idempotent producer has given up leaves a gap in its numbers: another one takes over.
                    self.producers.pop(self.target).purge()
                    self.target = 1 - self.target
            due = max(due + TICK, time.monotonic() - TICK)
            time.sleep(max(0, due - time.monotonic()))

    def finish(self):
        self.stopping.set()
        self.join(30)
        for producer in self.producers.values():
            producer.flush(5)

    def longest_gap(self, since: float) -> float:
        times = [when for _, _, when in self.acknowledged if when >= since - 0.5]
        return max((after - before for before, after in zip(times, times[1:])), default=0.0)

    def first_on(self, cluster: int, since: float) -> float | None:
        return next((when for _, where, when in self.acknowledged if where == cluster and when >= since), None)


class Billing(threading.Thread):
    """A consumer of a group; starts again on the other cluster where the group's copied offsets say."""

    def __init__(self, clusters):
        super().__init__(daemon=True)
        self.clusters, self.target, self.stopping = clusters, 0, threading.Event()
        self.seen: collections.Counter = collections.Counter()

    def run(self):
        while not self.stopping.is_set():
            target = self.target
            consumer = Consumer({
                **QUIET, "bootstrap.servers": self.clusters[target].bootstrap, "group.id": GROUP, "auto.offset.reset": "earliest",
                "auto.commit.interval.ms": 200, "session.timeout.ms": 6000, "reconnect.backoff.max.ms": 200})
            consumer.subscribe([TOPIC])
            while self.target == target and not self.stopping.is_set():
                self.seen.update(int(message.value()) for message in consumer.consume(500, 0.05) if not message.error())
            threading.Thread(target=consumer.close, daemon=True).start()

    def finish(self):
        self.stopping.set()
        self.join(10)


def contents(cluster) -> collections.Counter:
    """How often each number is in the topic, up to the ends that it has now: producers go on."""
    consumer = Consumer({
        **QUIET, "bootstrap.servers": cluster.bootstrap, "group.id": "count", "enable.auto.commit": False, "auto.offset.reset": "earliest"})
    places = [TopicPartition(TOPIC, partition, 0) for partition in range(PARTITIONS)]
    left = {place.partition: consumer.get_watermark_offsets(place, timeout=30)[1] for place in places}
    consumer.assign(places)
    found = collections.Counter()
    while left:
        for message in consumer.consume(1000, 1):
            if message.error():
                raise KafkaException(message.error())
            found[int(message.value())] += 1
            if message.offset() + 1 >= left.get(message.partition(), 0):
                left.pop(message.partition(), None)
    consumer.close()
    return found


def mirror_state(cluster) -> dict:
    return next((each for each in martlet_json(cluster, "link", "mirrors") if each["topic"] == TOPIC), {})


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


class Demonstration:
    def __init__(self, primary, standby, rate: int, seconds: float):
        self.primary, self.standby, self.seconds = primary, standby, seconds
        self.shop, self.billing = Shop([primary, standby], rate), Billing([primary, standby])
        self.figures: dict[str, object] = {}

    def run(self) -> dict:
        self.prepare()
        time.sleep(self.seconds)
        self.fail_over(self.kill())
        time.sleep(self.seconds)
        self.bring_back()
        time.sleep(self.seconds)
        self.fail_back()
        time.sleep(self.seconds)
        return self.conclude()

    def prepare(self) -> None:
        say(f"Two clusters: the primary at {self.primary.bootstrap}, the standby at {self.standby.bootstrap}")
        self.primary.create(TOPIC, PARTITIONS)
        martlet(
            self.standby, "link", "create", "dr", "--bootstrap", self.primary.bootstrap, "--set", "consumer.offset.sync.enable=true",
            "--set", "consumer.offset.sync.ms=1000", "--set", "availability.check.ms=1000")
        martlet(self.standby, "link", "mirror", "dr", TOPIC)
        wait_until(lambda: mirror_state(self.standby).get("state") == "ACTIVE", "the mirror is active")
        say(f"The standby mirrors '{TOPIC}' by link 'dr'; producers and a consumer of group '{GROUP}' work on the primary")
        self.shop.start()
        self.billing.start()
        wait_until(lambda: len(self.shop.acknowledged) > 100 and self.billing.seen, "clients are at work")

    def kill(self) -> float:
        killed = time.monotonic()
        for node in self.primary.nodes:
            node.process.kill()
        for node in self.primary.nodes:
            node.process.wait()
        say("kill -9: the primary is gone, whole")
        return killed

    def fail_over(self, killed: float) -> None:
        began = time.monotonic()
        martlet(self.standby, "link", "failover", "dr", "--all")
        self.figures["failover command, s"] = time.monotonic() - began
        self.billing.target = 1
        first = wait_until(lambda: self.shop.first_on(1, killed), "the standby takes writes", 60)
        say(f"The standby has taken over: first acknowledged write {first - killed:.2f} s after the kill")
        time.sleep(0.6)
        self.figures["RTO of the failover, s"] = self.shop.longest_gap(killed)
        at_primary = [(number, when) for number, where, when in self.shop.acknowledged if where == 0]
        there = contents(self.standby)
        lost = [(number, when) for number, when in at_primary if not there[number]]
        self.lost = {number for number, _ in lost}
        self.figures["RPO of the failover, records"] = len(lost)
        self.figures["RPO of the failover, s"] = at_primary[-1][1] - min(when for _, when in lost) if lost else 0.0
        say(f"Of {len(at_primary)} records that the primary had acknowledged, {len(lost)} are not here")

    def bring_back(self) -> None:
        began = time.monotonic()
        self.primary.start_nodes()
        say("The old primary runs again; it is made a mirror of the standby, from where both agree")
        martlet(self.primary, "link", "create", "back", "--bootstrap", self.standby.bootstrap, "--set", "consumer.offset.sync.enable=true",
                "--set", "consumer.offset.sync.ms=1000")
        martlet(self.primary, "link", "restore", "back", TOPIC, "--yes")

        def follows():
            mirror = mirror_state(self.primary)
            return mirror.get("state") == "ACTIVE" and mirror.get("lag") is not None and mirror["lag"] < 200

        wait_until(follows, "the old primary follows", 60)
        self.figures["old primary: start to following, s"] = time.monotonic() - began
        cut = sum(each.get("cutRecords", 0) for each in mirror_state(self.primary).get("partitions", []))
        self.figures["records cut off the old primary, kept in files"] = cut

    def fail_back(self) -> None:
        began = time.monotonic()
        martlet(self.primary, "link", "promote", "back", TOPIC)
        self.figures["promotion command, s"] = time.monotonic() - began
        self.billing.target = 0
        first = wait_until(lambda: self.shop.first_on(0, began), "the old primary takes writes", 60)
        say(f"Back on the old primary: first acknowledged write {first - began:.2f} s after the command")
        time.sleep(0.6)
        self.figures["RTO of the failback, s"] = self.shop.longest_gap(began)
        martlet(self.standby, "link", "restore", "dr", TOPIC, "--yes")
        say("The standby mirrors the primary again, as in the beginning")

    def conclude(self) -> dict:
        self.shop.finish()
        self.billing.finish()
        there = contents(self.primary)
        missing = {number for number, _, _ in self.shop.acknowledged if not there[number]}
        self.figures["RPO of the failback, records"] = len(missing - self.lost)
        self.figures["acknowledged records"] = len(self.shop.acknowledged)
        self.figures["records that are there twice"] = sum(count - 1 for count in there.values() if count > 1)
        self.figures["records that the consumer was given twice"] = sum(count - 1 for count in self.billing.seen.values() if count > 1)
        wait_until(lambda: mirror_state(self.standby).get("lag") == 0 and mirror_state(self.standby)["state"] == "ACTIVE", "the standby follows")
        done = martlet(self.standby, "link", "verify", "dr", check=False)
        self.figures["both clusters hold the same"] = done.returncode == 0
        if done.returncode:
            print(done.stdout + done.stderr)
        return self.figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=3, help="of each cluster")
    parser.add_argument("--rate", type=int, default=1000, help="records a second")
    parser.add_argument("--seconds", type=float, default=5, help="of work between the steps")
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="martlet-demo-") as directory:
        settings = {"transaction.state.log.replication.factor": str(min(3, arguments.nodes)), "offsets.topic.num.partitions": "3"}
        with source_cluster(arguments.nodes, settings=settings, directory=Path(directory) / "primary") as primary, \
                destination_cluster(arguments.nodes, settings=settings, directory=Path(directory) / "standby") as standby:
            figures = Demonstration(primary, standby, arguments.rate, arguments.seconds).run()
    print()
    for name, value in figures.items():
        text = ("yes" if value else "NO") if isinstance(value, bool) else f"{value:.2f}" if isinstance(value, float) else str(value)
        print(f"  {name:<50}{text:>10}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if figures["both clusters hold the same"] and figures["RPO of the failback, records"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
