"""Two nodes of one program and one of the other, replication 3: what clients were told is kept while nodes die, pause and come back, and
a replica that went its own way is cut back by a leader of the other program."""

import pytest
from confluent_kafka import Producer

from broker import wait_until
from checker import check
from contents import read
from kafka_nodes import KAFKA, MARTLET
from load import QUIET, Reader, Writer, read_everything
from mixed_clusters import MixedCluster
from nemesis import Nemesis
from operations import OK, Recorder

PARTITIONS = 3


@pytest.fixture(scope="module", params=["two-kafka", "two-martlet"])
def cluster(request):
    programs = [KAFKA, MARTLET, KAFKA] if request.param == "two-kafka" else [MARTLET, KAFKA, MARTLET]
    with MixedCluster(*programs) as cluster:
        yield cluster


@pytest.mark.parametrize("fault", ["kill", "kill-leader", "kill-controller", "kill-all", "restart", "pause"])
def test_nothing_acknowledged_is_lost(cluster, fault):
    topic = f"log-{fault}"
    recorder = Recorder()
    cluster.create(topic, PARTITIONS)
    writer = Writer("w", cluster.bootstrap, topic, PARTITIONS, recorder, rate=150)
    readers = [Reader("r", cluster.bootstrap, topic, PARTITIONS, recorder), Reader("g", cluster.bootstrap, topic, PARTITIONS, recorder, topic)]
    for worker in [writer, *readers]:
        worker.start()

    def go_on():
        before = writer.acknowledged, readers[1].polled
        wait_until(lambda: writer.acknowledged > before[0] + 30, "the writer is acknowledged", 60)
        try:
            wait_until(lambda: readers[1].polled > before[1] + 30, "the group reads on", 60)
        except AssertionError as error:
            raise AssertionError(
                f"{error}: {cluster.martlet('group', 'describe', topic, check=False)}; it read {readers[1].polled}, the reader without "
                f"a group {readers[0].polled} of {writer.acknowledged}") from None

    go_on()
    Nemesis(cluster, recorder, topic, seed=len(fault), say=lambda _: None).strike(fault, 3)
    go_on()
    cluster.wait_whole(120)
    writer.finish()
    assert not writer.fatal
    assert all(operation.outcome == OK for operation in recorder.operations if operation.sends)
    read_everything(cluster.bootstrap, topic, PARTITIONS, recorder)
    for reader in readers:
        reader.finish()
    verdict = check(recorder.operations)
    assert verdict.is_valid, str(verdict)


@pytest.mark.parametrize("program", [MARTLET, KAFKA])
def test_a_replica_that_went_its_own_way_is_cut_back(cluster, program):
    """The leader of one program alone takes records (acks=1) while its follower of the other stands still, and dies."""
    topic = f"diverged-{program}"
    former = next(node for node in cluster.nodes if node.program == program)
    later = next(node for node in cluster.nodes if node.program != program)
    other = next(node for node in cluster.nodes if node not in (former, later))
    cluster.create(topic, 1, copies=2, **{"min.insync.replicas": "1"})
    cluster.martlet("partition", "reassign", f"{topic}:0", "--replicas", f"{former.number},{later.number}")
    cluster.martlet("partition", "elect", topic)
    wait_until(lambda: cluster.partitions(topic)[0].leader == former.number, f"{former} leads", 30)

    def produce(label, count, acks, bootstrap=cluster.bootstrap):
        # What is to be kept is also to be there once, though the leader may just have changed.
        producer = Producer({
            **QUIET, "bootstrap.servers": bootstrap, "acks": acks, "enable.idempotence": acks == "all", "linger.ms": 0,
            "batch.num.messages": 3})
        for number in range(count):
            producer.produce(topic, f"{label}-{number}", partition=0)
        assert producer.flush(30) == 0

    produce("kept", 30, "all")
    # The controllers have to go on: one of the other program, or this one's own, stands still only for a moment.
    later.pause()
    # The first one answers the fetch that was on its way when the follower was stopped: that one it has.
    produce("lost-first", 1, "1", former.address)
    produce("lost", 29, "1", former.address)
    former.kill()
    later.resume()
    wait_until(lambda: cluster.partitions(topic)[0].leader == later.number, f"{later} leads", 60)
    produce("new", 10, "all")
    former.start().wait_ready()
    cluster.wait_whole(120)
    cluster.martlet("partition", "elect", topic)
    wait_until(lambda: cluster.partitions(topic)[0].leader == former.number, f"{former} leads again", 30)
    values = [each[2].decode() for each in read(cluster.bootstrap, [(topic, 0)])[topic, 0]]
    # The follower may have had some of those that only its leader acknowledged.
    kept = [value for value in values if not value.startswith("lost")]
    assert kept == [f"kept-{number}" for number in range(30)] + [f"new-{number}" for number in range(10)]
    assert len(values) < 70, values
    assert other.is_running
