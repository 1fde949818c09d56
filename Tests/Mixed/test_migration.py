"""A cluster of Apache Kafka becomes one of Martlet node by node, and again Apache Kafka's, while clients write, read and commit."""

import pytest

from broker import wait_until
from checker import check
from kafka_nodes import KAFKA, MARTLET
from load import Committer, Reader, Writer, read_everything
from mixed_clusters import MixedCluster
from operations import Recorder

TOPIC, PARTITIONS = "migrated", 4


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_nothing_is_lost_on_the_way_and_back(dynamic):
    recorder = Recorder()
    with MixedCluster(KAFKA, KAFKA, KAFKA, dynamic=dynamic) as cluster:
        cluster.create(TOPIC, PARTITIONS)
        writers = [Writer(f"w{number}", cluster.bootstrap, TOPIC, PARTITIONS, recorder, rate=100) for number in range(2)]
        readers = [
            Reader("r", cluster.bootstrap, TOPIC, PARTITIONS, recorder),
            *(Reader(f"g{number}", cluster.bootstrap, TOPIC, PARTITIONS, recorder, group="followers") for number in range(2)),
        ]
        committer = Committer(cluster.bootstrap, TOPIC)
        for worker in [*writers, *readers, committer]:
            worker.start()

        def go_on():
            before = [writer.acknowledged for writer in writers], [reader.polled for reader in readers], committer.confirmed
            wait_until(lambda: all(writer.acknowledged > count + 50 for writer, count in zip(writers, before[0])), "writers go on", 60)
            wait_until(lambda: readers[0].polled > before[1][0] + 50, "the reader goes on", 60)
            wait_until(lambda: sum(each.polled for each in readers[1:]) > sum(before[1][1:]) + 50, "the group goes on", 60)
            wait_until(lambda: committer.confirmed > before[2] + 10, "commits go on", 60)

        go_on()
        for program in (MARTLET, KAFKA):
            # The active controller last, as the page for operators says.
            last = cluster.controller()
            for node in [*(node for node in cluster.nodes if node is not last), last]:
                assert node.stop() == 0, node.log()[-2000:]
                node.start(program).wait_ready()
                cluster.wait_whole(120)
                go_on()
            assert {node.program for node in cluster.nodes} == {program}
        for worker in [*writers, committer]:
            worker.finish(180)
        assert not [writer.fatal for writer in writers if writer.fatal]
        assert read_everything(cluster.bootstrap, TOPIC, PARTITIONS, recorder) == sum(writer.acknowledged for writer in writers)
        for reader in readers:
            reader.finish()
        assert committer.verify() is None
    verdict = check(recorder.operations)
    assert verdict.is_valid, str(verdict)
