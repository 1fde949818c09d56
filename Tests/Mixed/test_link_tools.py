"""`martlet link verify`, `link drift` and `martlet drill` over a link whose source is Apache Kafka."""

import json

import pytest
from confluent_kafka import Producer

from commands import martlet
from contents import CODECS, transact
from kafka_nodes import KAFKA, kafka_release, kafka_tool
from links import destination_cluster, link, wait_end, wait_mirror
from load import QUIET
from mixed_clusters import MixedCluster
from nodes import wait_until


@pytest.fixture(scope="module")
def source():
    with MixedCluster(KAFKA) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def destination(source):
    with destination_cluster(1, settings={"min.insync.replicas": "1", "log.cleaner.enable": "false"}) as cluster:
        link(cluster, source, "link", topic_config_sync_ms=500, consumer_offset_sync_enable="true", consumer_offset_sync_ms=1000)
        yield cluster


def produce(cluster, topic, records, partition=0, **settings):
    producer = Producer({"bootstrap.servers": cluster.bootstrap, **QUIET, **settings})
    for key, value in records:
        producer.produce(topic, value=value, key=key, partition=partition)
    assert producer.flush(30) == 0


def verify(destination, topic, *arguments, status=0):
    done = martlet(destination, "link", "verify", "link", topic, "--json", *arguments, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    [result] = json.loads(done.stdout)["topics"]
    assert result["same"] == (status == 0)
    return result["partitions"]


def test_kafka_s_topic_and_its_mirror_are_the_same(source, destination):
    source.create("batches", 2)
    for number, codec in enumerate(CODECS):
        produce(source, "batches", [(None, f"{codec} {each}") for each in range(500)], number % 2, **{"compression.type": codec})
    transact(source, "batches", "one", commits=True)
    transact(source, "batches", "two", commits=False)
    martlet(destination, "link", "mirror", "link", "batches")
    wait_mirror(destination, "batches")
    # The mirror's own leader may have answered before the last batch.
    partitions = wait_until(
        lambda: (found := verify(destination, "batches")) and sum(each["records"] for each in found) >= 2500 and found, "all is there", 30)
    assert all(each["compared"] == "batches" for each in partitions)
    assert sum(each["records"] for each in verify(destination, "batches", "--records")) >= 2500


def test_a_topic_that_kafka_has_compacted(source, destination):
    source.create("table", 1, **{
        "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "300", "max.compaction.lag.ms": "500"})
    for round_ in range(4):
        produce(source, "table", [(f"key {each}", f"{round_} of {each}") for each in range(100)])
    martlet(destination, "link", "mirror", "link", "table")
    wait_end(destination, "table", 400)
    wait_mirror(destination, "table")
    assert [each["compared"] for each in verify(destination, "table")] == ["records"]


def test_what_differs_from_kafka(source, destination):
    found = json.loads(martlet(destination, "link", "drift", "link", "--json", check=False).stdout)
    # Neither has access control. Settings that nobody set have the same values in both programs, but for a default that Kafka 4.0 changed.
    changed = {"message.timestamp.after.max.ms"} if kafka_release().startswith("3.") else set()
    assert found["notCompared"] == [] and {each["what"] for each in found["differences"]} == changed
    alter = ["--bootstrap-server", source.bootstrap, "--alter", "--add-config"]
    kafka_tool("configs", *alter, "producer_byte_rate=1000", "--entity-type", "clients", "--entity-name", "noisy")
    kafka_tool("configs", *alter, "SCRAM-SHA-256=[iterations=8192,password=secret]", "--entity-type", "users", "--entity-name", "alice")
    done = martlet(destination, "link", "drift", "link", "--only", "quotas", "--only", "users", "--json", check=False)
    assert done.returncode == 1
    assert [(each["kind"], each["name"], each["source"]) for each in json.loads(done.stdout)["differences"]] == [
        ("users", "alice", "8192 iterations"), ("quotas", "client-id noisy", "1000")]


def test_what_can_be_had_of_kafka_beside_the_data(source, destination):
    """Quotas are copied; Kafka gives out no passwords, and this one has no access control: both are said."""
    alter = ["--bootstrap-server", source.bootstrap, "--alter"]
    kafka_tool("configs", *alter, "--add-config", "consumer_byte_rate=2000", "--entity-type", "clients", "--entity-name", "copied")
    enabled = [f"{kind}.sync.{what}" for kind in ("acl", "user", "quota") for what in ("enable=true", "ms=1000")]
    martlet(destination, "link", "config", "link", *enabled)

    def errors() -> dict:
        found = json.loads(martlet(destination, "link", "describe", "link", "--json").stdout)["synchronizations"]
        return {each["kind"]: each["error"] for each in found if each["lastSuccess"] or each["error"]}

    def quotas() -> str:
        return martlet(destination, "quota", "list", "--json").stdout

    try:
        wait_until(lambda: {"acls", "users", "quotas"} <= set(errors()), "all three were tried", 30, 0.2)
        assert "no access control" in errors()["acls"] and "no Martlet cluster" in errors()["users"] and errors()["quotas"] == ""
        wait_until(lambda: "2000" in quotas(), "the quota is here", 30, 0.2)
        kafka_tool("configs", *alter, "--delete-config", "consumer_byte_rate", "--entity-type", "clients", "--entity-name", "copied")
        wait_until(lambda: "2000" not in quotas(), "the quota is gone", 30, 0.2)
    finally:
        martlet(destination, "link", "config", "link", *[f"{kind}.sync.enable=false" for kind in ("acl", "user", "quota")])


@pytest.mark.parametrize("kind", ["switchover", "failover"])
def test_a_drill_from_kafka(source, destination, kind):
    done = martlet(destination, "drill", kind, "--link", "link", "--seconds", "1.5", "--rate", "300", "--json")
    report = json.loads(done.stdout)
    assert report["passed"] and report["missing"] == 0 and report["acknowledged"]["records"] > report["acknowledged"]["atSource"] + 100
    if kind == "switchover":
        # Kafka cannot refuse writes: producers leave it first.
        assert report["rpo"]["records"] == 0 and report["duplicates"] == 0


def test_failing_back_to_kafka_is_refused(source, destination):
    done = martlet(destination, "drill", "failback", "--link", "link", check=False)
    assert done.returncode == 1 and "needs a source that is Martlet's" in done.stderr
