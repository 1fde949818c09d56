"""A mirror between two Apache Kafka clusters, neither of them Martlet's, and Kafka's own reader of what it leaves there."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kafka_nodes import KAFKA, KAFKA_DIRECTORY, MARTLET, wait_until
from mirror_process import Mirror
from mirrors import by_partition, checkpoints, commit, committed, heartbeats, next_record, offset_syncs, read, rows, send, values, wait_for
from mixed_clusters import MixedCluster


@pytest.fixture(scope="module", params=[(KAFKA, KAFKA), (KAFKA, MARTLET), (MARTLET, KAFKA)], ids=lambda pair: "-to-".join(pair))
def pair(request):
    """Two clusters of one node each."""
    clusters = [MixedCluster(program) for program in request.param]
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
