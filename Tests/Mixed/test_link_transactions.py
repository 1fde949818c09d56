"""Transactions over a link from Apache Kafka: whole on all mirrors or on none, though the link's coordinator dies, and then all of Kafka."""

from commands import martlet, martlet_json
from kafka_nodes import KAFKA, MARTLET, wait_until
from links import DESTINATION_ID, SOURCE_ID, link, mirror, wait_mirror
from mixed_clusters import MixedCluster
from processing import Processing
from processing import committed as committed_offset
from processing import judge as judge_offsets
from transacting import Transacting, Watching, judge
from transactional import Confluent

TOPICS = ["a", "b", "c"]


def test_kafka_s_transactions_are_whole_whatever_dies():
    with MixedCluster(KAFKA, KAFKA, roles=["broker,controller", "broker"], cluster_id=SOURCE_ID) as source:
        for topic in TOPICS:
            source.create(topic, 1, 2)
        with MixedCluster(MARTLET, MARTLET, MARTLET, cluster_id=DESTINATION_ID) as destination:
            link(destination, source, topic_config_sync_ms=500, mirror_transactions_hold_max_ms=60_000)
            martlet(destination, "link", "mirror", "link", *TOPICS)

            def standing(key: str):
                return (martlet_json(destination, "link", "describe", "link")["link"]["transactions"] or {}).get(key)

            wait_until(lambda: standing("mirrors") == 3 and standing("lagging") == 0, "all mirrors are waited for", 60, 0.2)
            workers = [Transacting(source, TOPICS, f"worker-{number}") for number in range(2)]
            watching = Watching(destination, TOPICS)
            for worker in [*workers, watching]:
                worker.start()
            try:
                wait_until(lambda: all(len(worker.committed) > 10 for worker in workers), "transactions are committed", 60, 0.1)
                victim = destination.leader("__cluster_links", 0)
                victim.kill()
                before = sum(len(worker.committed) for worker in workers)
                wait_until(lambda: sum(len(worker.committed) for worker in workers) > before + 20, "and go on", 60, 0.1)
                victim.start().wait_ready()
                seen = len(watching.seen["a"])
                wait_until(lambda: len(watching.seen["a"]) > seen + 10, "they are shown", 60, 0.1)
            finally:
                for worker in workers:
                    worker.source_is_gone.set()
                for node in source.nodes:
                    node.kill()
            martlet(destination, "link", "failover", "link", "--all")
            for topic in TOPICS:
                wait_mirror(destination, topic, "STOPPED", lag=None, seconds=60)
                assert mirror(destination, topic)["reason"] != "promoted"
            for worker in [*workers, watching]:
                worker.finish()
            judge(destination.bootstrap, TOPICS, watching)


def test_offsets_of_kafka_s_transactions_go_with_what_they_wrote():
    with MixedCluster(KAFKA, KAFKA, roles=["broker,controller", "broker"], cluster_id=SOURCE_ID) as source:
        for topic in ("in", "out"):
            source.create(topic, 1, 2)
        with MixedCluster(MARTLET, MARTLET, MARTLET, cluster_id=DESTINATION_ID) as destination:
            link(
                destination, source, topic_config_sync_ms=500, mirror_transactions_hold_max_ms=60_000, consumer_offset_sync_enable="true",
                consumer_offset_sync_ms=3_600_000)
            martlet(destination, "link", "mirror", "link", "in", "out")
            feeding = Confluent(source.bootstrap, "feeding")
            feeding.begin()
            feeding.send("in", [f"{number}" for number in range(2_000)])
            feeding.commit()
            worker = Processing(source.bootstrap, "group", "in", "out")
            worker.start()
            try:
                def go_on():
                    before = max(0, committed_offset(destination.bootstrap, "group", "in"))
                    wait_until(
                        lambda: committed_offset(destination.bootstrap, "group", "in") > before + 30, "offsets come with their transactions",
                        60, 0.1)

                go_on()
                victim = destination.leader("__cluster_links", 0)
                victim.kill()
                victim.start().wait_ready()
                go_on()
            finally:
                worker.source_is_gone.set()
                worker.stopping.set()
                for node in source.nodes:
                    node.kill()
            martlet(destination, "link", "failover", "link", "--all")
            for topic in ("in", "out"):
                wait_mirror(destination, topic, "STOPPED", lag=None, seconds=60)
            assert judge_offsets(destination.bootstrap, "group", "in", "out") > 60
