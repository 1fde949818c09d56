"""`martlet mirror run` where one side or both are Apache Kafka, Kafka's own reader of what it leaves there, and Kafka's MirrorMaker 2 in its
place."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kafka_mirror import KafkaMirror
from kafka_nodes import KAFKA, KAFKA_DIRECTORY, MARTLET, wait_until
from links import DESTINATION_ID, SOURCE_ID
from mirror_process import Mirror
from mirrors import (
    EPOCH, Row, Stream, by_partition, checkpoints, commit, committed, heartbeats, next_record, offset_syncs, plain, read, rows, send,
    stages, values, wait_for)
from mixed_clusters import MixedCluster


@pytest.fixture(scope="module", params=[(KAFKA, KAFKA), (KAFKA, MARTLET), (MARTLET, KAFKA)], ids=lambda pair: "-to-".join(pair))
def pair(request):
    """Two clusters of one node each."""
    clusters = [MixedCluster(program, cluster_id=name) for program, name in zip(request.param, (SOURCE_ID, DESTINATION_ID))]
    for cluster in clusters:
        cluster.start()
    yield clusters
    for cluster in clusters:
        cluster.close()


@pytest.mark.parametrize("support", ["disabled", "enabled"])
def test_between(pair, tmp_path, support):
    source, target = pair
    topic = f"between-{support}"
    source.create(topic, 3)
    send(source.bootstrap, topic, rows(1000, 3), **{"compression.type": "zstd"})
    settings = {
        "A->B.enabled": "true", "A->B.topics": topic, "A->B.sync.group.offsets.enabled": "true", "B.exactly.once.source.support": support}
    aliases = {"A": source.bootstrap, "B": target.bootstrap}
    mirror = Mirror(tmp_path, aliases, settings).start()
    try:
        wait_for(target.bootstrap, f"A.{topic}", rows(1000, 3))
        mirror.kill()
        send(source.bootstrap, topic, rows(500, 3, first=1000, size=2000))
        mirror = Mirror(tmp_path, aliases, settings).start()
        expected = by_partition(rows(1000, 3) + rows(500, 3, first=1000, size=2000))
        wait_until(lambda: set(expected) <= set(values(target.bootstrap, f"A.{topic}")), "everything is there", 60, pause=0.5)
        found = values(target.bootstrap, f"A.{topic}")
        if support == "enabled":
            assert found == expected
        assert list(dict.fromkeys(found)) == expected
        group = f"group-{support}"
        originals = [[(row, offset) for row, offset in read(source.bootstrap, topic) if row.partition == number] for number in range(3)]
        row, offset = originals[1][222]
        ends = {(topic, number): originals[number][-1][1] + 1 for number in (0, 2)}
        commit(source.bootstrap, group, {(topic, 1): offset, **ends})
        wait_until(lambda: committed(target.bootstrap, group, f"A.{topic}", 1) >= 0, "the group's offset", 40, pause=0.3)
        assert next_record(target.bootstrap, group, f"A.{topic}") == row
        assert [sync for sync in offset_syncs(source.bootstrap, "mm2-offset-syncs.B.internal") if sync[0] == topic]
        assert [each for each in checkpoints(target.bootstrap, "A.checkpoints.internal") if each[0] == group]
        assert ("A", "B") in {beat[:2] for beat in heartbeats(target.bootstrap)}
        if support == "disabled":
            translate(target.bootstrap, group, f"A.{topic}-1", committed(target.bootstrap, group, f"A.{topic}", 1), tmp_path)
        assert mirror.stop() == 0
    finally:
        if mirror.is_running:
            mirror.kill()


def test_both_sides_write_under_the_same_name(pair, tmp_path):
    """Nothing goes round and nothing comes twice, whichever program keeps the records; also when the mirror was killed."""
    settings = {
        "A->B.enabled": "true", "B->A.enabled": "true", "topics": "both",
        "replication.policy.class": "org.apache.kafka.connect.mirror.IdentityReplicationPolicy"}
    aliases = dict(zip("AB", (cluster.bootstrap for cluster in pair)))
    for cluster in pair:
        cluster.create("both", 2)
    with Mirror(tmp_path, aliases, settings) as mirror:
        with Stream(aliases["A"], "both", 2) as ours, Stream(aliases["B"], "both", 2, first=1_000_000) as theirs:
            wait_until(lambda: len(ours.expected) > 300 and len(theirs.expected) > 300, "both have written", 60, 0.1)
            mirror.kill()
            mirror.start()
            written = len(ours.expected), len(theirs.expected)
            wait_until(lambda: len(ours.expected) > written[0] + 300 and len(theirs.expected) > written[1] + 300, "and more", 60, 0.1)
        written = ours.expected + theirs.expected
        for cluster in pair:
            wait_until(lambda: {plain(row) for row in values(cluster.bootstrap, "both")} >= set(written), "everything is there", 90, 0.5)
            found = values(cluster.bootstrap, "both")
            assert len(found) == len(written), f"{len(found) - len(written)} records came twice"
            for origin in (ours, theirs):
                wanted = set(origin.expected)
                assert [plain(row) for row in found if plain(row) in wanted] == by_partition(origin.expected)
        copied = [row for row in values(aliases["B"], "both") if stages(row)]
        assert len(copied) == len(ours.expected) and all(stages(row)[0][:3] == ["A", SOURCE_ID, "both"] for row in copied)
        assert mirror.stop() == 0


def test_records_change_on_their_way(pair, tmp_path):
    source, target = pair
    source.create("people", 1)
    secret = tmp_path / "secret"
    secret.write_text("a secret that nobody can guess\n")
    settings = {
        "A->B.enabled": "true", "A->B.topics": "people", "A->B.transforms": "pii", "A->B.transforms.pii.keep": "value.country = DE",
        "A->B.transforms.pii.drop": "value.password", "A->B.transforms.pii.mask": "value.card",
        "A->B.transforms.pii.secret.file": str(secret)}
    people = [{"country": country, "password": "hunter2", "card": "4111", "n": number} for number, country in enumerate(["DE", "FR"] * 50)]
    records = [Row(0, b"k", json.dumps(person).encode(), (), EPOCH + number) for number, person in enumerate(people)]
    send(source.bootstrap, "people", records, **{"compression.type": "lz4"})
    with Mirror(tmp_path, {"A": source.bootstrap, "B": target.bootstrap}, settings) as mirror:
        wait_until(lambda: "A.people" in target.admin().list_topics(timeout=10).topics, "the remote topic is there", 60, 0.3)
        wait_until(lambda: len(values(target.bootstrap, "A.people")) == 50, "half of them are there", 60, 0.3)
        found = [json.loads(row.value) for row in values(target.bootstrap, "A.people")]
        assert found == [{"country": "DE", "card": "****", "n": number} for number in range(0, 100, 2)]
        assert mirror.stop() == 0


def test_either_goes_on_where_the_other_stopped(pair, tmp_path):
    """Kafka's MirrorMaker 2 and `martlet mirror run` with the same file in turn: both keep their positions in the same records."""
    source, target = pair
    source.create("handed-over", 2)
    settings = {
        "A->B.enabled": "true", "A->B.topics": "handed-over", "emit.heartbeats.enabled": "false",
        "B->A.emit.heartbeats.enabled": "false"}
    aliases = {"A": source.bootstrap, "B": target.bootstrap}
    expected = []
    for turn, program in enumerate((KafkaMirror, Mirror, KafkaMirror)):
        batch = rows(300, 2, first=turn * 300)
        send(source.bootstrap, "handed-over", batch)
        expected += batch
        with program(tmp_path, aliases, settings) as mirror:
            try:
                wait_for(target.bootstrap, "A.handed-over", expected, 150)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{mirror.log()[-2000:]}") from None
            # Nothing comes twice, since each stores its positions when it is asked to stop.
            assert mirror.stop(60) in (0, 143)
        assert values(target.bootstrap, "A.handed-over") == by_partition(expected), f"after turn {turn}"


@pytest.mark.parametrize("support", ["disabled", "enabled"])
def test_a_leader_of_the_source_is_killed_under_load(tmp_path, support):
    """Both clusters are Kafka's."""
    source = MixedCluster(KAFKA, KAFKA, roles=["broker,controller", "broker"], cluster_id=SOURCE_ID)
    target = MixedCluster(KAFKA, cluster_id=DESTINATION_ID)
    settings = {"A->B.enabled": "true", "A->B.topics": "killed", "B.exactly.once.source.support": support}
    with source, target:
        source.create("killed", 4, 2)
        wait_until(lambda: {each.leader for each in source.partitions("killed").values()} == {1, 2}, "both lead some", 30, 0.2)
        with Mirror(tmp_path, {"A": source.bootstrap, "B": target.bootstrap}, settings) as mirror:
            with Stream(source.bootstrap, "killed", 4, transactional=support == "enabled") as stream:
                wait_until(lambda: len(stream.expected) > 200, "much was written", 60, 0.1)
                source.node(2).kill()
                there = len(stream.expected)
                wait_until(lambda: len(stream.expected) > there + 200, "the other broker leads", 90, 0.1)
                source.node(2).start().wait_ready()
            expected = by_partition(stream.expected)
            wait_until(lambda: set(values(target.bootstrap, "A.killed")) >= set(expected), "everything is there", 90, 0.5)
            found = values(target.bootstrap, "A.killed")
            # A plain writer may have sent again what the dead leader had taken; whoever is exact says nothing twice.
            assert (found if support == "enabled" else list(dict.fromkeys(found))) == expected
            assert mirror.stop() == 0


def translate(bootstrap: str, group: str, partition: str, offset: int, directory: Path) -> None:
    """Kafka's RemoteClusterUtils understands checkpoints and heartbeats. A distribution has it; MARTLET_KAFKA_MIRROR_CLIENT names a jar of
    it for one that has not."""
    jars = f"{KAFKA_DIRECTORY}/libs/*"
    if extra := os.environ.get("MARTLET_KAFKA_MIRROR_CLIENT"):
        jars = f"{extra}:{jars}"
    elif not list((KAFKA_DIRECTORY / "libs").glob("connect-mirror-client-*.jar")):
        return
    if shutil.which("javac") is None:
        return
    source = Path(__file__).with_name("TranslateOffsets.java")
    subprocess.run(["javac", "-cp", jars, "-d", str(directory), str(source)], check=True, capture_output=True, timeout=180)
    done = subprocess.run(
        ["java", "-cp", f"{directory}:{jars}", "TranslateOffsets", bootstrap, "A", group], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith(f"{partition} {offset} ") for line in lines), done.stdout
    assert "checkpoints [A.checkpoints.internal]" in lines and "hops 1" in lines, done.stdout
