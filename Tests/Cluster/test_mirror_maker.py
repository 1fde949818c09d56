"""Replication between clusters as MirrorMaker 2 does it, each cluster real, with real clients at both ends."""

import json
import subprocess
import time
from pathlib import Path

import pytest

from clusters import Cluster
from mirror_process import Mirror, mirrors_between, one_node_clusters
from mirrors import (
    Stream, checkpoints, commit, committed, heartbeats, metric, next_record, offset_syncs, positions, read, rows, send, values,
    wait_for)
from nodes import binary, wait_until


@pytest.fixture(scope="module")
def three():
    with one_node_clusters("ABC") as clusters:
        yield clusters


@pytest.fixture
def mirror(three, tmp_path):
    with mirrors_between(tmp_path, three) as make:
        yield make


def test_one_way(three, mirror):
    """Records come with key, value, headers, timestamp and partition; partitions grow; settings follow."""
    a, b = three["A"], three["B"]
    a.create("one", 3, **{"retention.ms": "123456789", "min.insync.replicas": "1", "cleanup.policy": "compact"})
    first = rows(500, 3)
    send(a.bootstrap, "one", first, **{"compression.type": "lz4"})
    running = mirror("AB", {"A->B.enabled": "true", "A->B.topics": "one"})
    wait_for(b.bootstrap, "A.one", first)
    assert len(b.partitions("A.one")) == 3
    second = rows(300, 3, first=500, size=5000)
    send(a.bootstrap, "one", second)
    wait_for(b.bootstrap, "A.one", first + second)

    def described(name):
        done = subprocess.run(
            [str(binary()), "config", "describe", "--topic", "A.one", "-b", b.bootstrap], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return [line for line in done.stdout.splitlines() if line.startswith(name)]

    assert any("123456789" in line for line in described("retention.ms")), described("retention.ms")
    assert any("compact" in line for line in described("cleanup.policy"))
    changed = subprocess.run(
        [str(binary()), "config", "set", "--topic", "one", "retention.ms=987654321", "-b", a.bootstrap], capture_output=True, text=True, timeout=60)
    assert changed.returncode == 0, changed.stdout + changed.stderr
    wait_until(lambda: any("987654321" in line for line in described("retention.ms")), "the setting follows", 30, pause=0.5)

    grown = subprocess.run(
        [str(binary()), "topic", "alter", "one", "--partitions", "5", "-b", a.bootstrap], capture_output=True, text=True, timeout=60)
    assert grown.returncode == 0, grown.stdout + grown.stderr
    wait_until(lambda: len(b.partitions("A.one")) == 5, "the remote topic grows", 30, pause=0.5)
    third = rows(100, 5, first=800)
    send(a.bootstrap, "one", third)
    wait_for(b.bootstrap, "A.one", first + second + third)
    labels = {"source": "A", "target": "B", "topic": "A.one", "partition": "4"}
    wait_until(
        lambda: metric(running.metrics_port, "kafka_connect_mirror_mirrorsourceconnector_record_count", **labels) == 20, "all are counted", 30)
    assert running.stop() == 0
    assert positions(b.bootstrap, "mm2-offsets.A.internal")["A", "one", 4] == 19


def test_both_ways(three, mirror):
    """A→B and B→A: each side has the other's records, and none comes back to where it was written."""
    a, b = three["A"], three["B"]
    for cluster in (a, b):
        cluster.create("both", 2)
    ours, theirs = rows(200, 2), rows(300, 2, first=1000)
    send(a.bootstrap, "both", ours)
    send(b.bootstrap, "both", theirs)
    mirror("AB", {"A->B.enabled": "true", "B->A.enabled": "true", "topics": ".*both"})
    wait_for(b.bootstrap, "A.both", ours)
    wait_for(a.bootstrap, "B.both", theirs)
    more = rows(100, 2, first=200)
    send(a.bootstrap, "both", more)
    wait_for(b.bootstrap, "A.both", ours + more)
    # Looked for topics again since: the heartbeats of both directions went on.
    before = len(heartbeats(b.bootstrap))
    wait_until(lambda: len(heartbeats(b.bootstrap)) >= before + 3, "heartbeats", 30, pause=0.3)
    for cluster in (a, b):
        names = [name for name in cluster.admin().list_topics(timeout=10).topics if name.endswith("both")]
        assert sorted(names) == sorted(["both", "B.both" if cluster is a else "A.both"])
    assert values(a.bootstrap, "both") == sorted(ours + more, key=lambda row: row.partition)


def test_aggregation(three, mirror):
    """A→C and B→C."""
    for alias in "AB":
        three[alias].create("gathered", 1)
        send(three[alias].bootstrap, "gathered", rows(150, first=ord(alias) * 1000))
    mirror("ABC", {"A->C.enabled": "true", "B->C.enabled": "true", "topics": "gathered"})
    for alias in "AB":
        wait_for(three["C"].bootstrap, f"{alias}.gathered", rows(150, first=ord(alias) * 1000))


def test_fan_out(three, mirror):
    """C→A and C→B."""
    three["C"].create("spread", 2)
    send(three["C"].bootstrap, "spread", rows(250, 2))
    mirror("ABC", {"C->A.enabled": "true", "C->B.enabled": "true", "topics": "spread"})
    for alias in "AB":
        wait_for(three[alias].bootstrap, "C.spread", rows(250, 2))


def test_chain(three, mirror):
    """A→B→C: the name tells the whole way."""
    three["A"].create("chained", 1)
    send(three["A"].bootstrap, "chained", rows(120))
    mirror("ABC", {"A->B.enabled": "true", "B->C.enabled": "true", "topics": ".*chained"})
    wait_for(three["B"].bootstrap, "A.chained", rows(120))
    wait_for(three["C"].bootstrap, "B.A.chained", rows(120))
    # What was written to A for the flow that ends there.
    wait_until(
        lambda: ("B", "A") in {beat[:2] for beat in heartbeats(three["C"].bootstrap, "B.A.heartbeats")}, "A's heartbeats on C", 30, pause=0.3)


def test_groups(three, mirror):
    """A consumer of a group goes on at the right record on the other side, also one that lags, and nothing sets a group back."""
    a, b = three["A"], three["B"]
    a.create("read", 1)
    # Batches of one to twelve records, so that boundaries lie everywhere.
    number = 0
    for size in [1, 5, 12, 3, 7, 2, 11, 9] * 5:
        send(a.bootstrap, "read", rows(size, first=number))
        number += size
    running = mirror("AB", {"A->B.enabled": "true", "A->B.topics": "read", "A->B.sync.group.offsets.enabled": "true"})
    wait_for(b.bootstrap, "A.read", rows(number))
    places = {"far-behind": 3, "behind": 57, "middle": 101, "at-the-end": number}
    for group, offset in places.items():
        commit(a.bootstrap, group, {("read", 0): offset}, metadata=f"of {group}")
    for group, offset in places.items():
        wait_until(lambda group=group, offset=offset: committed(b.bootstrap, group, "A.read") == offset, f"{group} at {offset}", 30, pause=0.3)
    for group, offset in list(places.items())[:3]:
        assert next_record(b.bootstrap, group, "A.read").value == rows(1, first=offset)[0].value
    # The client ends what it commits with a zero byte.
    found = {(group, upstream, downstream, metadata.rstrip("\0"))
             for group, topic, partition, upstream, downstream, metadata in checkpoints(b.bootstrap, "A.checkpoints.internal")
             if (topic, partition) == ("A.read", 0)}
    assert found == {(group, offset, offset, f"of {group}") for group, offset in places.items()}

    # Someone went on on the target: not set back, and not overtaken by what is behind.
    commit(b.bootstrap, "middle", {("A.read", 0): 150})
    commit(a.bootstrap, "middle", {("read", 0): 120})
    wait_until(lambda: ("middle", 120) in {(group, upstream) for group, topic, _, upstream, _, _ in
                                           checkpoints(b.bootstrap, "A.checkpoints.internal") if topic == "A.read"}, "a checkpoint", 30, pause=0.3)
    before = len(heartbeats(b.bootstrap))
    wait_until(lambda: len(heartbeats(b.bootstrap)) >= before + 3, "several rounds of synchronising", 30, pause=0.3)
    assert committed(b.bootstrap, "middle", "A.read") == 150

    # After another start the same offsets translate the same: they come from what was written down.
    assert running.stop() == 0
    send(a.bootstrap, "read", rows(30, first=number))
    mirror("AB", {"A->B.enabled": "true", "A->B.topics": "read", "A->B.sync.group.offsets.enabled": "true"})
    wait_for(b.bootstrap, "A.read", rows(number + 30))
    for offset in (1, 64, 99, number - 1, number + 17):
        group = f"later-{offset}"
        commit(a.bootstrap, group, {("read", 0): offset})
        wait_until(lambda: committed(b.bootstrap, group, "A.read") == offset, f"{group}", 30, pause=0.3)


def test_internal_topics(three, mirror):
    """The bytes of offset syncs, checkpoints and heartbeats, and where each topic is."""
    a, b = three["A"], three["B"]
    a.create("kept", 2)
    send(a.bootstrap, "kept", rows(400, 2))
    for location, where, name in (("source", a, "mm2-offset-syncs.B.internal"), ("target", b, "mm2-offset-syncs.A.internal")):
        topic = "kept" if location == "source" else "kept-there"
        if location == "target":
            a.create(topic, 2)
            send(a.bootstrap, topic, rows(400, 2))
        running = mirror("AB", {"A->B.enabled": "true", "A->B.topics": topic, "offset-syncs.topic.location": location})
        wait_for(b.bootstrap, f"A.{topic}", rows(400, 2))
        wait_until(
            lambda: {(0, 199, 199), (1, 199, 199)} <= {sync[1:] for sync in offset_syncs(where.bootstrap, name) if sync[0] == topic},
            "the last records are among the syncs", 30, pause=0.3)
        syncs = [sync[1:] for sync in offset_syncs(where.bootstrap, name) if sync[0] == topic]
        for partition in (0, 1):
            own = [sync for sync in syncs if sync[0] == partition]
            assert own[0] == (partition, 0, 0) and all(upstream == downstream for _, upstream, downstream in own)
        assert running.stop() == 0
    sources = {beat[:2] for beat in heartbeats(b.bootstrap)}
    assert ("A", "B") in sources and ("B", "A") in {beat[:2] for beat in heartbeats(a.bootstrap)}
    assert ("B", "A") in {beat[:2] for beat in heartbeats(b.bootstrap, "A.heartbeats")}


def ends(cluster: Cluster, topic: str) -> int:
    """How much the topic's logs hold, by the node's metrics: a reader would never be at the end of what goes on being written."""
    return sum(cluster.node(1).log_end(topic, number) for number in cluster.partitions(topic))


def test_killed_and_started_again(three, mirror):
    """kill -9 at any moment: nothing is lost, and each partition stays in its order."""
    a, b = three["A"], three["B"]
    a.create("killed", 3)
    settings = {"A->B.enabled": "true", "A->B.topics": "killed", "tasks.max": "2"}
    running = mirror("AB", settings)
    with Stream(a.bootstrap, "killed", 3) as stream:
        for seconds in (1.5, 0.4, 2.2, 0.9, 1.3):
            time.sleep(seconds)
            running.kill()
            running = mirror("AB", settings)
        before = ends(b, "A.killed")
        wait_until(lambda: ends(b, "A.killed") > before, "it goes on", 30, pause=0.2)
    expected = {row: place for place, row in enumerate(sorted(stream.expected, key=lambda row: row.partition))}
    wait_until(lambda: expected.keys() <= set(values(b.bootstrap, "A.killed")), "everything is there", 60, pause=0.5)
    found = values(b.bootstrap, "A.killed")
    assert set(found) == expected.keys()
    # What was copied again after a kill is a stretch that begins anew; the first copies are in order.
    first = list(dict.fromkeys(found))
    assert first == list(expected)
    assert len(found) < 2 * len(expected), "positions are stored"
    # Groups find the right place whatever was copied twice: no record behind it is missing.
    for partition in range(3):
        own = [row for row in expected if row.partition == partition]
        place = len(own) // 2
        commit(a.bootstrap, f"killed-{partition}", {("killed", partition): place})
        wait_until(
            lambda: [upstream for group, topic, *_, upstream, _, _ in checkpoints(b.bootstrap, "A.checkpoints.internal")
                     if group == f"killed-{partition}"], "a checkpoint", 30, pause=0.3)
        [(downstream,)] = [(downstream,) for group, _, _, upstream, downstream, _ in checkpoints(b.bootstrap, "A.checkpoints.internal")
                           if group == f"killed-{partition}" and upstream == place]
        behind = [row for row, offset in read(b.bootstrap, "A.killed") if row.partition == partition and offset >= downstream]
        assert behind[0] == own[place] and set(own[place:]) <= set(behind)


@pytest.mark.parametrize("location", ["source", "target"])
def test_exactly_once(three, mirror, location):
    """kill -9 at any moment with exactly-once: nothing is lost, nothing comes twice, what was aborted does not come at all."""
    a, b = three["A"], three["B"]
    topic = f"once-{location}"
    a.create(topic, 3)
    settings = {
        "A->B.enabled": "true", "A->B.topics": topic, "B.exactly.once.source.support": "enabled", "offset-syncs.topic.location": location}
    running = mirror("AB", settings)
    with Stream(a.bootstrap, topic, 3, transactional=True) as stream:
        for seconds in (2.0, 0.7, 1.1, 1.6, 0.5):
            time.sleep(seconds)
            running.kill()
            running = mirror("AB", settings)
        before = ends(b, f"A.{topic}")
        wait_until(lambda: ends(b, f"A.{topic}") > before, "it goes on", 60, pause=0.2)
    expected = sorted(stream.expected, key=lambda row: row.partition)
    wait_until(lambda: len(values(b.bootstrap, f"A.{topic}")) >= len(expected), "everything is there", 60, pause=0.5)
    found = read(b.bootstrap, f"A.{topic}")
    assert [row for row, _ in found] == expected
    # Markers lie between the records on both sides; groups are still at the record that is theirs, before and after another start.
    originals = read(a.bootstrap, topic)
    for turn in range(2):
        places = [originals[len(originals) // 7 * step] for step in range(1, 7)]
        for index, (row, offset) in enumerate(places):
            group = f"{topic}-{turn}-{index}"
            commit(a.bootstrap, group, {(topic, row.partition): offset})

            def checkpoint():
                return [each for each in checkpoints(b.bootstrap, "A.checkpoints.internal") if each[0] == group]

            [(_, _, _, upstream, downstream, _)] = wait_until(checkpoint, "a checkpoint", 30, pause=0.3)
            assert upstream == offset
            behind = [each for each, at in found if each.partition == row.partition and at >= downstream]
            assert behind[0] == row, f"{group} at {downstream}"
        assert running.stop() == 0
        running = mirror("AB", settings)


def test_access_rules(tmp_path):
    """Literal rules of replicated topics hold for their remote topics: reading, never writing."""
    settings = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users": "User:ANONYMOUS",
    }
    clusters = {alias: Cluster(1, proxied=False, settings=settings) for alias in "AB"}

    def acl(cluster, *arguments):
        done = subprocess.run([str(binary()), "acl", *arguments, "-b", cluster.bootstrap], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        for cluster in clusters.values():
            cluster.start()
        a, b = clusters.values()
        a.create("ruled", 1)
        acl(a, "add", "--principal", "User:reader", "--operation", "read", "--topic", "ruled")
        acl(a, "add", "--principal", "User:writer", "--operation", "write", "--topic", "ruled")
        acl(a, "add", "--principal", "User:owner", "--operation", "all", "--topic", "ruled")
        acl(a, "add", "--deny", "--principal", "User:stranger", "--operation", "read", "--topic", "ruled")
        acl(a, "add", "--principal", "User:other", "--operation", "read", "--topic", "unruled")
        with Mirror(tmp_path, {alias: cluster.bootstrap for alias, cluster in clusters.items()}, {"A->B.enabled": "true", "A->B.topics": "ruled"}):
            def rules():
                return {
                    (rule["principal"], rule["operation"], rule["permission"]) for rule in json.loads(acl(b, "list", "--json"))
                    if rule["resourceName"] == "A.ruled"}

            expected = {("User:reader", "READ", "ALLOW"), ("User:owner", "READ", "ALLOW"), ("User:stranger", "READ", "DENY")}
            wait_until(lambda: rules() >= expected, "the rules are there", 30, pause=0.3)
            assert rules() == expected
            assert "unruled" not in acl(b, "list", "--json")
    finally:
        for cluster in clusters.values():
            cluster.close()


def test_shapes_of_batches(three, mirror):
    """Batches that cannot be passed on as they are: with gaps, with the broker's timestamps, too large for the target, of every codec."""
    a, b = three["A"], three["B"]
    expected = {}
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        a.create(f"shape-{codec}", 1)
        expected[f"shape-{codec}"] = rows(300, size=400)
        # One large batch, and many of one record.
        send(a.bootstrap, f"shape-{codec}", rows(200, size=400), **{"compression.type": codec, "linger.ms": 50})
        send(a.bootstrap, f"shape-{codec}", rows(100, first=200, size=400), **{"compression.type": codec, "batch.num.messages": 1})
    # The target takes no batch of more than 8 KiB; the source's are larger.
    a.create("shape-large", 1)
    b.create("A.shape-large", 1, **{"max.message.bytes": "8192"})
    expected["shape-large"] = rows(400, size=500)
    send(a.bootstrap, "shape-large", expected["shape-large"], **{"linger.ms": 50})
    running = mirror("AB", {
        "A->B.enabled": "true", "A->B.topics": "shape-.*", "A->B.config.properties.exclude": "max.message.bytes"})
    for topic, sent in expected.items():
        wait_for(b.bootstrap, f"A.{topic}", sent)
    assert running.stop() == 0


@pytest.mark.parametrize("support", ["disabled", "enabled"])
def test_nodes_that_die(tmp_path, support):
    """kill -9 of the source's and of the target's node in turn: nothing is lost, and with exactly-once nothing comes twice."""
    clusters = {alias: Cluster(1, proxied=False) for alias in "AB"}
    try:
        for cluster in clusters.values():
            cluster.start()
        a, b = clusters.values()
        a.create("nodes", 3)
        settings = {"A->B.enabled": "true", "A->B.topics": "nodes", "B.exactly.once.source.support": support}
        with Mirror(tmp_path, {alias: cluster.bootstrap for alias, cluster in clusters.items()}, settings) as running:
            expected = []
            for turn, victim in enumerate((b, a, b, a)):
                batch = rows(600, 3, first=turn * 1000, size=3000)
                send(a.bootstrap, "nodes", batch)
                expected += batch
                victim.node(1).kill()
                victim.node(1).start().wait_ready()
            everything = sorted(expected, key=lambda row: row.partition)
            wait_until(lambda: set(values(b.bootstrap, "A.nodes")) >= set(everything), "everything is there", 90, pause=0.5)
            found = values(b.bootstrap, "A.nodes")
            if support == "enabled":
                assert found == everything
            assert list(dict.fromkeys(found)) == everything
            assert running.is_running and running.stop() == 0
    finally:
        for cluster in clusters.values():
            cluster.close()


def test_the_page(tmp_path):
    """The file of docs/mirror-maker.md, and what the page says that `check` prints of it."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "mirror-maker.md").read_text()
    example = [line[4:] for line in page.splitlines() if line.startswith("    ")]
    begin, end = example.index("$ cat mm2.properties"), example.index("$ martlet mirror check mm2.properties")
    (tmp_path / "mm2.properties").write_text("\n".join(example[begin + 1:end]) + "\n")
    done = subprocess.run([str(binary()), "mirror", "check", "mm2.properties"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr
    printed = [line.rstrip() for line in done.stdout.splitlines()]
    assert printed == example[end + 1:end + 1 + len(printed)]
    (tmp_path / "mm2.properties").write_text("clusters = A, B\nA->B.enabled = perhaps\ntopics.blacklist = x\n")
    done = subprocess.run([str(binary()), "mirror", "run", "mm2.properties"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    for words in ("line 2: A->B.enabled: 'perhaps'", "line 3: topics.blacklist", "topics.exclude", "A.bootstrap.servers"):
        assert words in done.stderr, done.stderr
