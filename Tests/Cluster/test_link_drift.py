"""`martlet link drift`: what differs between a source and the cluster that mirrors it, beside the records."""

import json

import pytest
from confluent_kafka import Consumer, TopicPartition

from commands import martlet
from kafka_tools import tool
from links import destination_cluster, link, source_cluster, wait_mirror
from load import QUIET
from nodes import wait_until

ACCESS = {"authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users": "User:ANONYMOUS"}
SHARE = {"share.coordinator.state.topic.replication.factor": "1", "share.coordinator.state.topic.min.isr": "1"}
FILTERS = json.dumps({"topicFilters": [{"name": "drift", "patternType": "PREFIXED", "filterType": "INCLUDE"}]})


@pytest.fixture(scope="module")
def source():
    with source_cluster(settings={**ACCESS, **SHARE}) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def destination(source):
    with destination_cluster(1, settings={**ACCESS, "min.insync.replicas": "1"}) as cluster:
        cluster.create("drift-stranger", 1)
        link(cluster, source, "link", auto_create_mirror_topics_enable="true", auto_create_mirror_topics_filters=FILTERS,
             topic_config_sync_ms=500)
        source.create("drift-a", 2)
        source.create("drift-stranger", 1)
        source.create("other", 1)
        wait_until(lambda: "drift-a" in martlet(cluster, "link", "mirrors").stdout, "drift-a is mirrored", 30, 0.2)
        wait_mirror(cluster, "drift-a")
        # Nothing follows from now on.
        martlet(cluster, "link", "pause", "link")
        yield cluster


def drift(destination, *only):
    """Everything that differs, as (kind, name, what, source, here)."""
    arguments = [argument for kind in only for argument in ("--only", kind)]
    done = martlet(destination, "link", "drift", "link", "--json", *arguments, check=False)
    result = json.loads(done.stdout)
    assert result["notCompared"] == []
    assert done.returncode == (1 if result["differences"] else 0) and result["same"] == (not result["differences"])
    return [(each["kind"], each["name"], each["what"], each["source"], each["here"]) for each in result["differences"]]


def test_topics(source, destination):
    assert drift(destination, "topics") == [("topics", "drift-stranger", "mirror", "there", "a topic 'drift-stranger' that is no mirror")]
    martlet(source, "topic", "alter", "drift-a", "--partitions", "4")
    source.create("drift-b", 1)
    assert drift(destination, "topics") == [
        ("topics", "drift-a", "partitions", "4", "2"), ("topics", "drift-b", "mirror", "there", None),
        ("topics", "drift-stranger", "mirror", "there", "a topic 'drift-stranger' that is no mirror")]
    text = martlet(destination, "link", "drift", "link", "--only", "topics", check=False)
    assert text.returncode == 1
    assert "topics drift-a: partitions: 4 at the source, 2 here" in text.stdout
    assert "topics drift-b: mirror: there at the source, nothing here" in text.stdout


def test_settings(source, destination):
    assert drift(destination, "configs") == []
    assert martlet(destination, "link", "drift", "link", "--only", "configs").stdout == "Nothing differs.\n"
    martlet(source, "config", "set", "--topic", "drift-a", "retention.ms=3600000", "min.insync.replicas=1")
    assert drift(destination, "configs") == [("configs", "drift-a", "retention.ms", "3600000", "604800000 (default)")]


def test_who_may_do_what(source, destination, tmp_path):
    password = tmp_path / "password"
    password.write_text("secret")
    assert drift(destination, "acls", "users", "quotas") == []
    martlet(source, "acl", "add", "--principal", "User:alice", "--operation", "read", "--topic", "drift-a")
    martlet(destination, "acl", "add", "--principal", "User:bob", "--operation", "read", "--topic", "drift-a")
    found = drift(destination, "acls")
    assert [(each[1], each[3], each[4]) for each in found] == [
        ("User:alice from *", "there", None), ("User:bob from *", None, "there")]
    assert found[0][2] == "ALLOW READ on LITERAL TOPIC drift-a"

    for cluster, iterations in ((source, 8192), (destination, 4096)):
        martlet(cluster, "user", "set", "carol", "--password-file", password, "--iterations", iterations)
    martlet(source, "user", "set", "dave", "--password-file", password)
    users = drift(destination, "users")
    assert any(each[1] == "carol" and each[3:] == ("8192 iterations", "4096 iterations") for each in users)
    assert any(each[1] == "dave" and each[3] and each[4] is None for each in users)
    assert {each[1] for each in users} == {"carol", "dave"}

    martlet(source, "quota", "set", "--user", "alice", "producer_byte_rate=1048576")
    assert drift(destination, "quotas") == [("quotas", "user alice", "producer_byte_rate", "1048576", None)]


def commit(cluster, group, offset):
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": group, "enable.auto.commit": False, **QUIET})
    consumer.commit(offsets=[TopicPartition("drift-a", 0, offset)], asynchronous=False)
    consumer.close()


def test_groups(source, destination):
    for group, there, here in (("same", 5, 5), ("behind", 7, 3), ("absent", 2, None)):
        commit(source, group, there)
        if here is not None:
            commit(destination, group, here)
    # The link copies no offsets, so they are expected to differ.
    assert not [each for each in drift(destination) if each[0] == "groups"]
    assert drift(destination, "groups") == [
        ("groups", "absent", "offset of drift-a-0", "2", None), ("groups", "behind", "offset of drift-a-0", "7", "3")]


def test_share_groups(source, destination):
    martlet(source, "cluster", "features", "--set", "share.version=1")
    tool(
        "share-groups", "--reset-offsets", "--group", "workers", "--topic", "drift-a", "--to-earliest", "--execute",
        bootstrap=source.bootstrap)
    assert not [each for each in drift(destination, "groups") if each[1] == "workers"], "the link does not copy it"
    # The link is paused, so nothing is copied still.
    martlet(destination, "link", "config", "link", "share.offset.sync.enable=true")
    found = drift(destination, "groups")
    assert ("groups", "workers", "start of drift-a-0", "0", None) in found and {each[1] for each in found} == {"workers"}
