"""Offsets that groups commit within transactions: over a link they take effect with what the transactions wrote, whenever another cluster
takes over."""

import itertools

import pytest
from confluent_kafka.admin import NewTopic

from commands import martlet
from links import link, wait_mirror
from network import CLIENT
from nodes import wait_until
from processing import Processing, committed, judge
from test_link_transactions import producer_away_from, take_over, wait_kept_whole
from test_links import produce
from transaction_clusters import destination, source, start_again  # noqa: F401  (fixtures)
from transactional import Confluent, read_to_end

# Copying them beside the data comes too late to be of any help.
NEVER = 3_600_000
_numbers = itertools.count()


@pytest.fixture
def topics(source) -> tuple[str, str]:
    """Two topics that are led by different brokers."""
    number = next(_numbers)
    names = (f"in{number}", f"out{number}")
    replicas = [[1, 2, 3], [2, 3, 1]]
    new = [NewTopic(name, num_partitions=1, replica_assignment=[each]) for name, each in zip(names, replicas)]
    admin = source.admin()
    for future in admin.create_topics(new).values():
        future.result(30)
    source.wait_whole()
    return names


def linked(source, destination, topics, sync_ms: int, **settings) -> str:
    name = f"link-{topics[0]}"
    link(
        destination, source, name, consumer_offset_sync_enable="true", consumer_offset_sync_ms=sync_ms, topic_config_sync_ms=500,
        mirror_transactions_hold_max_ms=60_000, **settings)
    martlet(destination, "link", "mirror", name, *topics)
    wait_kept_whole(destination, name, len(topics))
    return name


@pytest.mark.parametrize(("victim", "sync_ms"), [("none", NEVER), ("coordinator", NEVER), ("coordinator", 1_000), ("leader", NEVER)])
def test_what_is_done_and_where_the_group_goes_on_are_the_same(source, destination, topics, victim, sync_ms):
    reads, writes = topics
    name = linked(source, destination, topics, sync_ms)
    produce(source, reads, range(2_000))
    group = f"{reads}-g"
    worker = Processing(source.bootstrap, group, reads, writes)
    worker.start()
    try:
        wait_until(lambda: committed(destination.bootstrap, group, reads) > 50, "offsets come with their transactions", 60, 0.1)
        if victim != "none":
            killed = destination.leader("__cluster_links" if victim == "coordinator" else "__consumer_offsets", 0)
            killed.kill()
            before = worker.committed
            wait_until(lambda: worker.committed > before + 10, "transactions go on", 60, 0.1)
            killed.start().wait_ready()
            destination.wait_whole()
            before = committed(destination.bootstrap, group, reads)
            wait_until(lambda: committed(destination.bootstrap, group, reads) > before, "offsets go on", 60, 0.1)
        worker.source_is_gone.set()
        for node in source.nodes:
            node.kill()
        take_over(destination, name, topics)
    finally:
        worker.source_is_gone.set()
        worker.stopping.set()
        start_again(source)
    # Not waited for: librdkafka's calls may wait for ever for a coordinator that was killed.
    assert judge(destination.bootstrap, group, reads, writes) > 50
    # The application goes on here as if nothing had happened.
    worker = Processing(destination.bootstrap, group, reads, writes, at_once=100)
    worker.start()
    held = len(read_to_end(destination.bootstrap, reads))
    wait_until(lambda: committed(destination.bootstrap, group, reads) == held, "all is done here", 120, 0.2)
    worker.finish()
    assert judge(destination.bootstrap, group, reads, writes) == held


def test_offsets_behind_the_end_of_a_mirror_are_brought_back_to_it(source, destination, topics):
    """What is cut off from the first transaction on that is not on all mirrors may have been read here by a group that does not care for
    transactions."""
    reads, writes = topics
    name = linked(source, destination, topics, 1_000)
    second = source.leader(writes, 0).number
    produce(source, reads, range(10))
    wait_mirror(destination, reads)
    transactional = producer_away_from(source, second)
    transactional.begin()
    for topic in topics:
        transactional.send(topic, ["cut"] * 5)
    for topic in topics:
        wait_mirror(destination, topic)
    # The marker in the second topic does not come to its mirror any more, so that of the first does not count.
    source.network.cut([CLIENT], [f"n{second}"])
    try:
        transactional.commit()
        # Nor does the producer wait for the broker that is cut off.
        produce(source, reads, range(10), **{"socket.timeout.ms": 5_000})
        wait_until(lambda: len(read_to_end(destination.bootstrap, reads, "read_uncommitted")) == 25, "all is here", 60, 0.1)
        martlet(destination, "group", "reset-offsets", "eager", "--topic", reads, "--to", "end", "--execute")
        assert committed(destination.bootstrap, "eager", reads) == 26
        take_over(destination, name, topics)
    finally:
        source.network.heal()
    assert len(read_to_end(destination.bootstrap, reads)) == 10
    assert len(read_to_end(destination.bootstrap, reads, "read_uncommitted")) == 15
    # And what aborts the last five here.
    assert committed(destination.bootstrap, "eager", reads) == 16
