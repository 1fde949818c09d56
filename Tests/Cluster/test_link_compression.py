"""`link.compression.type=zstd`: fewer bytes between clusters, the same ones in both."""

import json
import random

from commands import martlet, martlet_json
from links import batches, link, source_cluster, wait_end, wait_mirror
from nodes import wait_until
from old_kafka import KAFKA_3_0, OldKafka
from test_links import consume, produce


def records(count: int, seed: int = 1) -> list[str]:
    """What services write: the same fields again and again."""
    chance = random.Random(seed)
    return [json.dumps({
        "orderId": chance.randrange(10 ** 9), "customer": f"customer-{chance.randrange(5000)}", "currency": "EUR", "country": "DE",
        "status": chance.choice(["created", "paid", "shipped"]), "amount": chance.randrange(10 ** 5) / 100,
        "items": [{"sku": f"SKU-{chance.randrange(2000):06}", "quantity": chance.randrange(5)} for _ in range(3)]}) for _ in range(count)]


def traffic(destination, name):
    [found] = martlet_json(destination, "link", "describe", name)["traffic"]
    return found


def node_metric(destination, name, which):
    for line in destination.node(1).get("/metrics")[1].splitlines():
        if line.startswith(name + "{") and f'link="{which}"' in line:
            return float(line.rsplit(" ", 1)[1])
    return None


def test_what_is_stored_is_the_same_and_fewer_bytes_go_over(source, destination):
    link(destination, source, "packed", link_compression_type="zstd", topic_config_sync_ms=500)
    source.create("plain", 1)
    source.create("lz4", 1)
    produce(source, "plain", records(5000), **{"compression.type": "none"})
    produce(source, "lz4", records(5000, 2), **{"compression.type": "lz4"})
    martlet(destination, "link", "mirror", "packed", "plain", "lz4")
    for topic in ("plain", "lz4"):
        wait_mirror(destination, topic)
        wait_end(destination, topic, 5000)
        assert batches(destination.node(1), topic) == batches(source.node(1), topic)
        assert [value for _, value in consume(destination, topic, 5000)] == records(5000, 1 if topic == "plain" else 2)
    found = traffic(destination, "packed")
    assert found["compression"] == "zstd" and found["problem"] == ""
    size = sum(len(batch) for batch in batches(source.node(1), "plain"))
    assert found["bytes"] > size > 500_000
    assert found["wireBytes"] * 2 < found["bytes"]
    assert node_metric(destination, "martlet_link_wire_bytes_total", "packed") >= found["wireBytes"]
    assert node_metric(destination, "martlet_link_answer_bytes_total", "packed") >= found["bytes"]
    # Records that are written while it follows, in small answers, come too.
    produce(source, "plain", records(10, 3), **{"linger.ms": 0})
    wait_end(destination, "plain", 5010)
    assert martlet(destination, "link", "verify", "packed").returncode == 0


def test_it_can_be_switched_on_and_off(source, destination):
    link(destination, source, "switched", topic_config_sync_ms=500)
    source.create("s", 1)
    martlet(destination, "link", "mirror", "switched", "s")
    produce(source, "s", records(2000))
    wait_end(destination, "s", 2000)
    found = traffic(destination, "switched")
    assert found["compression"] == "none" and found["wireBytes"] == found["bytes"]
    martlet(destination, "link", "config", "switched", "link.compression.type=zstd")
    wait_until(lambda: traffic(destination, "switched")["compression"] == "zstd", "the setting is in force", 20, 0.1)
    produce(source, "s", records(2000, 2))
    wait_end(destination, "s", 4000)
    found = traffic(destination, "switched")
    assert found["wireBytes"] * 2 < found["bytes"]
    martlet(destination, "link", "config", "switched", "link.compression.type=none")
    produce(source, "s", records(2000, 3))
    wait_end(destination, "s", 6000)
    assert batches(destination.node(1), "s") == batches(source.node(1), "s")
    done = martlet(destination, "link", "config", "switched", "link.compression.type=gzip", check=False)
    assert done.returncode == 1 and "none or zstd" in done.stderr


def test_answers_over_connections_that_the_source_opens_are_compressed_too(source, destination):
    """The destination has no address of the source: what it asks and is answered goes over connections that the source's brokers opened."""
    martlet(destination, "link", "create", "far", "--set", "connection.mode=INBOUND", "--set", "link.compression.type=zstd",
            "--set", "topic.config.sync.ms=500")
    martlet(source, "link", "create", "far", "--bootstrap", destination.bootstrap, "--set", "link.mode=SOURCE")
    for number, codec in enumerate(("none", "lz4")):
        source.create(f"far-{codec}", 1)
        produce(source, f"far-{codec}", records(5000, number), **{"compression.type": codec})
    wait_until(lambda: martlet(destination, "link", "mirror", "far", "far-none", "far-lz4", check=False).returncode == 0,
               "the source is connected", 30, 0.2)

    def is_the_same(codec: str, count: int) -> None:
        wait_end(destination, f"far-{codec}", count)
        wait_mirror(destination, f"far-{codec}")
        assert batches(destination.node(1), f"far-{codec}") == batches(source.node(1), f"far-{codec}")

    for codec in ("none", "lz4"):
        is_the_same(codec, 5000)
    [view] = martlet_json(destination, "link", "describe", "far")["connections"]
    assert [broker["inUse"] > 0 for broker in view["accepted"]] == [True]
    found = traffic(destination, "far")
    assert found["compression"] == "zstd" and found["problem"] == ""
    size = sum(len(batch) for codec in ("none", "lz4") for batch in batches(source.node(1), f"far-{codec}"))
    assert found["bytes"] > size and found["wireBytes"] * 2 < found["bytes"]
    assert node_metric(destination, "martlet_link_wire_bytes_total", "far") >= found["wireBytes"]

    # Connections that the source opens anew are asked for compressed answers again; what was counted goes on.
    source.node(1).kill()
    source.node(1).start().wait_ready()
    produce(source, "far-none", records(5000, 3), **{"compression.type": "none"})
    is_the_same("none", 10_000)
    more = traffic(destination, "far")
    assert more["problem"] == "" and more["bytes"] - found["bytes"] > 500_000
    assert (more["wireBytes"] - found["wireBytes"]) * 2 < more["bytes"] - found["bytes"]
    verified = martlet(destination, "link", "verify", "far", "--source-bootstrap-server", source.bootstrap)
    assert verified.returncode == 0


def test_a_source_that_does_not_compress_is_followed_all_the_same(destination):
    old = OldKafka(KAFKA_3_0)
    cluster = source_cluster(1)
    old.stand_before(cluster.node(1))
    # Another cluster: the link's name for it is another one too.
    with cluster:
        link(destination, cluster, "apache", link_compression_type="zstd", topic_config_sync_ms=500)
        cluster.create("k", 1)
        produce(cluster, "k", records(1000))
        martlet(destination, "link", "mirror", "apache", "k")
        wait_end(destination, "k", 1000)
        found = traffic(destination, "apache")
        assert "not Martlet's" in found["problem"] and found["wireBytes"] == found["bytes"]
        assert "not Martlet's" in martlet(destination, "link", "describe", "apache").stdout
    old.close()
