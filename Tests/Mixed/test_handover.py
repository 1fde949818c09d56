"""A data directory goes from Apache Kafka to Martlet and back, after clean stops and after kills."""

import re

import pytest

from confluent_kafka import TopicPartition

from contents import Contents, commit, consume_in_group, fill, set_configuration, transact
from kafka_nodes import KAFKA, MARTLET, kafka_tool
from mixed_clusters import MixedCluster

SMALL_SEGMENTS = {"segment.bytes": "1048576", "index.interval.bytes": "512", "max.message.bytes": "900000"}


@pytest.fixture(scope="module")
def cluster():
    """One combined node, filled by Apache Kafka."""
    cluster = MixedCluster(KAFKA)
    try:
        node = cluster.node(1)
        node.format()
        node.start().wait_ready()
        cluster.create("records", 3, **SMALL_SEGMENTS)
        cluster.create("transactions", 1)
        cluster.create("gone", 2)
        fill(cluster, "records", "kafka")
        fill(cluster, "gone", "kafka")
        transact(cluster, "transactions", "a", commits=True)
        transact(cluster, "transactions", "b", commits=False)
        transact(cluster, "transactions", "c", commits=True)
        consume_in_group(cluster, "readers", "records", 100)
        commit(cluster, "committed", "records", {0: 7, 2: 9}, "by Kafka")
        set_configuration(cluster, "records", **{"retention.ms": "999999999"})
        admin = cluster.admin()
        admin.delete_topics(["gone"])["gone"].result(30)
        [deleted] = admin.delete_records([TopicPartition("records", 1, 5)]).values()
        assert deleted.result(30).low_watermark == 5
        yield cluster
    finally:
        cluster.close()


TOPICS, GROUPS = ["records", "transactions"], ["readers", "committed"]


def hand_over(cluster, program: str, kill: bool = False):
    """Returns what was there before and after."""
    node = cluster.node(1)
    before = Contents(cluster, TOPICS, GROUPS)
    if kill:
        node.kill()
    else:
        assert node.stop() == 0, node.log()[-3000:]
    node.start(program).wait_ready()
    cluster.wait_whole()
    assert node.program == program
    return before, Contents(cluster, TOPICS, GROUPS)


def write_more(cluster, label: str):
    fill(cluster, "records", label, 30)
    cluster.create(f"new-{label}", 2, **SMALL_SEGMENTS)
    TOPICS.append(f"new-{label}")
    fill(cluster, f"new-{label}", label, 20)
    commit(cluster, "committed", "records", {0: 11, 1: 12}, f"by {label}")
    commit(cluster, f"group-{label}", "records", {0: 1})
    GROUPS.append(f"group-{label}")
    consume_in_group(cluster, f"members-{label}", f"new-{label}", 50)
    GROUPS.append(f"members-{label}")
    set_configuration(cluster, f"new-{label}", **{"retention.bytes": "123456789"})


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_either_serves_what_the_other_left(cluster, kill):
    for round, program in enumerate([MARTLET, KAFKA, MARTLET, KAFKA]):
        before, after = hand_over(cluster, program, kill)
        assert not before.differences(after), (program, before.differences(after)[:20])
        write_more(cluster, f"{program}-{round}{'-killed' if kill else ''}")


def test_kafka_reads_every_file_that_martlet_left(cluster):
    node = cluster.node(1)
    if node.program != MARTLET:
        before, after = hand_over(cluster, MARTLET)
        assert not before.differences(after)
    write_more(cluster, "files")
    assert node.stop() == 0
    try:
        dumped = 0
        for directory in node.data.iterdir():
            if not directory.is_dir():
                continue
            for file in sorted(directory.iterdir()):
                if file.suffix not in {".log", ".index", ".timeindex", ".snapshot", ".txnindex", ".checkpoint"} or not file.stat().st_size:
                    continue
                arguments = ["--files", str(file)]
                if directory.name.startswith("__cluster_metadata"):
                    arguments += ["--cluster-metadata-decoder"]
                elif directory.name.startswith("__consumer_offsets"):
                    arguments += ["--offsets-decoder"]
                elif file.suffix in {".log", ".index"}:
                    arguments += ["--deep-iteration"] if file.suffix == ".log" else ["--index-sanity-check"]
                if dumped >= 60:
                    continue
                found = kafka_tool("dump-log", *arguments)
                assert not re.search(r"(?i)exception|error|corrupt|not valid|isvalid: false|mismatch|Found timestamp", found), (file, found[-2000:])
                dumped += 1
        assert dumped > 20
    finally:
        node.start().wait_ready()
