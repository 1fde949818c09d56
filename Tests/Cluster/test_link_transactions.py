"""Transactions over a link that keeps them whole: what one transaction wrote is shown by all mirrors that it touched, or by none, whenever
another cluster takes over."""

import itertools

import pytest
from confluent_kafka.admin import NewTopic

from commands import martlet, martlet_json
from links import batches, link, mirror, wait_mirror
from network import CLIENT
from nodes import wait_until
from transacting import Transacting, Watching, judge
from transaction_clusters import destination, source, start_again  # noqa: F401  (fixtures)
from transactional import READ_UNCOMMITTED, Confluent, read_to_end

_numbers = itertools.count()


@pytest.fixture
def topics(source) -> list[str]:
    """Three topics, led by the first, the second and the third broker."""
    number = next(_numbers)
    names = [f"{letter}{number}" for letter in "abc"]
    replicas = [[1, 2, 3], [2, 3, 1], [3, 1, 2]]
    admin = source.admin()
    new = [NewTopic(name, num_partitions=1, replica_assignment=[each]) for name, each in zip(names, replicas)]
    for future in admin.create_topics(new).values():
        future.result(30)
    source.wait_whole()
    return names


@pytest.fixture
def linked(source, destination, topics):
    """Mirrors of the topics, by a link of their own."""
    name = f"link-{topics[0]}"
    link(
        destination, source, name, mirror_transactions_atomic_enable="true", mirror_transactions_hold_max_ms=60_000, topic_config_sync_ms=500)
    martlet(destination, "link", "mirror", name, *topics)
    wait_kept_whole(destination, name, len(topics))
    return name


def transactions(destination, name: str) -> dict:
    return martlet_json(destination, "link", "describe", name)["link"]["transactions"] or {}


def wait_kept_whole(destination, name: str, mirrors: int) -> None:
    """All mirrors have caught up once: from then on they wait for each other."""
    wait_until(
        lambda: [transactions(destination, name).get(key) for key in ("mirrors", "lagging")] == [mirrors, 0], "all have caught up", 30, 0.1)


def end(destination, topic: str) -> int:
    [partition] = mirror(destination, topic)["partitions"]
    return partition["logEndOffset"]


def producer_away_from(source, number: int) -> Confluent:
    """Whose coordinator is another broker than this one."""
    for attempt in range(100):
        transactional_id = f"away-{next(_numbers)}-{attempt}"
        producer = Confluent(source.bootstrap, transactional_id)
        if martlet_json(source, "transaction", "describe", transactional_id)[0]["coordinator"] != number:
            return producer
    raise AssertionError(f"broker {number} coordinates all transactions")


def take_over(destination, name: str, topics, verb: str = "failover") -> None:
    martlet(destination, "link", verb, name, "--all")
    for topic in topics:
        wait_mirror(destination, topic, "STOPPED", lag=None, seconds=60)


def test_a_transaction_waits_for_all_of_its_mirrors_and_is_aborted_on_all(source, destination, topics, linked):
    first, second, _ = topics
    transactional = producer_away_from(source, 2)
    transactional.begin()
    transactional.send(first, ["one"])
    transactional.send(second, ["one"])
    transactional.commit()
    for topic in (first, second):
        wait_mirror(destination, topic)
        assert read_to_end(destination.bootstrap, topic) == ["one"]

    transactional.begin()
    transactional.send(first, ["two"])
    transactional.send(second, ["two"])
    for topic in (first, second):
        wait_mirror(destination, topic)
    # What the second topic's leader still gets to say does not reach the mirror: above all not that the transaction was committed.
    source.network.cut([CLIENT], ["n2"])
    transactional.commit()
    wait_until(lambda: read_to_end(source.bootstrap, first)[-1:] == ["two"], "it is committed at the source", 30)
    wait_until(lambda: transactions(destination, linked)["held"] == 1, "the mirror of the first topic has its marker", 30, 0.1)
    assert read_to_end(destination.bootstrap, first) == ["one"]
    assert read_to_end(destination.bootstrap, first, READ_UNCOMMITTED) == ["one", "two"]

    take_over(destination, linked, topics)
    source.network.heal()
    for topic in (first, second):
        assert read_to_end(destination.bootstrap, topic) == ["one"], "aborted, on both"
        assert read_to_end(destination.bootstrap, topic, READ_UNCOMMITTED) == ["one", "two"]
    # The clusters part here: the source's commit is cut when it becomes the mirror.
    back = f"back-{linked}"
    link(source, destination, back)
    martlet(source, "link", "restore", back, first, second)
    for topic in (first, second):
        wait_mirror(source, topic, seconds=60)
        assert read_to_end(source.bootstrap, topic) == ["one"]
        assert batches(source.leader(topic, 0), topic) == batches(destination.leader(topic, 0), topic)


def test_a_mirror_that_does_not_get_on_is_left_behind(source, destination, topics):
    name = f"link-{topics[0]}"
    link(destination, source, name, mirror_transactions_atomic_enable="true", mirror_transactions_hold_max_ms=3_000)
    martlet(destination, "link", "mirror", name, *topics)
    wait_kept_whole(destination, name, len(topics))
    transactional = producer_away_from(source, 2)
    transactional.begin()
    for topic in topics:
        transactional.send(topic, ["one"])
    transactional.commit()
    wait_until(lambda: transactions(destination, name)["released"] == 1, "the first transaction is shown", 30, 0.1)
    assert transactions(destination, name)["incomplete"] == 0
    transactional.begin()
    for topic in topics:
        transactional.send(topic, ["two"])
    source.network.cut([CLIENT], ["n2"])
    try:
        transactional.commit()
        for topic in (topics[0], topics[2]):
            wait_until(lambda: read_to_end(destination.bootstrap, topic) == ["one", "two"], f"{topic} goes on", 30)
        assert transactions(destination, name)["incomplete"] == 1
    finally:
        source.network.heal()
    wait_until(lambda: read_to_end(destination.bootstrap, topics[1]) == ["one", "two"], "it catches up", 60)


@pytest.mark.parametrize("victims", ["leaders", "coordinator"])
def test_whole_or_not_at_all_whoever_is_killed_and_whenever_it_is_taken_over(source, destination, topics, linked, victims):
    workers = [Transacting(source, topics, f"{topics[0]}-{number}") for number in range(2)]
    watching = Watching(destination, topics)
    for worker in [*workers, watching]:
        worker.start()
    try:
        for number in range(3):
            before = sum(len(worker.committed) for worker in workers)
            victim = destination.leader(topics[number], 0) if victims == "leaders" else destination.leader("__cluster_links", 0)
            victim.kill()
            wait_until(lambda: sum(len(worker.committed) for worker in workers) > before + 10, "transactions go on", 60, 0.1)
            victim.start().wait_ready()
            destination.wait_whole()
            ends = [end(destination, topic) for topic in topics]
            wait_until(
                lambda: all(end(destination, topic) > before + 20 for topic, before in zip(topics, ends)), "all mirrors go on", 60, 0.1)
        # The whole source dies in the middle of it all.
        for worker in workers:
            worker.source_is_gone.set()
        for node in source.nodes:
            node.kill()
        take_over(destination, linked, topics)
    finally:
        for worker in workers:
            worker.source_is_gone.set()
            worker.stopping.set()
        start_again(source)
        for worker in [*workers, watching]:
            worker.finish()
    judge(destination.bootstrap, topics, watching)
