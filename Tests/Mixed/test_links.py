"""A link from an Apache Kafka cluster: its topics are mirrored batch by batch, what is beside the data follows, and they are taken over."""

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding, AclBindingFilter, AclOperation, AclPermissionType, NewPartitions, ResourcePatternType, ResourceType)

from commands import martlet, martlet_json
from contents import Contents, commit, fill, read, set_configuration, transact
from kafka_nodes import KAFKA, MARTLET, kafka_tool, wait_until
from links import DESTINATION_ID, SOURCE_ID, batches, link, mirror, wait_mirror
from load import QUIET
from mirrors import Stream, by_partition, values
from mixed_clusters import MixedCluster

# Both sides know who asks; who comes in clear text may do everything.
ACCESS = {"authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users": "User:ANONYMOUS"}


@pytest.fixture(scope="module")
def source():
    with MixedCluster(KAFKA, KAFKA, roles=["broker,controller", "broker"], cluster_id=SOURCE_ID, settings=ACCESS) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def destination(source):
    with MixedCluster(MARTLET, cluster_id=DESTINATION_ID, settings=ACCESS) as cluster:
        link(cluster, source, topic_config_sync_ms=500, consumer_offset_sync_enable="true", consumer_offset_sync_ms=1000)
        yield cluster


def wait_same(source, destination, topic: str, seconds: float = 60) -> None:
    """Every partition's log is that of the source's leader, batch by batch."""
    for partition in source.partitions(topic):
        leader = source.leader(topic, partition)
        wait_until(
            lambda: batches(destination.node(1), topic, partition) == batches(leader, topic, partition), f"{topic}-{partition} is the same",
            seconds, 0.1)


def ends(cluster, topic: str) -> dict[int, int]:
    return {partition: len(records) for (_, partition), records in read(
        cluster.bootstrap, [(topic, partition) for partition in cluster.partitions(topic)], "read_uncommitted").items()}


def test_what_kafka_holds_is_mirrored_to_the_byte(source, destination):
    source.create("all", 3, **{"retention.ms": "86400000"})
    fill(source, "all", "first")
    transact(source, "all", "kept", commits=True)
    transact(source, "all", "void", commits=False)
    martlet(destination, "link", "mirror", "link", "all")
    wait_mirror(destination, "all")
    wait_same(source, destination, "all")
    expected, found = Contents(source, ["all"], []), Contents(destination, ["all"], [])
    assert expected.differences(found) == []


def test_a_kafka_broker_that_leads_dies_and_the_mirror_follows_the_next(source, destination):
    source.create("moves", 1, 2)
    fill(source, "moves", "before")
    martlet(destination, "link", "mirror", "link", "moves")
    wait_mirror(destination, "moves")
    broker = source.node(2)
    broker.stop()
    fill(source, "moves", "meanwhile")
    broker.start().wait_ready()
    source.wait_whole()
    wait_same(source, destination, "moves")
    assert mirror(destination, "moves")["state"] == "ACTIVE"


def test_a_leader_that_is_killed_under_load_costs_the_mirror_nothing(source, destination):
    """Transactions too, some of them aborted. Both brokers lead some partitions."""
    topics = {"killed": False, "killed-in-transactions": True}
    for topic in topics:
        source.create(topic, 4, 2)
        martlet(destination, "link", "mirror", "link", topic)
        wait_mirror(destination, topic, lag=None)
        wait_until(lambda: {each.leader for each in source.partitions(topic).values()} == {1, 2}, "both lead some", 30, 0.2)
    broker = source.node(2)
    with Stream(source.bootstrap, "killed", 4) as plain, Stream(source.bootstrap, "killed-in-transactions", 4, transactional=True) as whole:
        wait_until(lambda: len(plain.expected) > 500 and len(whole.expected) > 200, "much was written", 60, 0.1)
        broker.kill()
        there = len(plain.expected), len(whole.expected)
        wait_until(
            lambda: len(plain.expected) > there[0] + 500 and len(whole.expected) > there[1] + 200, "the other broker leads", 90, 0.1)
        broker.start().wait_ready()
    source.wait_whole()
    for topic, stream in (("killed", plain), ("killed-in-transactions", whole)):
        wait_same(source, destination, topic)
        # A plain producer may have sent what the dead leader had already taken once more.
        assert list(dict.fromkeys(values(destination.bootstrap, topic))) == by_partition(stream.expected)
        assert mirror(destination, topic)["state"] == "ACTIVE"


def test_partitions_settings_and_deleted_records_follow(source, destination):
    source.create("follows", 1, **{"retention.ms": "86400000"})
    fill(source, "follows", "first")
    martlet(destination, "link", "mirror", "link", "follows")
    wait_mirror(destination, "follows")
    admin = source.admin()
    admin.create_partitions([NewPartitions("follows", 3)])["follows"].result(30)
    set_configuration(source, "follows", **{"retention.ms": "3600000", "max.message.bytes": "2000000"})
    wait_until(lambda: len(destination.partitions("follows")) == 3, "the mirror has grown", 30, 0.1)
    wait_until(lambda: len(source.partitions("follows")) == 3, "the source's brokers know", 30, 0.1)
    fill(source, "follows", "second")
    wait_same(source, destination, "follows")
    settings = {"retention.ms": "3600000", "max.message.bytes": "2000000"}
    wait_until(lambda: Contents(destination, ["follows"], []).configurations["follows"] == settings, "the settings are the same", 30, 0.5)
    cut = TopicPartition("follows", 0, 200)
    admin.delete_records([cut])[cut].result(30)
    expected = Contents(source, ["follows"], [])
    assert expected.offsets["earliest", "READ_COMMITTED", "follows", 0][0] == 200
    wait_until(lambda: expected.differences(Contents(destination, ["follows"], [])) == [], "what was deleted is gone here too", 30, 0.5)


def test_a_topic_that_kafka_deletes_or_makes_anew_stops_its_mirror(source, destination):
    admin = source.admin()
    for topic in ("deleted", "renewed"):
        source.create(topic, 1)
        fill(source, topic, "first life", 10)
        martlet(destination, "link", "mirror", "link", topic)
        wait_mirror(destination, topic)
        wait_same(source, destination, topic)
    # So that nobody looks between its two lives.
    martlet(destination, "link", "pause", "link", "renewed")
    before = {topic: batches(destination.node(1), topic) for topic in ("deleted", "renewed")}
    for topic in before:
        admin.delete_topics([topic])[topic].result(30)
    wait_until(lambda: not {"deleted", "renewed"} & set(admin.list_topics(timeout=10).topics), "both are gone", 60, 0.2)
    source.create("renewed", 1)
    fill(source, "renewed", "another life", 10)
    martlet(destination, "link", "resume", "link", "renewed")
    assert "gone" in wait_mirror(destination, "deleted", "FAILED", None)["reason"]
    assert "created anew" in wait_mirror(destination, "renewed", "FAILED", None)["reason"]
    assert before == {topic: batches(destination.node(1), topic) for topic in before}, "what was mirrored is still there"


def synchronization(destination, kind: str) -> dict:
    found = martlet_json(destination, "link", "describe", "link")["synchronizations"]
    return next((each for each in found if each["kind"] == kind), {})


def groups(cluster) -> set[str]:
    admin = cluster.admin()
    found = admin.list_consumer_groups().result(30)
    assert found.errors == []
    return {each.group_id for each in found.valid}


def test_groups_and_their_deletion_follow(source, destination):
    source.create("grouped", 2)
    fill(source, "grouped", "first")
    martlet(destination, "link", "mirror", "link", "grouped")
    wait_mirror(destination, "grouped")
    martlet(destination, "link", "config", "link", "group.delete.sync.enable=true")
    commit(destination, "by-hand", "grouped", {0: 1})
    for group in ("by-hand", "leaves", "stays"):
        commit(source, group, "grouped", {0: 40, 1: 50}, "so far")
    expected = Contents(source, [], ["leaves", "stays"]).commits
    wait_until(lambda: Contents(destination, [], ["leaves", "stays"]).commits == expected, "the offsets are here", 30, 0.5)
    wait_until(lambda: synchronization(destination, "offsets").get("own", 0) >= 2, "the link knows that it made them", 30, 0.2)
    admin = source.admin()
    for future in admin.delete_consumer_groups(["leaves", "by-hand"]).values():
        future.result(30)
    wait_until(lambda: "leaves" not in groups(destination), "it is deleted here too", 30, 0.2)
    assert groups(destination) >= {"by-hand", "stays"}
    assert synchronization(destination, "offsets")["error"] == ""


def rules(cluster) -> set[tuple]:
    everything = AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY)
    admin = cluster.admin()
    found = admin.describe_acls(everything).result(30)
    return {
        (each.principal, each.name, each.restype.name, each.resource_pattern_type.name, each.operation.name, each.permission_type.name)
        for each in found}


def test_access_control_and_quotas_follow(source, destination):
    admin = source.admin()
    literal, prefixed, allow, deny = (
        ResourcePatternType.LITERAL, ResourcePatternType.PREFIXED, AclPermissionType.ALLOW, AclPermissionType.DENY)
    bindings = [
        AclBinding(ResourceType.TOPIC, "orders", literal, "User:alice", "*", AclOperation.READ, allow),
        AclBinding(ResourceType.TOPIC, "pay", prefixed, "User:bob", "*", AclOperation.WRITE, deny),
        AclBinding(ResourceType.GROUP, "readers", literal, "User:alice", "*", AclOperation.READ, allow),
    ]
    for future in admin.create_acls(bindings).values():
        future.result(30)
    alter = ["--bootstrap-server", source.bootstrap, "--alter"]
    both = ["--entity-type", "users", "--entity-name", "alice", "--entity-type", "clients", "--entity-name", "app"]
    address = ["--entity-type", "ips", "--entity-name", "127.0.0.9"]
    kafka_tool("configs", *alter, "--add-config", "consumer_byte_rate=2000,producer_byte_rate=1000", *both)
    kafka_tool("configs", *alter, "--add-config", "connection_creation_rate=77", *address)
    enabled = [f"{kind}.sync.{what}" for kind in ("acl", "quota") for what in ("enable=true", "ms=1000")]
    martlet(destination, "link", "config", "link", *enabled)

    def quotas() -> str:
        return martlet(destination, "quota", "list", "--json").stdout

    def differences() -> str:
        return martlet(destination, "link", "drift", "link", "--only", "acls", "--only", "quotas", check=False).stdout.strip()

    wait_until(lambda: len(rules(source)) == 3 and rules(destination) == rules(source), "the rules are the same", 30, 0.2)
    wait_until(lambda: all(value in quotas() for value in ("2000", "1000", "77")), "the quotas are here", 30, 0.2)
    wait_until(lambda: differences() == "Nothing differs.", "nothing differs", 30, 0.2)
    gone = AclBindingFilter(ResourceType.TOPIC, "orders", literal, "User:alice", "*", AclOperation.READ, allow)
    admin.delete_acls([gone])[gone].result(30)
    kafka_tool("configs", *alter, "--delete-config", "producer_byte_rate", *both)
    kafka_tool("configs", *alter, "--delete-config", "connection_creation_rate", *address)
    wait_until(lambda: len(rules(destination)) == 2 and rules(destination) == rules(source), "the rule is gone", 30, 0.2)
    wait_until(lambda: "2000" in quotas() and "1000" not in quotas() and "77" not in quotas(), "two of the quotas are gone", 30, 0.2)
    for kind in ("acls", "quotas"):
        assert synchronization(destination, kind)["error"] == ""


def test_groups_go_on_after_a_promotion(source, destination):
    source.create("read", 1)
    fill(source, "read", "theirs")
    [end] = ends(source, "read").values()
    commit(source, "readers", "read", {0: end // 2}, "half")
    martlet(destination, "link", "mirror", "link", "read")
    wait_mirror(destination, "read")
    martlet(destination, "link", "promote", "link", "read")
    assert mirror(destination, "read")["state"] == "STOPPED"
    expected, found = Contents(source, ["read"], ["readers"]), Contents(destination, ["read"], ["readers"])
    assert expected.commits == found.commits and expected.commits
    fill(destination, "read", "ours")
    assert ends(destination, "read")[0] > end


def test_failing_over_when_kafka_is_gone(source, destination):
    """The last of all, since nobody starts the source again. A transaction that it leaves open is aborted."""
    source.create("lost", 2)
    fill(source, "lost", "theirs")
    transact(source, "lost", "decided", commits=True)
    commit(source, "lost-readers", "lost", {0: 42})
    martlet(destination, "link", "mirror", "link", "lost")
    wait_mirror(destination, "lost")
    writer = Producer({**QUIET, "bootstrap.servers": source.bootstrap, "transactional.id": "undecided"})
    writer.init_transactions(30)
    writer.begin_transaction()
    writer.produce("lost", "undecided", partition=1)
    assert writer.flush(30) == 0
    wait_same(source, destination, "lost")
    expected = Contents(source, ["lost"], ["lost-readers"])
    wait_until(lambda: Contents(destination, [], ["lost-readers"]).commits == expected.commits, "the offsets are here", 30, 0.5)
    for node in source.nodes:
        node.kill()
    martlet(destination, "link", "failover", "link", "lost")
    assert mirror(destination, "lost")["state"] == "STOPPED"
    found = Contents(destination, ["lost"], ["lost-readers"])
    assert found.commits == expected.commits
    for isolation in ("read_committed", "read_uncommitted"):
        assert found.records["lost", 0, isolation] == expected.records["lost", 0, isolation]
    assert found.records["lost", 1, "read_committed"] == expected.records["lost", 1, "read_committed"]
    # Behind the marker that ends it.
    end = expected.offsets["latest", "READ_UNCOMMITTED", "lost", 1][0]
    assert found.offsets["latest", "READ_COMMITTED", "lost", 1][0] == end + 1
    fill(destination, "lost", "ours")
    assert len(read(destination.bootstrap, [("lost", 1)])["lost", 1]) > len(expected.records["lost", 1, "read_committed"])
