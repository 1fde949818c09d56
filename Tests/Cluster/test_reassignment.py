"""Replicas move under load: added, taken away, called back; nothing that was acknowledged is lost and producers see no error."""

import pytest
from kafka.protocol.consumer import ListOffsetsRequest, ListOffsetsResponse

from checker import check
from clusters import Cluster
from commands import martlet, martlet_json
from load import Reader, Writer, read_everything
from nodes import wait_until
from operations import OK, Recorder
from raw import RawConnection

PARTITIONS = 4
UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER = 3, 6
EARLIEST = -2
Topic = ListOffsetsRequest.ListOffsetsTopic


@pytest.fixture(scope="module")
def cluster():
    with Cluster(3, proxied=False) as cluster:
        yield cluster


class Load:
    """A writer and a reader of one topic, and what came of them."""

    def __init__(self, cluster: Cluster, topic: str, rate: float = 400):
        self.cluster, self.topic, self.recorder = cluster, topic, Recorder()
        self.writer = Writer("w", cluster.bootstrap, topic, PARTITIONS, self.recorder, rate)
        self.reader = Reader("r", cluster.bootstrap, topic, PARTITIONS, self.recorder)
        self.writer.start()
        self.reader.start()
        self.go_on()

    def go_on(self):
        before = self.writer.acknowledged
        wait_until(lambda: self.writer.acknowledged > before + 100, "the writer is acknowledged", 60)

    def verify(self):
        self.writer.finish()
        assert not self.writer.fatal and all(operation.outcome == OK for operation in self.recorder.operations if operation.sends)
        read_everything(self.cluster.bootstrap, self.topic, PARTITIONS, self.recorder)
        self.reader.finish()
        verdict = check(self.recorder.operations)
        assert verdict.is_valid, str(verdict)


def replicas(cluster, topic):
    return [each["replicas"] for each in martlet_json(cluster, "partition", "list", topic)]


def test_replicas_are_added_moved_and_taken_away(cluster):
    topic = "moves"
    cluster.create(topic, PARTITIONS, 1)
    load = Load(cluster, topic)
    for plan in ([1, 2], [2, 3], [3, 1, 2], [2]):
        martlet(cluster, "partition", "reassign", topic, "--replicas", ",".join(map(str, plan)))
        assert replicas(cluster, topic) == [plan] * PARTITIONS
        load.go_on()
        cluster.wait_whole()
    martlet(cluster, "partition", "reassign", topic, "--brokers", "1,2,3", "-r", "3")
    assert all(sorted(each) == [1, 2, 3] for each in replicas(cluster, topic))
    load.go_on()
    load.verify()
    # Replicas that went away left nothing behind.
    martlet(cluster, "partition", "reassign", topic, "--replicas", "1")
    for node in cluster.nodes[1:]:
        wait_until(lambda: not list(node.data.glob(f"{topic}-[0-9]")), f"{node} has deleted its replicas", 90, 0.2)


def test_a_move_that_is_called_back(cluster):
    topic = "stays"
    cluster.create(topic, PARTITIONS, 2)
    martlet(cluster, "partition", "reassign", topic, "--replicas", "1,2")
    load = Load(cluster, topic)
    node = cluster.node(3)
    # Who does not answer cannot come in sync.
    node.pause()
    try:
        martlet(cluster, "partition", "reassign", topic, "--replicas", "3,1", "--no-wait")
        assert len(martlet_json(cluster, "partition", "list", "--reassigning")) == PARTITIONS
        load.go_on()
        martlet(cluster, "partition", "reassign", "--cancel")
        assert replicas(cluster, topic) == [[1, 2]] * PARTITIONS
        assert martlet_json(cluster, "partition", "list", "--reassigning") == []
        load.go_on()
    finally:
        node.resume()
    cluster.wait_whole()
    load.go_on()
    load.verify()


def test_a_move_survives_the_loss_of_its_controller_and_of_its_source(cluster):
    topic = "goes-on"
    cluster.create(topic, PARTITIONS, 2, **{"min.insync.replicas": "1"})
    martlet(cluster, "partition", "reassign", topic, "--replicas", "1,2")
    load = Load(cluster, topic)
    for victim in (cluster.controller(), cluster.node(1)):
        target = "2,3" if replicas(cluster, topic)[0] == [1, 2] else "1,2"
        martlet(cluster, "partition", "reassign", topic, "--replicas", target, "--no-wait")
        victim.kill()
        load.go_on()
        victim.start().wait_ready()
        wait_until(lambda: martlet_json(cluster, "partition", "list", "--reassigning") == [], "the move is done", 60, 0.2)
        assert replicas(cluster, topic) == [[int(number) for number in target.split(",")]] * PARTITIONS
        cluster.wait_whole()
    load.verify()


def test_a_rolling_restart_shows_producers_no_error(cluster):
    topic = "rolling"
    cluster.create(topic, PARTITIONS)
    load = Load(cluster, topic)
    for node in cluster.nodes:
        assert node.stop() == 0
        node.start().wait_ready()
        cluster.wait_whole()
        load.go_on()
    # Connections that end with a node are not errors of records.
    others = [error for error in load.writer.errors if "isconnect" not in error and "refused" not in error]
    assert not others
    load.verify()


def test_brokers_without_the_partition_say_that_it_is_elsewhere(cluster):
    """And not that it is unknown: Java's admin client asks the same broker again and again then, others take the topic for deleted."""
    cluster.create("elsewhere", 1, copies=1)
    holder = cluster.leader("elsewhere", 0)
    for node in cluster.brokers:
        with RawConnection(node.published["PLAINTEXT"]) as connection:
            for partition, elsewhere in ((0, 0 if node is holder else NOT_LEADER_OR_FOLLOWER), (1, UNKNOWN_TOPIC_OR_PARTITION)):
                asked = Topic.ListOffsetsPartition(partition_index=partition, timestamp=EARLIEST)
                request = ListOffsetsRequest(version=1, replica_id=-1, topics=[Topic(name="elsewhere", partitions=[asked])])
                answer = connection.ask(request, ListOffsetsResponse)
                assert answer.topics[0].partitions[0].error_code == elsewhere, f"{node}, partition {partition}"
