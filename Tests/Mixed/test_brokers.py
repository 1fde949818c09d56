"""A broker of one program in a cluster that the other's controllers lead: joins, follows, leads, coordinates, stops, dies, comes back and
is removed."""

import json

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from clusters import QUICK_RECONNECT
from contents import Contents, commit, consume_in_group, fill, read, set_configuration
from kafka_nodes import KAFKA, MARTLET, kafka_tool, wait_until
from load import QUIET
from mixed_clusters import MixedCluster

SHAPES = {
    "kafka-isolated": ([KAFKA, KAFKA, MARTLET], ["controller", "broker", "broker"], False),
    "kafka-combined-dynamic": ([KAFKA, MARTLET], ["broker,controller", "broker"], True),
    "martlet-isolated": ([MARTLET, MARTLET, KAFKA], ["controller", "broker", "broker"], False),
    "martlet-combined-dynamic": ([MARTLET, KAFKA], ["broker,controller", "broker"], True),
}


@pytest.fixture(scope="module", params=SHAPES)
def cluster(request):
    programs, roles, dynamic = SHAPES[request.param]
    with MixedCluster(*programs, roles=roles, dynamic=dynamic) as cluster:
        cluster.newcomer, cluster.resident = cluster.nodes[-1], cluster.nodes[-2]
        yield cluster


def only(cluster, node) -> AdminClient:
    """A client that knows no other broker at first."""
    return AdminClient({"bootstrap.servers": node.address, **QUIET, **QUICK_RECONNECT})


def lead(cluster, topic: str, node) -> None:
    """The node leads every partition, as its preferred leader."""
    other = cluster.resident if node is cluster.newcomer else cluster.newcomer
    for partition in cluster.partitions(topic):
        cluster.martlet("partition", "reassign", f"{topic}:{partition}", "--replicas", f"{node.number},{other.number}")
    cluster.martlet("partition", "elect", topic)
    wait_until(lambda: all(each.leader == node.number for each in cluster.partitions(topic).values()), f"{node} leads {topic}", 30)


def test_every_broker_tells_the_same(cluster):
    cluster.create("told", 4)
    cluster.wait_whole()

    def told(node):
        admin = only(cluster, node)
        metadata = admin.list_topics(timeout=20)
        described = admin.describe_cluster().result(20)
        topics = {
            name: {number: (each.leader, each.replicas, sorted(each.isrs)) for number, each in topic.partitions.items()}
            for name, topic in metadata.topics.items()
        }
        brokers = {number: (broker.host, broker.port) for number, broker in metadata.brokers.items()}
        nodes = sorted((node.id, node.host, node.port, node.rack) for node in described.nodes)
        return metadata.cluster_id, brokers, topics, described.cluster_id, nodes

    # A topic is known to each when it has come to it.
    wait_until(lambda: told(cluster.newcomer) == told(cluster.resident), "both tell the same", 20)
    assert len(told(cluster.newcomer)[1]) == 2


@pytest.mark.parametrize("leader", ["newcomer", "resident"])
def test_either_leads_and_the_other_follows(cluster, leader):
    topic = f"led-by-{leader}"
    cluster.create(topic, 2)
    lead(cluster, topic, getattr(cluster, leader))
    fill(cluster, topic, "first")
    cluster.wait_whole()
    before = Contents(cluster, [topic], [])
    other = "resident" if leader == "newcomer" else "newcomer"
    lead(cluster, topic, getattr(cluster, other))
    assert not before.differences(Contents(cluster, [topic], []))
    fill(cluster, topic, "second", 10)
    assert len(read(cluster.bootstrap, [(topic, 0)])[topic, 0]) == 5 * 30 + 5 * 5


def test_requests_are_forwarded_to_the_controller(cluster):
    for node in (cluster.newcomer, cluster.resident):
        admin, topic = only(cluster, node), f"forwarded-{node.program}"
        admin.create_topics([NewTopic(topic, 1, 2, config={"retention.ms": "12345678"})])[topic].result(30)
        wait_until(lambda: len(cluster.partitions(topic)) == 1, f"{topic} is known", 30)
        admin.create_partitions([NewPartitions(topic, 3)])[topic].result(30)
        wait_until(lambda: len(cluster.partitions(topic)) == 3, f"{topic} has three partitions", 30)
        set_configuration(cluster, topic, **{"segment.ms": "7777777"})
        wait_until(lambda: Contents(cluster, [topic], []).configurations[topic] == {"retention.ms": "12345678", "segment.ms": "7777777"},
                   "the configuration is known", 30)
        fill(cluster, topic, "some", 9)
        deleted = admin.delete_records([TopicPartition(topic, 0, 4)])
        assert [future.result(30).low_watermark for future in deleted.values()] == [4]
        admin.delete_topics([topic])[topic].result(30)
        wait_until(lambda: topic not in cluster.admin().list_topics(timeout=10).topics, f"{topic} is gone", 30)
        with pytest.raises(Exception, match="(?i)replication"):
            admin.create_topics([NewTopic("impossible", 1, 9)])["impossible"].result(30)


def test_groups_move_between_coordinators(cluster):
    cluster.create("grouped", 2)
    fill(cluster, "grouped", "some", 20)
    commit(cluster, "moved", "grouped", {0: 3}, "before")
    assert consume_in_group(cluster, "members", "grouped", 100) == 100
    cluster.wait_whole()

    def committed(group):
        admin = cluster.admin()
        [future] = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
        return {(each.partition, each.offset, each.metadata) for each in future.result(30).topic_partitions}

    for number, node in enumerate([cluster.newcomer, cluster.resident, cluster.newcomer]):
        lead(cluster, "__consumer_offsets", node)
        wait_until(lambda: coordinator(cluster, "members") == node.number, f"{node} coordinates", 30, pause=0.2)
        assert (0, 3 + number, "before" if number == 0 else str(number)) in committed("moved")
        assert {each[1] for each in committed("members")} == {50 + number * 2}
        fill(cluster, "grouped", f"more-{number}", 4 if number % 2 else 4)
        commit(cluster, "moved", "grouped", {0: 4 + number}, str(number + 1))
        commit(cluster, "members", "grouped", {0: 50 + 2 * (number + 1), 1: 50 + 2 * (number + 1)})
        assert consume_in_group(cluster, f"members-{number}", "grouped", 100) >= 100


def coordinator(cluster, group) -> int | None:
    """None while it loads."""
    admin = cluster.admin()
    try:
        return admin.describe_consumer_groups([group])[group].result(30).coordinator.id
    except KafkaException as error:
        assert error.args[0].code() in (KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.NOT_COORDINATOR), str(error)
        return None


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_it_goes_and_comes_back(cluster, how):
    topic = f"back-{how}"
    cluster.create(topic, 2, **{"min.insync.replicas": "1"})
    lead(cluster, topic, cluster.newcomer)
    fill(cluster, topic, "before", 20)
    if how == "stopped":
        assert cluster.newcomer.stop() == 0, cluster.newcomer.log()[-2000:]
    else:
        cluster.newcomer.kill()
    wait_until(lambda: {each.leader for each in cluster.partitions(topic).values()} == {cluster.resident.number}, "the other leads", 40)
    fill(cluster, topic, "between", 20)
    cluster.newcomer.start().wait_ready()
    cluster.wait_whole()
    cluster.martlet("partition", "elect", topic)
    wait_until(lambda: {each.leader for each in cluster.partitions(topic).values()} == {cluster.newcomer.number}, "it leads again", 40)
    fill(cluster, topic, "after", 20)
    for partition in (0, 1):
        records = read(cluster.bootstrap, [(topic, partition)])[topic, partition]
        assert [each[0] for each in records] == list(range(150)), len(records)


def test_tools_of_both_work_with_both(cluster):
    for node in (cluster.newcomer, cluster.resident):
        status = kafka_tool("metadata-quorum", "--bootstrap-server", node.address, "describe", "--status")
        assert "LeaderId:" in status and " 1\n" in status.split("LeaderId:")[1], status
        replication = kafka_tool("metadata-quorum", "--bootstrap-server", node.address, "describe", "--replication")
        assert "Leader" in replication and "Observer" in replication, replication
    assert json.loads(cluster.martlet("quorum", "status", "--json"))["leaderId"] == 1


def test_it_is_drained_and_removed(cluster):
    node = cluster.newcomer
    cluster.martlet("partition", "reassign", "--brokers", str(cluster.resident.number), "-r", "1", seconds=120)
    assert not [each for each in json.loads(cluster.martlet("partition", "list", "--json")) if node.number in each["replicas"]]
    assert node.stop() == 0
    cluster.martlet("broker", "unregister", node.number)
    wait_until(lambda: [each["id"] for each in json.loads(cluster.martlet("broker", "list", "--json"))] == [cluster.resident.number],
               "it is gone", 30, pause=0.2)
    node.start().wait_ready()
    wait_until(lambda: len(cluster.admin().list_topics(timeout=10).brokers) == 2, "it is back", 30, pause=0.2)
