"""Two clusters of three nodes, one mirroring the other over a distance, under load and under a nemesis; then everything has to come to
rest, the same on every replica. Then the mirror takes over, the old source is cut back to what both have and follows, and so on.

    python link_torment.py [--minutes 5] [--seed 1] [--faults cut-link,kill] [--keep DIRECTORY]
"""

import argparse
import itertools
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import KafkaException

from clusters import Cluster
from commands import martlet, martlet_json
from link_nemesis import LinkNemesis
from links import batches, destination_cluster, link, source_cluster, wait_end, wait_mirror
from network import Network
from nodes import binary, wait_until
from operations import OK, Recorder
from reigns import CODECS, Reigns, ReignWriter, Traveller, committed, contents, cut_offsets, ends
from workload import Worker

TOPIC, PARTITIONS = "torment", 6
LINK = "torment-link"


class OffsetWatch(Worker):
    """The offsets that a link brings along never lie beyond the mirror's end."""

    def __init__(self, torment: "LinkTorment"):
        super().__init__()
        self.torment = torment
        self.is_quiet = True
        self.looked = 0

    def work(self):
        while not self.stopping.wait(0.5):
            mirror = self.torment.mirror
            if self.is_quiet and all(node.is_running and not node.is_paused for node in mirror.nodes):
                try:
                    offsets = committed(mirror, Traveller.group, TOPIC, PARTITIONS, 5)
                    there = {partition: mirror.leader(TOPIC, partition).log_end(TOPIC, partition) for partition in offsets}
                except Exception:
                    # A fault has begun meanwhile.
                    continue
                if self.is_quiet and mirror is self.torment.mirror:
                    self.looked += 1
                    beyond = {partition: (offset, there[partition]) for partition, offset in offsets.items() if offset > there[partition]}
                    assert not beyond, f"offsets of a group lie beyond the mirror's ends: {beyond}"


class LinkTorment:
    """`say` is told what happens. Everything raises AssertionError where a promise is broken."""

    def __init__(
        self, directory: Path, seed: int, rate: float = 100, patience: float = 120, say: Callable = print, is_whole_network: bool = True,
    ):
        """Without a whole network only what links and clients say goes through the proxy, which is less work for the machine."""
        self.directory, self.seed, self.rate, self.patience, self.say = directory, seed, rate, patience, say
        self.random = random.Random(seed)
        self.network = Network(directory)
        # On a busy machine a node that starts may wait long for its turn.
        settings = {"log.segment.bytes": str(1 << 20), "initial.broker.registration.timeout.ms": "300000"}
        shared = {"network": self.network, "settings": settings, **({} if is_whole_network else {"proxied_listeners": ("PLAINTEXT",)})}
        self.source = source_cluster(3, names="s", directory=directory / "s", **shared)
        self.mirror = destination_cluster(3, names="d", directory=directory / "d", **shared)
        self.recorder = Recorder(directory / "history.jsonl")
        self.nemesis = LinkNemesis(self.network, self.source, self.mirror, self.recorder, TOPIC, seed, say)
        self.reigns = Reigns(self.recorder)
        self.writers: list[ReignWriter] = []
        self.numbers = itertools.count()

    def start(self) -> None:
        self.say(f"==> Starting two clusters in {self.directory} (seed {self.seed})")
        for cluster in self.nemesis.sides:
            for node in cluster.nodes:
                node.format()
                node.start()
        for cluster in self.nemesis.sides:
            cluster.start_nodes()
            cluster.wait_whole()
        self.nemesis.distance.become(0.05)
        for cluster, other in ((self.source, self.mirror), (self.mirror, self.source)):
            link(cluster, other, LINK, topic_config_sync_ms=1000, availability_check_ms=1000, consumer_offset_sync_enable="true",
                 consumer_offset_sync_ms=1000)
        self.source.create(TOPIC, PARTITIONS)
        martlet(self.mirror, "link", "mirror", LINK, TOPIC)
        self.traveller, self.watch = Traveller(self.source, TOPIC), OffsetWatch(self)
        self.write()
        self.traveller.start()
        self.watch.start()
        self.recovered()

    def write(self) -> None:
        self.writers = [
            ReignWriter(self.reigns.number, next(self.numbers), self.source, TOPIC, PARTITIONS, self.recorder, self.rate)
            for _ in CODECS
        ]
        for writer in self.writers:
            writer.start()

    def recovered(self) -> None:
        """Both clusters are whole, every writer is acknowledged again, and the mirror has what the source had just now."""
        for cluster in self.nemesis.sides:
            cluster.wait_whole(self.patience)
        before = [writer.acknowledged for writer in self.writers]
        wait_until(
            lambda: all(writer.acknowledged > count + 2 * PARTITIONS for writer, count in zip(self.writers, before)),
            "every writer is acknowledged again", self.patience)
        for partition, end in ends(self.source, TOPIC, PARTITIONS).items():
            wait_until(
                lambda: log_end(self.mirror, partition) >= end,
                f"{TOPIC}-{partition} has been mirrored up to {end}", self.patience, 0.1)
        self.check_workers()

    def check_workers(self) -> None:
        for worker in (*self.writers, self.traveller, self.watch):
            if worker.error:
                raise AssertionError(f"{type(worker).__name__} failed: {worker.error!r}")
        fatal = [f"{writer.process}: {writer.fatal}" for writer in self.writers if writer.fatal]
        assert not fatal, fatal

    def rage(self, seconds: float, names: list[str]) -> None:
        def strike_is_over():
            self.watch.is_quiet = False
            self.recovered()
            self.watch.is_quiet = True

        self.nemesis.rage(seconds, names, strike_is_over)

    def come_to_rest(self) -> None:
        """Nobody writes any more: both sides become the same, and it is proved."""
        self.say("==> Coming to rest")
        for writer in self.writers:
            writer.finish(180)
        self.check_workers()
        self.writers = []
        wait_mirror(self.mirror, TOPIC, "ACTIVE", 0, self.patience)
        ours = {
            partition: wait_until(lambda: log_end(self.source, partition) + 1, f"the end of {TOPIC}-{partition} is told", self.patience) - 1
            for partition in range(PARTITIONS)
        }
        for cluster in self.nemesis.sides:
            for partition, end in ours.items():
                wait_end(cluster, TOPIC, end, partition, self.patience)
        self.same_everywhere()
        verified = martlet(self.mirror, "link", "verify", LINK, check=False)
        assert verified.returncode == 0, verified.stdout + verified.stderr
        found = contents(self.mirror, TOPIC, ends(self.mirror, TOPIC, PARTITIONS))
        assert {partition: ours[partition] for partition in found} == ends(self.mirror, TOPIC, PARTITIONS)
        faults = self.reigns.judge(found, cut_offsets(self.source, TOPIC) | cut_offsets(self.mirror, TOPIC))
        assert not faults, f"{len(faults)} promises are broken: " + "; ".join(faults[:5])
        self.check_group({value for records in found.values() for _, value in records}, ours)
        self.say(f"    the same on 6 replicas: {sum(len(each) for each in found.values())} records")

    def same_everywhere(self) -> None:
        for partition in range(PARTITIONS):
            expected = batches(self.source.leader(TOPIC, partition), TOPIC, partition)
            for cluster in self.nemesis.sides:
                for node in cluster.brokers:
                    found = batches(node, TOPIC, partition)
                    different = next((each for each in zip(expected, found) if each[0] != each[1]), (b"", b""))
                    assert found == expected, (
                        f"{node} has another {TOPIC}-{partition}: {len(found)} batches instead of {len(expected)}; "
                        f"the first other one at {[int.from_bytes(each[:8], 'big') for each in different]}")

    def check_group(self, values: set[str], log_ends: dict[int, int]) -> None:
        wait_until(lambda: values <= self.traveller.seen, "the group has read every record, on whichever side", 60, 0.1)
        for cluster, what in ((self.source, "the group has committed everything"), (self.mirror, "the mirror has the group's offsets")):
            wait_until(lambda: committed(cluster, Traveller.group, TOPIC, PARTITIONS) == log_ends, what, 60, 0.2)
        assert self.watch.looked > 0, "nobody has looked at the group's offsets"

    def take_over(self, how: str, faults: list[str], is_disturbed: bool) -> None:
        """The mirror takes over: `kill` and `cut` fail over from a source that died or is out of reach, `promote` is planned. It is
        disturbed by the death of who coordinates links. Then the old source follows, while `faults` happen."""
        self.say(f"==> Taking over: {how}")
        self.watch.is_quiet = False
        before = ends(self.mirror, TOPIC, PARTITIONS)
        if how == "kill":
            self.nemesis.kill(self.source.nodes)
        elif how == "cut":
            self.nemesis.cut_link(True, True)
            self.diverge()
        self.command("promote" if how == "promote" else "failover", is_disturbed)
        wait_mirror(self.mirror, TOPIC, "STOPPED", None, self.patience)
        for writer in self.writers:
            writer.leave()
        starts = ends(self.mirror, TOPIC, PARTITIONS)
        assert all(starts[partition] >= before[partition] for partition in starts), f"the mirror had {before} before and {starts} after"
        position = committed(self.mirror, Traveller.group, TOPIC, PARTITIONS)
        assert all(offset <= min(starts[partition], self.traveller.position.get(partition, 0)) for partition, offset in position.items()), (
            f"the group goes on from {position}; the ends are {starts}, and it has read up to {self.traveller.position}")
        self.source, self.mirror = self.mirror, self.source
        self.nemesis.change_places()
        self.reigns.end(None if how == "promote" else starts)
        self.traveller.go_over(self.source)
        self.write()
        self.give_back(faults)

    def command(self, verb: str, is_disturbed: bool) -> None:
        words = [str(binary()), "link", verb, LINK, "--all", "-b", self.mirror.bootstrap]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if is_disturbed:
            self.nemesis.strike("kill-link-coordinator", self.random.uniform(0.5, 3))
        if process.wait(120) != 0:
            # Said again it goes on where it stood.
            wait_until(
                lambda: martlet(self.mirror, "link", verb, LINK, "--all", check=False).returncode == 0,
                f"{verb} comes to its end", self.patience, 1)

    def diverge(self) -> None:
        """The source goes on by itself for a while."""
        before = [writer.acknowledged for writer in self.writers]
        wait_until(
            lambda: all(writer.acknowledged > count + 50 for writer, count in zip(self.writers, before)), "the source goes on alone",
            self.patience)

    def give_back(self, faults: list[str]) -> None:
        self.nemesis.distance.heal()
        self.mirror.start_nodes()
        self.mirror.wait_whole(self.patience)
        martlet(self.mirror, "link", "restore", LINK, TOPIC, "--yes")
        for name in faults:
            self.nemesis.strike(name, self.random.uniform(0.5, 3))
        # Nodes that the last fault has killed may only be starting, and then nobody is there to be asked.
        self.mirror.wait_whole(self.patience)
        wait_mirror(self.mirror, TOPIC, "ACTIVE", None, self.patience)
        self.recovered()
        cut = sum(each.get("cutRecords", 0) for each in martlet_json(self.mirror, "link", "mirrors")[0]["partitions"])
        self.say(f"    the old source follows; {cut} records were cut off")
        self.watch.is_quiet = True

    def close(self) -> None:
        for writer in self.writers:
            writer.stopping.set()
        for cluster in self.nemesis.sides:
            cluster.close(keep=True)
        self.network.close()

    def summary(self) -> str:
        acknowledged = sum(1 for each in self.recorder.operations if each.outcome == OK)
        return f"{len(self.recorder.faults)} faults, {self.reigns.number} take-overs, {acknowledged} records acknowledged"


def log_end(cluster: Cluster, partition: int) -> int:
    """Of the leader's log; -1 where it does not say so in time, or leads no more."""
    try:
        return cluster.leader(TOPIC, partition).log_end(TOPIC, partition)
    except (OSError, ValueError):
        return -1


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def run(options) -> bool:
    directory = Path(tempfile.mkdtemp(prefix="martlet-link-torment-"))
    torment = LinkTorment(directory, options.seed, options.rate, options.patience, say, not options.links_only)
    failure = None
    deadline = time.monotonic() + options.minutes * 60
    try:
        torment.start()
        names = options.faults.split(",") if options.faults else list(torment.nemesis.faults)
        while True:
            torment.rage(min(45, max(1, deadline - time.monotonic())), names)
            torment.come_to_rest()
            torment.write()
            torment.rage(5, names)
            how, is_disturbed = torment.random.choice(["kill", "cut", "promote"]), torment.random.random() < 0.5
            torment.take_over(how, torment.random.sample(names, min(2, len(names))), is_disturbed)
            torment.come_to_rest()
            if time.monotonic() > deadline:
                break
            torment.write()
    except (AssertionError, KafkaException, subprocess.SubprocessError) as error:
        failure = error
    finally:
        torment.close()
        torment.recorder.save()
    say(torment.summary())
    if failure:
        kept = Path(options.keep) / time.strftime(f"links-%Y%m%d-%H%M%S-seed{options.seed}")
        print(f"FAILED: {failure!r}", flush=True)
        shutil.move(directory, kept)
        print(f"History, logs and data: {kept}")
    else:
        shutil.rmtree(directory, ignore_errors=True)
        print("Everything that was promised held.")
    return failure is None


def parse(arguments: list[str]):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 100_000))
    parser.add_argument("--faults", default="", help="only these, separated by commas")
    parser.add_argument("--rate", type=float, default=100, help="records a second of each of the five writers")
    parser.add_argument("--patience", type=float, default=120, help="seconds in which everything must work again after a fault")
    parser.add_argument("--links-only", action="store_true", help="nodes of one cluster reach each other without the proxy")
    parser.add_argument("--keep", default=".cache/torment", help="where what failed is kept")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(0 if run(parse(sys.argv[1:])) else 1)
