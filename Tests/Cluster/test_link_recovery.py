"""Links when things fail: nodes killed on both sides, sources that lose records, clusters that come back after another took over."""

import time

import pytest
from confluent_kafka import KafkaException, Producer

from clusters import Cluster
from commands import martlet, martlet_json
from links import batches, destination_cluster, link, metric, mirror, source_cluster, wait_acks, wait_end, wait_mirror
from load import QUIET
from nodes import wait_until
from test_links import consume, produce, takes_records
from workload import Worker


@pytest.fixture
def source():
    with source_cluster(3) as cluster:
        yield cluster


@pytest.fixture
def destination(source):
    with destination_cluster(3) as cluster:
        link(cluster, source, topic_config_sync_ms=500, availability_check_ms=500)
        yield cluster


class Filling(Worker):
    """Writes numbered records to a topic until it is stopped; remembers what was acknowledged, partition by partition."""

    def __init__(self, cluster: Cluster, topic: str, partitions: int):
        super().__init__()
        self.cluster, self.topic, self.partitions = cluster, topic, partitions
        self.acknowledged: dict[int, list[tuple[int, str]]] = {partition: [] for partition in range(partitions)}

    def work(self):
        from confluent_kafka import Producer

        from load import QUIET
        producer = Producer({
            "bootstrap.servers": self.cluster.bootstrap, "enable.idempotence": True, "linger.ms": 5, "message.timeout.ms": 120_000, **QUIET})
        number = 0
        while not self.stopping.is_set():
            for partition in range(self.partitions):
                producer.produce(self.topic, f"{partition}:{number}", partition=partition, on_delivery=self._delivered)
            number += 1
            producer.poll(0)
            self.stopping.wait(0.002)
        assert producer.flush(120) == 0

    def _delivered(self, error, message):
        if error is None:
            self.acknowledged[message.partition()].append((message.offset(), message.value().decode()))


def same_logs(source: Cluster, destination: Cluster, topic: str, partitions: int) -> None:
    """Every replica of the mirror has what the source's leader has, batch by batch."""
    for partition in range(partitions):
        expected = batches(source.leader(topic, partition), topic, partition)
        for node in destination.brokers:
            assert batches(node, topic, partition) == expected, f"{node} has another {topic}-{partition}"


def test_nodes_of_both_clusters_are_killed_under_load(source, destination):
    source.create("busy", 3)
    martlet(destination, "link", "mirror", "link", "busy")
    wait_mirror(destination, "busy")
    filling = Filling(source, "busy", 3)
    filling.start()
    for number in range(3):
        for cluster in (destination, source):
            node = cluster.leader("busy", number)
            before = len(filling.acknowledged[0])
            node.kill()
            wait_until(lambda: len(filling.acknowledged[0]) > before + 50, "the producer goes on", 60, 0.1)
            node.start().wait_ready()
            cluster.wait_whole()
    filling.finish()
    for partition, records in filling.acknowledged.items():
        wait_end(destination, "busy", records[-1][0] + 1, partition, 60)
    wait_mirror(destination, "busy")
    same_logs(source, destination, "busy", 3)
    for partition, records in filling.acknowledged.items():
        present = dict(consume(destination, "busy", records[-1][0] + 1, partition))
        missing = [record for record in records if present.get(record[0]) != record[1]]
        assert not missing, f"{len(missing)} of {len(records)} acknowledged records are not in the mirror: {missing[:3]}"


def test_the_coordinator_of_links_is_killed_while_it_promotes(source, destination):
    topics = [f"moves-{number}" for number in range(20)]
    for topic in topics:
        source.create(topic, 1)
        produce(source, topic, range(20))
    martlet(destination, "link", "mirror", "link", *topics)
    for topic in topics:
        wait_end(destination, topic, 20)
        wait_mirror(destination, topic)
    coordinator = destination.leader("__cluster_links", 0)
    martlet(destination, "link", "promote", "link", "--all", "--timeout", "1", check=False)
    coordinator.kill()
    for topic in topics:
        wait_mirror(destination, topic, "STOPPED", None, 60)
    coordinator.start().wait_ready()
    destination.wait_whole()
    for topic in topics:
        assert produce(destination, topic, ["on"]) == [20]
        with pytest.raises(KafkaException):
            produce(source, topic, ["stray"])


def test_a_source_that_is_gone_is_said_to_be_and_failed_over(source, destination):
    source.create("lost", 1)
    produce(source, "lost", range(100))
    martlet(destination, "link", "mirror", "link", "lost")
    wait_end(destination, "lost", 100)
    for node in source.nodes:
        node.kill()
    assert "has not answered" in wait_mirror(destination, "lost", "SOURCE_UNAVAILABLE", None, 60)["reason"]
    began = time.monotonic()
    martlet(destination, "link", "failover", "link", "lost")
    assert produce(destination, "lost", ["on"]) == [100]
    assert time.monotonic() - began < 30
    source.start_nodes()


def test_a_source_that_refuses_the_link_is_said_to(source, destination):
    source.create("refused", 1)
    produce(source, "refused", range(100))
    martlet(destination, "link", "mirror", "link", "refused")
    wait_end(destination, "refused", 100)
    login = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "u", "sasl.password": "p"}
    martlet(destination, "link", "config", "link", *(f"{name}={value}" for name, value in login.items()))
    try:
        assert "refuses the link" in wait_mirror(destination, "refused", "LINK_FAILED", None, 60)["reason"]
        assert "LINK_FAILED" in martlet(destination, "link", "list").stdout
        counted = 'martlet_link_mirror_topics{link="link",state="LINK_FAILED"} 0'
        for node in destination.brokers:
            wait_until(lambda: counted not in node.get("/metrics")[1], f"{node} counts it", 30)
    finally:
        martlet(destination, "link", "config", "link", *(argument for name in login for argument in ("--delete", name)))
    wait_mirror(destination, "refused", "ACTIVE")
    assert "LINK_FAILED" not in martlet(destination, "link", "list").stdout
    produce(source, "refused", range(10))
    wait_end(destination, "refused", 110)


def test_the_old_primary_comes_back_as_a_mirror(source, destination):
    """What it had and the other had not is cut off, on all of its replicas, and kept; nothing else is copied again."""
    source.create("back", 1)
    produce(source, "back", range(1000))
    martlet(destination, "link", "mirror", "link", "back")
    wait_end(destination, "back", 1000)
    martlet(destination, "link", "pause", "link", "back")
    assert produce(source, "back", ["only here 1", "only here 2"]) == [1000, 1001]
    martlet(destination, "link", "failover", "link", "back")
    assert produce(destination, "back", ["after 1", "after 2", "after 3"]) == [1000, 1001, 1002]
    link(source, destination, "reverse", topic_config_sync_ms=500)
    martlet(source, "link", "restore", "reverse", "back", "--yes")
    found = wait_mirror(source, "back", "ACTIVE", 0, 60)
    assert found["partitions"][0]["cutRecords"] == 2
    assert found["partitions"][0]["bytes"] < 1000, "only what was missing is fetched"
    wait_end(source, "back", 1003)
    expected = [(number, str(number)) for number in range(1000)] + [(1000, "after 1"), (1001, "after 2"), (1002, "after 3")]
    assert consume(source, "back", 1003) == expected
    same_logs(destination, source, "back", 1)
    kept = [path for node in source.nodes for path in node.data.glob("mirror-cut.back-0.1000.*")]
    assert len(kept) == 1 and b"only here 2" in kept[0].read_bytes()
    # And back again: the first cluster leads once more.
    martlet(source, "link", "promote", "reverse", "back")
    assert produce(source, "back", ["home"]) == [1003]
    martlet(destination, "link", "restore", "link", "back", "--yes")
    wait_mirror(destination, "back", "ACTIVE", 0, 60)
    wait_end(destination, "back", 1004)
    same_logs(source, destination, "back", 1)


def test_a_source_that_lost_records_has_its_mirror_cut(source, destination):
    """An unclean election at the source: the mirror has what the source has no longer. It is said, kept and cut."""
    source.create("unclean", 1, copies=2, **{"unclean.leader.election.enable": "true", "min.insync.replicas": "1"})
    produce(source, "unclean", range(50))
    martlet(destination, "link", "mirror", "link", "unclean")
    wait_end(destination, "unclean", 50)
    leader = source.leader("unclean", 0)
    [other] = [source.node(number) for number in source.partitions("unclean")[0].replicas if number != leader.number]
    other.kill()
    wait_until(lambda: len(source.partitions("unclean")[0].isrs) == 1, "the leader is alone", 60, 0.2)
    produce(source, "unclean", ["will be lost 1", "will be lost 2"])
    wait_end(destination, "unclean", 52)
    leader.kill()
    other.start().wait_ready()
    wait_until(lambda: takes_records(source, "unclean"), "the other one leads", 90, 0.5)
    leader.start().wait_ready()
    found = wait_mirror(destination, "unclean", "ACTIVE", 0, 60)
    wait_until(
        lambda: (each := mirror(destination, "unclean"))["partitions"][0]["cutRecords"] == 2 and each["lag"] == 0, f"the mirror is cut: {found}",
        60, 0.2)
    end = source.leader("unclean", 0).log_end("unclean")
    wait_end(destination, "unclean", end)
    source.wait_whole()
    wait_until(lambda: logs_are_the_same(source, destination), "the logs are the same", 30, 0.5)
    kept = [path for node in destination.nodes for path in node.data.glob("mirror-cut.unclean-0.50.*")]
    assert kept and b"will be lost 2" in kept[0].read_bytes()


def logs_are_the_same(source: Cluster, destination: Cluster) -> bool:
    try:
        same_logs(source, destination, "unclean", 1)
        return True
    except AssertionError:
        return False


def test_a_gap_is_never_passed_over_in_silence(source, destination):
    source.create("gap", 1)
    produce(source, "gap", range(10))
    martlet(destination, "link", "mirror", "link", "gap")
    wait_end(destination, "gap", 10)
    martlet(destination, "link", "pause", "link", "gap")
    produce(source, "gap", range(10, 30))
    from test_links import delete_records
    delete_records(source, "gap", 25)
    martlet(destination, "link", "resume", "link", "gap")
    reason = wait_mirror(destination, "gap", "FAILED", None, 30)["reason"]
    assert "from offset 10 to 24" in reason and "mirror.gap.policy" in reason
    martlet(destination, "link", "config", "link", "mirror.gap.policy=skip")
    martlet(destination, "link", "resume", "link", "gap")
    wait_end(destination, "gap", 30)
    assert [offset for offset, _ in consume(destination, "gap", 30)] == list(range(25, 30))
    assert martlet_json(destination, "link", "mirrors", "--state", "FAILED") == []


class Loading(Worker):
    """Writes with acks=all as fast as it is answered, until the cluster is gone; remembers what was acknowledged, and how long that took."""

    def __init__(self, cluster: Cluster, topic: str):
        super().__init__()
        self.topic = topic
        self.producer = Producer({
            "bootstrap.servers": cluster.bootstrap, "acks": "all", "linger.ms": 1, "message.timeout.ms": 20_000,
            "queue.buffering.max.messages": 500, **QUIET})
        self.acknowledged: dict[int, str] = {}

    def work(self):
        number = 0
        while not self.stopping.is_set():
            try:
                self.producer.produce(self.topic, str(number), partition=0, on_delivery=self._delivered)
                number += 1
            except BufferError:
                pass
            self.producer.poll(0.001)
        self.producer.flush(25)

    def _delivered(self, error, message):
        if error is None:
            self.acknowledged[message.offset()] = message.value().decode()


def test_what_was_acknowledged_survives_the_death_of_the_whole_source(source, destination):
    """A synchronous mirror: leaders on both sides are killed under load, then every node of the source at once. Nothing that a producer was
    told is missing."""
    source.create("safe", 1)
    martlet(destination, "link", "config", "link", "mirror.acks=all", "mirror.sync.timeout.ms=30000")
    martlet(destination, "link", "mirror", "link", "safe")
    wait_acks(destination, "safe", "synchronous")
    load = Loading(source, "safe")
    load.start()

    def goes_on(after: str):
        before = len(load.acknowledged)
        wait_until(lambda: len(load.acknowledged) > before + 500, f"records are acknowledged after {after}", 60, 0.02)

    goes_on("the start")
    for cluster, side in ((source, "the source"), (destination, "the mirror")):
        victim = cluster.leader("safe", 0)
        victim.kill()
        goes_on(f"the death of the leader of {side}")
        victim.start().wait_ready()
    source.wait_whole()
    goes_on("everything")
    assert metric(source, "martlet_link_synchronous", "safe") == 1
    assert metric(source, "martlet_link_synchronous_degraded_total", "safe") == 0
    for node in source.nodes:
        node.kill()
    load.stopping.set()
    martlet(destination, "link", "failover", "link", "safe")
    load.finish()
    end = max(load.acknowledged) + 1
    found = dict(consume(destination, "safe", end))
    lost = [offset for offset, value in load.acknowledged.items() if found.get(offset) != value]
    assert not lost, f"{len(lost)} of {len(load.acknowledged)} acknowledged records are not in the mirror, such as offsets {lost[:5]}"
    assert takes_records(destination, "safe")
