"""Who leads: home by itself after a restart, and uncleanly where an operator prefers service to records."""

import pytest

from checker import check
from clusters import Cluster
from commands import martlet
from load import Writer, read_everything
from nodes import wait_until
from operations import OK, Recorder
from test_replication import consume, produce


@pytest.fixture(scope="module")
def cluster():
    with Cluster(3, proxied=False, settings={"leader.imbalance.check.interval.seconds": "1"}) as cluster:
        yield cluster


def test_leaders_come_home_by_themselves(cluster):
    topic = "home"
    recorder = Recorder()
    cluster.create(topic, 3)
    preferred = {number: each.replicas[0] for number, each in cluster.partitions(topic).items()}
    assert len(set(preferred.values())) == 3
    writer = Writer("w", cluster.bootstrap, topic, 3, recorder, rate=200)
    writer.start()

    def leaders():
        return {number: each.leader for number, each in cluster.partitions(topic).items()}

    for node in cluster.nodes:
        assert node.stop() == 0
        wait_until(lambda: node.number not in leaders().values(), f"{node} leads nothing", 20)
        node.start().wait_ready()
        wait_until(lambda: leaders() == preferred, f"{node} leads again", 30)
    writer.finish()
    assert not writer.fatal and all(operation.outcome == OK for operation in recorder.operations if operation.sends)
    read_everything(cluster.bootstrap, topic, 3, recorder)
    verdict = check(recorder.operations)
    assert verdict.is_valid, str(verdict)


@pytest.fixture(scope="module")
def apart():
    """With a controller of its own, so that brokers may be away without taking the quorum along."""
    with Cluster(3, controllers=1, proxied=False) as cluster:
        yield cluster


def lose_the_leader(cluster, topic):
    """A partition whose only replica in sync is away, and whose other one lacks its last records. Returns that one's node."""
    produce(cluster, topic, [f"both-{number}" for number in range(100)])
    cluster.wait_whole()
    leader = cluster.leader(topic, 0)
    [follower] = [cluster.node(number) for number in cluster.partitions(topic)[0].replicas if number != leader.number]
    follower.kill()
    wait_until(lambda: len(cluster.partitions(topic)[0].isrs) == 1, "the follower is out of sync", 30)
    produce(cluster, topic, [f"lost-{number}" for number in range(100)])
    leader.kill()
    wait_until(lambda: cluster.partitions(topic)[0].leader < 0, "nobody leads", 30)
    return leader, follower


def after_an_unclean_election(cluster, topic, leader, follower):
    wait_until(lambda: cluster.partitions(topic)[0].leader == follower.number, "the replica that is there leads", 30)
    both, new = [f"both-{number}" for number in range(100)], [f"new-{number}" for number in range(100)]
    produce(cluster, topic, new)
    assert consume(cluster, topic, 200) == both + new
    # The former leader gives up what only it had.
    leader.start().wait_ready()
    cluster.wait_whole()
    follower.kill()
    wait_until(lambda: cluster.partitions(topic)[0].leader == leader.number, "the former leader leads", 30)
    produce(cluster, topic, ["more"])
    assert consume(cluster, topic, 201) == both + new + ["more"]
    follower.start().wait_ready()
    cluster.wait_whole()


def test_unclean_election_by_configuration(apart):
    topic = "careless"
    apart.create(topic, 1, 2, **{"min.insync.replicas": "1", "unclean.leader.election.enable": "true"})
    leader, follower = lose_the_leader(apart, topic)
    follower.start().wait_ready()
    after_an_unclean_election(apart, topic, leader, follower)


def test_unclean_election_by_command(apart):
    topic = "careful"
    apart.create(topic, 1, 2, **{"min.insync.replicas": "1"})
    leader, follower = lose_the_leader(apart, topic)
    follower.start().wait_ready()
    # It does not lead by itself: records would be lost.
    wait_until(lambda: len(apart.admin().list_topics(timeout=10).brokers) == 2, "two brokers are there", 20)
    assert apart.partitions(topic)[0].leader < 0
    martlet(apart, "partition", "elect", "--unclean", "--yes", f"{topic}:0")
    after_an_unclean_election(apart, topic, leader, follower)
