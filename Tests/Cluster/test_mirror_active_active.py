"""Topics of the same name that are written to on every side: no record goes round, none comes twice, whatever dies."""

import subprocess
import time

import pytest

from clusters import Cluster
from mirror_process import Mirror
from mirrors import Stream, ask, commit, committed, metric, plain, read, rows, send, stages, values
from nodes import binary, wait_until

IDENTITY = {"replication.policy.class": "org.apache.kafka.connect.mirror.IdentityReplicationPolicy"}


@pytest.fixture(scope="module")
def three():
    """Three clusters of one node each with ids of their own."""
    clusters = {alias: Cluster(1, proxied=False, cluster_id=f"cluster-{alias}-AAAAAAAAAAAA") for alias in "ABC"}
    for cluster in clusters.values():
        cluster.start()
    yield clusters
    for cluster in clusters.values():
        cluster.close()


@pytest.fixture
def mirror(three, tmp_path):
    made = []

    def make(aliases: str, settings: dict[str, str], *arguments: str) -> Mirror:
        one = Mirror(tmp_path, {alias: three[alias].bootstrap for alias in aliases}, {**IDENTITY, **settings}, *arguments)
        made.append(one)
        return one.start()

    yield make
    for one in made:
        if one.is_running:
            one.kill()


def both(topic: str, **settings: str) -> dict[str, str]:
    return {"A->B.enabled": "true", "B->A.enabled": "true", "topics": topic, **settings}


def wait_whole(clusters: dict[str, Cluster], topic: str, written: dict[str, list], seconds: float = 90) -> dict[str, list]:
    """Every cluster has every record once, those of each origin in their order. Returns what was read, with headers."""
    total = sum(map(len, written.values()))
    found = {}
    for alias, cluster in clusters.items():
        def is_there():
            found[alias] = values(cluster.bootstrap, topic)
            return len({plain(row) for row in found[alias]}) >= total

        wait_until(is_there, f"{total} records in {topic} of {alias}", seconds, pause=0.3)
        assert len(found[alias]) == total, f"{len(found[alias]) - total} records came twice to {alias}"
        for origin, rows_of_origin in written.items():
            wanted = set(rows_of_origin)
            own = [plain(row) for row in found[alias] if plain(row) in wanted]
            assert own == sorted(rows_of_origin, key=lambda row: row.partition), f"records of {origin} in {alias}"
    return found


@pytest.mark.parametrize("support", ["disabled", "enabled"])
def test_both_sides_write(three, mirror, support):
    """A and B write at the same time while the mirror is killed again and again: all have all, once; also without transactions."""
    clusters = {alias: three[alias] for alias in "AB"}
    topic = f"both-{support}"
    for cluster in clusters.values():
        cluster.create(topic, 2)
    settings = both(topic, **{"exactly.once.source.support": support})
    running = mirror("AB", settings)
    with Stream(three["A"].bootstrap, topic, 2) as ours, Stream(three["B"].bootstrap, topic, 2, first=1_000_000) as theirs:
        for seconds in (2.5, 1.2, 0.6, 2.0):
            time.sleep(seconds)
            running.kill()
            running = mirror("AB", settings)
        time.sleep(1)
    found = wait_whole(clusters, topic, {"A": ours.expected, "B": theirs.expected})
    offsets = {plain(row): offset for row, offset in read(three["A"].bootstrap, topic)}
    copies = [row for row in found["B"] if stages(row)]
    assert {plain(row) for row in copies} == set(ours.expected)
    for row in copies:
        [(alias, cluster, name, _, partition, offset, timestamp)] = stages(row)
        assert (alias, cluster, name) == ("A", "cluster-A-AAAAAAAAAAAA", topic)
        assert (int(partition), int(offset), int(timestamp)) == (row.partition, offsets[plain(row)], row.timestamp)
    labels = {"source": "B", "target": "A", "topic": topic, "partition": "0"}
    wait_until(
        lambda: metric(running.metrics_port, "martlet_mirror_returned_records_total", **labels) > 0, "A's records were kept from coming back", 30)

    # Positions are gone: everything is fetched again, and nothing is written again.
    assert running.stop() == 0
    for cluster, name in ((three["A"], "mm2-offsets.B.internal"), (three["B"], "mm2-offsets.A.internal")):
        admin = cluster.admin()
        admin.delete_topics([name])[name].result(30)
        wait_until(lambda admin=admin, name=name: name not in admin.list_topics(timeout=5).topics, "it is deleted", 30)
    running = mirror("AB", settings)
    more = rows(50, 2, first=5_000_000)
    send(three["A"].bootstrap, topic, more)
    wait_whole(clusters, topic, {"A": ours.expected + more, "B": theirs.expected})
    assert metric(running.metrics_port, "martlet_mirror_known_records_total", source="A", target="B", topic=topic, partition="0") > 0


def test_a_ring(three, mirror):
    """A→B→C→A: what goes round ends where it began."""
    for cluster in three.values():
        cluster.create("ring", 1)
    written = {alias: rows(100, first=1000 * index) for index, alias in enumerate("ABC")}
    for alias, cluster in three.items():
        send(cluster.bootstrap, "ring", written[alias])
    running = mirror("ABC", {"A->B.enabled": "true", "B->C.enabled": "true", "C->A.enabled": "true", "topics": "ring"})
    found = wait_whole(three, "ring", written)
    ways = {tuple(stage[0] for stage in stages(row)) for row in found["A"]}
    assert ways == {(), ("C",), ("B", "C")}
    wait_until(
        lambda: metric(running.metrics_port, "martlet_mirror_returned_records_total", source="C", target="A", topic="ring", partition="0")
        == 100, "A's own records were left out", 30)
    wait_whole(three, "ring", written)


# What the target has is found beside the positions, however little of its log is looked at, and however seldom positions are stored.
SELDOM = {"replication.provenance.lookback.records": "20", "offset.flush.interval.ms": "600000"}


@pytest.mark.parametrize(("topic", "own"), [
    ("mesh", {}), ("mesh-seldom", SELDOM), ("mesh-transactions", {**SELDOM, "exactly.once.source.support": "enabled"})])
def test_every_cluster_copies_from_every_other(three, mirror, topic, own):
    """Six flows: each record comes on two ways and is written once, also when the mirror is killed."""
    for cluster in three.values():
        cluster.create(topic, 2)
    flows = {f"{source}->{target}.enabled": "true" for source in "ABC" for target in "ABC" if source != target}
    settings = {**flows, **own, "topics": topic}
    running = mirror("ABC", settings)
    streams = {alias: Stream(cluster.bootstrap, topic, 2, first=1_000_000 * index) for index, (alias, cluster) in enumerate(three.items())}
    with streams["A"], streams["B"], streams["C"]:
        for seconds in (3, 2):
            time.sleep(seconds)
            running.kill()
            running = mirror("ABC", settings)
        time.sleep(2)
    wait_whole(three, topic, {alias: stream.expected for alias, stream in streams.items()})
    status, text = ask(running.metrics_port, "/metrics")
    assert status == 200 and "martlet_mirror_known_records_total" in text


def test_groups_go_over_without_loss(three, mirror):
    """A group that fails over reads every record of either side that it had not read, whatever the order is there."""
    a, b = three["A"], three["B"]
    for cluster in (a, b):
        cluster.create("groups", 1)
    running = mirror("AB", both("groups", **{"sync.group.offsets.enabled": "true"}))
    ours, theirs = [], []
    for turn in range(6):
        for cluster, mine, base in ((a, ours, 0), (b, theirs, 1000)):
            batch = rows(7, first=base + turn * 7)
            send(cluster.bootstrap, "groups", batch)
            mine += batch
    wait_whole({"A": a, "B": b}, "groups", {"A": ours, "B": theirs})
    here = [plain(row) for row in values(a.bootstrap, "groups")]
    there = [plain(row) for row in values(b.bootstrap, "groups")]
    for place in (1, 11, 40, 63, len(here)):
        group = f"group-{place}"
        commit(a.bootstrap, group, {("groups", 0): place})
        wait_until(lambda group=group: committed(b.bootstrap, group, "groups") >= 0, "the group's offset", 30, pause=0.3)
        offset = committed(b.bootstrap, group, "groups")
        assert set(here[place:]) <= set(there[offset:]), f"{group} at {offset} misses records"
    wait_until(
        lambda: committed(b.bootstrap, f"group-{len(here)}", "groups") == len(there), "who has read everything reads nothing again", 30, 0.3)
    assert running.stop() == 0


def test_what_would_go_round_is_refused(tmp_path):
    """A cycle of flows with the same names and without the headers."""
    file = tmp_path / "mm2.properties"
    file.write_text(
        "clusters = A, B\nA.bootstrap.servers = a:1\nB.bootstrap.servers = b:1\nA->B.enabled = true\nB->A.enabled = true\n"
        f"replication.policy.class = {IDENTITY['replication.policy.class']}\nreplication.provenance.headers.enable = false\n")
    done = subprocess.run([str(binary()), "mirror", "run", str(file)], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    for words in ("line 7: replication.provenance.headers.enable", "go round for ever", "DefaultReplicationPolicy"):
        assert words in done.stderr, done.stderr
