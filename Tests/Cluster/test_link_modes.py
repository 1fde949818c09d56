"""Modes of links: connections opened by the source, both directions under one name with reversal, mirrors that the source waits for."""

import socket
import subprocess
import threading
import time

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import NewPartitions

from clusters import Cluster
from commands import martlet, martlet_json
from links import batches, destination_cluster, link, metric, mirror, source_cluster, wait_acks, wait_end, wait_mirror
from load import QUIET
from nodes import binary, wait_until
from proxy import owner
from test_links import consume, produce, takes_records


class Trap:
    """Listens where the source says that its brokers are; notes which process each visitor belongs to, and what it says. The source's own
    controller knocks there too, and says nothing."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.pids: dict[str, int] = {}
        self.visitors: list[tuple[str, bytes]] = []
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def port(self) -> int:
        return self.listener.getsockname()[1]

    def _watch(self):
        while True:
            try:
                visitor, (_, port) = self.listener.accept()
            except OSError:
                return
            who = owner(port, dict(self.pids))
            visitor.settimeout(1)
            try:
                said = visitor.recv(1000)
            except OSError:
                said = b""
            self.visitors.append((who, said))
            visitor.close()

    def watch(self, *clusters: Cluster):
        """Processes by the names of their clusters; to be said again when nodes were started anew."""
        self.pids = {f"{cluster.bootstrap} {node}": node.process.pid for cluster in clusters for node in cluster.nodes}

    def caught(self, cluster: Cluster) -> list[tuple[str, bytes]]:
        """Visitors from a cluster, and those that nobody knows and that wanted something."""
        return [(who, said) for who, said in self.visitors if who.startswith(cluster.bootstrap) or said]


@pytest.fixture(scope="module")
def trap():
    trap = Trap()
    yield trap
    trap.listener.close()


@pytest.fixture(scope="module")
def source(trap):
    """One node, which serves links on the listener between brokers; that one cannot be connected to where it is said to be."""
    cluster = source_cluster(1)
    node = cluster.node(1)
    node.settings["advertised.listeners"] = node.settings["advertised.listeners"].replace(
        f"REPLICATION://127.0.0.1:{node.published['REPLICATION']}", f"REPLICATION://127.0.0.1:{trap.port}")
    node.configure({})
    with cluster:
        yield cluster


@pytest.fixture(scope="module")
def destination(source):
    with destination_cluster(3) as cluster:
        yield cluster


def connections(cluster: Cluster, name: str) -> list[dict]:
    return martlet_json(cluster, "link", "describe", name)["connections"]


def test_the_source_opens_the_connections(source, destination, trap):
    """The destination has no address of the source: everything it asks goes over connections that the source has opened."""
    trap.watch(source, destination)
    martlet(destination, "link", "create", "far", "--set", "connection.mode=INBOUND", "--set", "topic.config.sync.ms=500",
            "--set", "consumer.offset.sync.enable=true", "--set", "consumer.offset.sync.ms=1000")
    wait_until(lambda: "waits for the source to connect" in martlet(destination, "link", "describe", "far").stdout,
               "the brokers know of the link and say what it waits for", 10, 0.1)
    refused = martlet(destination, "link", "mirror", "far", "remote", check=False)
    assert refused.returncode == 1 and "waiting for the source to connect" in refused.stderr

    source.create("remote", 2, **{"retention.ms": "86400000"})
    produce(source, "remote", range(2000), partition=0, **{"compression.type": "lz4"})
    wrong = martlet(source, "link", "create", "far", "--bootstrap", destination.bootstrap, "--set", "link.mode=SOURCE",
                    "--set", "connection.mode=INBOUND", check=False)
    assert wrong.returncode == 1 and "connection.mode" in wrong.stderr
    martlet(source, "link", "create", "far", "--bootstrap", destination.bootstrap, "--set", "link.mode=SOURCE")
    refused = martlet(source, "link", "mirror", "far", "remote", check=False)
    assert refused.returncode == 1 and "SOURCE" in refused.stderr

    def offered_everywhere():
        views = connections(destination, "far")
        return len(views) == 3 and all(view["accepted"] and view["accepted"][0]["offered"] >= 2 for view in views)

    wait_until(offered_everywhere, "the source offers connections to every broker", 30, 0.1)
    martlet(destination, "link", "mirror", "far", "remote")
    produce(source, "remote", range(500), partition=1)
    for partition, end in ((0, 2000), (1, 500)):
        wait_end(destination, "remote", end, partition)
        for node in destination.brokers:
            assert batches(node, "remote", partition) == batches(source.node(1), "remote", partition)

    reader = Consumer({"bootstrap.servers": source.bootstrap, "group.id": "traveller", "auto.offset.reset": "earliest",
                       "enable.auto.commit": False, **QUIET})
    reader.subscribe(["remote"])
    message = reader.poll(30)
    reader.commit(message, asynchronous=False)
    reader.close()
    wait_until(lambda: "traveller" in martlet(destination, "group", "list").stdout, "the group's offsets have come", 30, 0.2)

    # Both sides come back by themselves: a broker of the destination, then the whole source.
    victim = destination.leader("remote", 0)
    victim.kill()
    victim.start().wait_ready()
    trap.watch(source, destination)
    source.node(1).kill()
    source.node(1).start()
    trap.watch(source, destination)
    source.node(1).wait_ready()
    produce(source, "remote", range(2000, 2100), partition=0)
    wait_end(destination, "remote", 2100, 0, 60)
    wait_mirror(destination, "remote")

    # A planned take-over fences the source over the same connections.
    martlet(destination, "link", "promote", "far", "remote")
    assert takes_records(destination, "remote") and not takes_records(source, "remote")
    assert not trap.caught(destination), "the destination has connected to the source"
    shown = connections(source, "far")[0]["offering"]["brokers"]
    assert [broker["broker"] for broker in shown] == [1, 2, 3] and all(broker["offered"] for broker in shown)
    martlet(source, "link", "delete", "far")
    martlet(destination, "link", "delete", "far")


def test_mirror_and_source_change_places(source, destination, trap):
    """One name on both sides, each mirrors topics of the other; reversed there and back, through the death of the coordinator."""
    martlet(destination, "link", "create", "both", "--set", "link.mode=BIDIRECTIONAL", "--set", "connection.mode=INBOUND",
            "--set", "topic.config.sync.ms=500", "--set", "availability.check.ms=500")
    topics = [f"turned{number}" for number in range(4)]
    for topic in topics:
        source.create(topic, 1)
        produce(source, topic, range(200))
    destination.create("other-way", 1)
    produce(destination, "other-way", range(50))

    # The other side has no such link yet: nothing is fenced before that is found out.
    martlet(source, "link", "create", "both", "--bootstrap", destination.bootstrap, "--set", "link.mode=BIDIRECTIONAL",
            "--set", "topic.config.sync.ms=500", "--set", "cluster.link.prefix=from.")
    martlet(destination, "link", "mirror", "both", *topics)
    martlet(source, "link", "mirror", "both", "other-way")
    wait_end(source, "from.other-way", 50)
    martlet(source, "link", "failover", "both", "from.other-way")
    refused = martlet(source, "link", "reverse", "both", "from.other-way", check=False)
    assert refused.returncode == 1 and "cluster.link.prefix" in refused.stderr
    # Without its link the source opens no connections.
    for topic in topics:
        wait_mirror(destination, topic)
    martlet(source, "link", "delete", "both")
    refused = martlet(destination, "link", "reverse", "both", topics[0], check=False)
    assert refused.returncode == 1 and takes_records(source, topics[0]), refused.stderr

    martlet(source, "link", "create", "both", "--bootstrap", destination.bootstrap, "--set", "link.mode=BIDIRECTIONAL",
            "--set", "topic.config.sync.ms=500")
    planned = martlet(destination, "link", "reverse", "both", topics[0], "--dry-run")
    assert "WOULD BE" in planned.stdout and mirror(destination, topics[0])["reversal"] == "none"

    # Whoever coordinates dies in the middle; the next one goes on.
    coordinator = destination.leader("__cluster_links", 0)
    command = subprocess.Popen([str(binary()), "link", "reverse", "both", "--all", "-b", destination.bootstrap],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_until(lambda: any(mirror(destination, topic)["reversal"] != "none" for topic in topics), "the reversal has begun", 30, 0.01)
    coordinator.kill()
    command.wait(90)
    coordinator.start().wait_ready()
    trap.watch(source, destination)
    again = martlet(destination, "link", "reverse-and-start", "both", "--all")
    assert again.stdout.count("STOPPED") >= len(topics)
    for topic in topics:
        assert mirror(destination, topic)["reversal"] == "done"
        wait_mirror(source, topic)
        assert takes_records(destination, topic) and not takes_records(source, topic)
        end = 201 + (topic == topics[0])
        wait_end(source, topic, end)
        assert consume(source, topic, end) == consume(destination, topic, end)
        assert [value for _, value in consume(source, topic, end)][:200] == [str(number) for number in range(200)]

    # And back, from the other side.
    martlet(source, "link", "reverse", "both", topics[0])
    wait_mirror(destination, topics[0])
    assert takes_records(source, topics[0]) and not takes_records(destination, topics[0])
    wait_end(destination, topics[0], 203)
    assert consume(source, topics[0], 203) == consume(destination, topics[0], 203)
    assert not trap.caught(destination)


def test_a_reversed_mirror_can_be_paused_until_it_is_wanted(source, destination):
    for cluster, other in ((destination, source), (source, destination)):
        link(cluster, other, "rested", link_mode="BIDIRECTIONAL", topic_config_sync_ms=500, availability_check_ms=500)
    source.create("rested", 1)
    produce(source, "rested", range(100))
    martlet(destination, "link", "mirror", "rested", "rested")
    wait_mirror(destination, "rested")
    martlet(destination, "link", "reverse-and-pause", "rested", "rested")
    assert mirror(destination, "rested")["reversal"] == "done"
    assert mirror(source, "rested")["state"] == "PAUSED"
    assert takes_records(destination, "rested") and not takes_records(source, "rested")
    produce(destination, "rested", range(50))
    # What is written and mirrored later is there.
    destination.create("awake", 1)
    produce(destination, "awake", range(50))
    martlet(source, "link", "mirror", "rested", "awake")
    wait_end(source, "awake", 50)
    assert source.node(1).log_end("rested") == 100, "nothing is fetched before it is resumed"
    martlet(source, "link", "resume", "rested", "rested")
    wait_mirror(source, "rested")
    wait_end(source, "rested", 151)
    assert consume(source, "rested", 151) == consume(destination, "rested", 151)


def test_producers_wait_for_a_mirror_whose_connections_the_source_opens(source, destination):
    """Synchronous over connections that are turned round: what was answered is there, and a mirror that stands still is waited for."""
    source.create("far-safe", 1)
    martlet(destination, "link", "create", "far-sync", "--set", "connection.mode=INBOUND", "--set", "topic.config.sync.ms=500",
            "--set", "mirror.acks=all", "--set", "mirror.sync.timeout.ms=2000")
    martlet(source, "link", "create", "far-sync", "--bootstrap", destination.bootstrap, "--set", "link.mode=SOURCE")
    wait_until(lambda: martlet(destination, "link", "mirror", "far-sync", "far-safe", check=False).returncode == 0,
               "the source is connected", 30, 0.2)
    wait_acks(destination, "far-safe", "synchronous")
    produce(source, "far-safe", range(500))
    # Answered means there, on every replica: no waiting.
    leader = destination.leader("far-safe", 0)
    assert leader.log_end("far-safe") >= 500
    for node in destination.brokers:
        node.pause()
    began = time.monotonic()
    produce(source, "far-safe", ["late"])
    waited = time.monotonic() - began
    assert 1.0 <= waited < 8, f"{waited} s for a bound of 2 s"
    assert metric(source, "martlet_link_synchronous", "far-safe") == 0
    for node in destination.brokers:
        node.resume()
    wait_acks(destination, "far-safe", "synchronous")
    produce(source, "far-safe", ["again"])
    assert destination.leader("far-safe", 0).log_end("far-safe") >= 502


def test_producers_wait_for_the_mirror_within_a_bound(source, destination):
    """Also for one that stands still, and from the first record of a new leader on."""
    for topic in ("safe", "unsafe"):
        source.create(topic, 1)
        produce(source, topic, range(100))
    link(destination, source, "sync", mirror_acks="all", mirror_sync_timeout_ms=3000, topic_config_sync_ms=500,
         availability_check_ms=500, **{
        "mirror_sync_filters": '{"topicFilters":[{"name":"safe","patternType":"LITERAL","filterType":"INCLUDE"}]}'})
    martlet(destination, "link", "mirror", "sync", "safe", "unsafe")
    wait_acks(destination, "safe", "synchronous")
    assert mirror(destination, "unsafe")["synchronous"] == ""
    assert metric(source, "martlet_link_synchronous", "safe") == 1

    # The mirror's cluster stands still: producers wait as long as was said, then go on without it, and consumers did not wait at all.
    for node in destination.brokers:
        node.pause()
    began = time.monotonic()
    produce(source, "unsafe", ["at once"])
    assert time.monotonic() - began < 2.5
    began = time.monotonic()
    produce(source, "safe", ["late"])
    waited = time.monotonic() - began
    assert 2.0 <= waited < 12, f"{waited} s for a bound of 3 s"
    began = time.monotonic()
    produce(source, "safe", ["without it"])
    assert time.monotonic() - began < 2.5
    assert metric(source, "martlet_link_synchronous", "safe") == 0
    assert metric(source, "martlet_link_synchronous_degraded_total", "safe") == 1
    assert "does not keep up" in source.node(1).log()
    for node in destination.brokers:
        node.resume()
    wait_acks(destination, "safe", "synchronous")
    assert metric(source, "martlet_link_synchronous", "safe") == 1

    # A leader that has just started waits from its first record on.
    source.node(1).kill()
    for node in destination.brokers:
        node.pause()
    source.node(1).start().wait_ready()
    began = time.monotonic()
    produce(source, "safe", ["after the start"])
    assert time.monotonic() - began >= 2.0
    for node in destination.brokers:
        node.resume()
    wait_acks(destination, "safe", "synchronous")


def test_partitions_that_are_added_are_waited_for_from_their_first_record_on(source, destination):
    """Until the mirror has them too, which is a matter of topic.config.sync.ms and bounded by mirror.sync.timeout.ms."""
    source.create("grown", 1)
    link(destination, source, "grown", mirror_acks="all", mirror_sync_timeout_ms=20_000, topic_config_sync_ms=2_000,
         availability_check_ms=2_000)
    martlet(destination, "link", "mirror", "grown", "grown")
    wait_acks(destination, "grown", "synchronous")
    count = 12
    admin = source.admin()
    admin.create_partitions([NewPartitions("grown", count)])["grown"].result(30)
    for partition in range(1, count):
        produce(source, "grown", ["first"], partition=partition)
        # Answered, so it is there, on the replica that leads.
        assert destination.leader("grown", partition).log_end("grown", partition) == 1, partition
    assert metric(source, "martlet_link_synchronous_degraded_total", "grown") == 0
    assert metric(source, "martlet_link_synchronous", "grown") == count


def test_what_is_mirrored_one_way_is_not_mirrored_back(source, destination):
    """Both sides connect, and mirror everything new of each other, also what their filters would take for topics of the other's own."""
    for cluster, other, prefix, foreign in ((destination, source, "s.", "d."), (source, destination, "d.", "s.")):
        rules = ",".join(f'{{"name":"{name}","patternType":"PREFIXED","filterType":"INCLUDE"}}' for name in ("ring", f"{foreign}ring"))
        link(cluster, other, "ring", link_mode="BIDIRECTIONAL", topic_config_sync_ms=500, cluster_link_prefix=prefix,
             auto_create_mirror_topics_enable="true", auto_create_mirror_topics_filters=f'{{"topicFilters":[{rules}]}}')
    # The second ones come when the first have been looked at for a whole round.
    for number in (1, 2):
        source.create(f"ring{number}", 1)
        produce(source, f"ring{number}", range(10))
        destination.create(f"ring-there{number}", 1)
        produce(destination, f"ring-there{number}", range(10))
        wait_mirror(destination, f"s.ring{number}")
        wait_mirror(source, f"d.ring-there{number}")
    for cluster in (source, destination):
        named = {name for name in cluster.admin().list_topics(timeout=10).topics if "ring" in name}
        assert not any(name.startswith(("s.d.", "d.s.")) for name in named), named
        for node in cluster.nodes:
            assert "connects by itself" not in node.log(), "that the other side needs no connections is no problem"
    assert consume(source, "d.ring-there2", 10) == [(number, str(number)) for number in range(10)]
