"""Replicas move between the directories of their broker (KIP-113): while clients write, through crashes, and with a disk that fails."""

import json
import subprocess
import threading
import time
from random import Random

from confluent_kafka import Consumer, Producer, TopicPartition

from broker import binary
from clusters import Cluster
from kafka_tools import tool
from load import QUIET
from nodes import Node, wait_until

PARTITIONS = 4


def paths(node: Node) -> list:
    return [node.directory / "first", node.directory / "second"]


def make_cluster(nodes: int = 3) -> Cluster:
    cluster = Cluster(nodes, proxied=False, settings={
        "replica.high.watermark.checkpoint.interval.ms": "100", "log.initial.task.delay.ms": "100", "log.segment.bytes": "1000000"})
    for node in cluster.nodes:
        node.settings["log.dirs"] = ",".join(str(path) for path in paths(node))
        node.configure(cluster.shared)
    return cluster


def martlet(*arguments, check=True):
    done = subprocess.run([str(binary()), *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert not check or done.returncode == 0, done.stderr
    return done


def move(cluster: Cluster, node: Node, what: str, directory, *more, check=True):
    return martlet("partition", "move", what, "--broker", node.number, "--directory", directory, "-b", cluster.bootstrap, *more, check=check)


def throttle(cluster: Cluster, rate: int) -> None:
    martlet("config", "set", "--all-brokers", f"replica.alter.log.dirs.io.max.bytes.per.second={rate}", "-b", cluster.bootstrap)


def produce(cluster: Cluster, topic: str, numbers, size: int = 20) -> None:
    failures = []
    producer = Producer({
        "bootstrap.servers": cluster.bootstrap, "acks": "all", "enable.idempotence": True, "batch.size": 100_000, **QUIET})
    for number in numbers:
        producer.produce(
            topic, f"{number}".ljust(size), partition=number % PARTITIONS,
            on_delivery=lambda error, _: failures.append(error) if error else None)
        producer.poll(0)
    left = producer.flush(60)
    assert left == 0 and not failures, (left, failures[:3])


def read(cluster: Cluster, topic: str, count: int) -> dict[int, list[int]]:
    """What each partition holds, in its order."""
    consumer = Consumer({
        "bootstrap.servers": cluster.bootstrap, "group.id": "reader", "auto.offset.reset": "earliest", "enable.auto.commit": False, **QUIET})
    consumer.assign([TopicPartition(topic, index, 0) for index in range(PARTITIONS)])
    found = {index: [] for index in range(PARTITIONS)}
    deadline = time.monotonic() + 60
    while sum(map(len, found.values())) < count and time.monotonic() < deadline:
        for message in consumer.consume(1000, 1):
            if message.error() is None:
                found[message.partition()].append(int(message.value()))
    consumer.close()
    return found


def expected(count: int) -> dict[int, list[int]]:
    return {index: list(range(index, count, PARTITIONS)) for index in range(PARTITIONS)}


def place(node: Node, topic: str, index: int):
    """The directory of node that has the partition, and whether a copy of it lies in another."""
    homes = [path for path in paths(node) if (path / f"{topic}-{index}").exists()]
    copies = [name for path in paths(node) for name in path.glob(f"{topic}-{index}.*-future")]
    return homes, copies


def other(node: Node, directory):
    return next(path for path in paths(node) if path != directory)


def log_dirs(cluster: Cluster, node: Node) -> dict[tuple[str, int, bool], dict]:
    shown = json.loads(martlet("cluster", "log-dirs", "--broker", node.number, "--json", "-b", cluster.bootstrap).stdout)
    return {(replica["topic"], replica["partition"], replica["isFuture"]): {**replica, "path": each["path"]}
            for each in shown for replica in each["replicas"]}


def test_replicas_move_while_clients_write():
    with make_cluster() as cluster:
        cluster.create("busy", PARTITIONS)
        produce(cluster, "busy", range(20_000))
        node = cluster.leader("busy", 0)
        stop = threading.Event()
        written = [20_000]

        def write():
            while not stop.is_set():
                produce(cluster, "busy", range(written[0], written[0] + 400))
                written[0] += 400

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for index in range(PARTITIONS):
                [home], copies = place(node, "busy", index)
                assert not copies
                target = other(node, home)
                move(cluster, node, f"busy:{index}", target)
                assert place(node, "busy", index) == ([target], [])
            # And back again.
            [home], _ = place(node, "busy", 0)
            move(cluster, node, "busy:0", other(node, home))
        finally:
            stop.set()
            writer.join()
        assert read(cluster, "busy", written[0]) == expected(written[0])
        cluster.wait_whole()
        wait_until(lambda: "the controller knows the directories of replicas" in node.log(), "the controller was told")
        # What was moved is what the node finds again, after a clean stop and after a crash.
        for stopping in (node.stop, node.kill):
            stopping()
            node.start().wait_ready()
            cluster.wait_whole()
        assert place(node, "busy", 1)[1] == []
        assert read(cluster, "busy", written[0]) == expected(written[0])


def test_a_move_is_slow_shown_and_survives_a_crash():
    with make_cluster(1) as cluster:
        cluster.create("slow", PARTITIONS)
        [node] = cluster.nodes
        produce(cluster, "slow", range(8_000), size=2_000)
        throttle(cluster, 300_000)
        [home], _ = place(node, "slow", 0)
        target = other(node, home)
        move(cluster, node, "slow:0", target, "--no-wait")
        shown = wait_until(lambda: log_dirs(cluster, node).get(("slow", 0, True)), "the copy is shown")
        assert shown["path"] == str(target) and shown["offsetLag"] > 0
        homes, copies = place(node, "slow", 0)
        assert homes == [home] and len(copies) == 1
        wait_until(lambda: 0 < log_dirs(cluster, node)[("slow", 0, True)]["offsetLag"] < 2_000, "some of it is copied")
        node.kill()
        node.start().wait_ready()
        # It goes on where it was, with the same copy.
        wait_until(lambda: ("slow", 0, True) in log_dirs(cluster, node), "the move goes on")
        assert place(node, "slow", 0) == ([home], copies)
        node.stop()
        node.start().wait_ready()
        wait_until(lambda: ("slow", 0, True) in log_dirs(cluster, node), "the move goes on after a stop")
        assert place(node, "slow", 0) == ([home], copies)
        throttle(cluster, 1_000_000_000)
        wait_until(lambda: place(node, "slow", 0) == ([target], []), "the replica has moved")
        assert read(cluster, "slow", 8_000) == expected(8_000)
        # Back and forth: a move to where it comes from ends the move.
        throttle(cluster, 100_000)
        move(cluster, node, "slow:0", home, "--no-wait")
        wait_until(lambda: place(node, "slow", 0)[1], "the copy is there")
        move(cluster, node, "slow:0", target, "--no-wait")
        assert place(node, "slow", 0) == ([target], [])
        # A topic that is deleted takes its copies along.
        move(cluster, node, "slow:1", other(node, place(node, "slow", 1)[0][0]), "--no-wait")
        martlet("topic", "delete", "slow", "--yes", "-b", cluster.bootstrap)
        wait_until(lambda: all(place(node, "slow", index) == ([], []) for index in range(PARTITIONS)), "nothing is left")


def test_what_cannot_be_moved_is_refused():
    with make_cluster() as cluster:
        cluster.create("still", PARTITIONS)
        produce(cluster, "still", range(100))
        node = cluster.leader("still", 0)
        refused = move(cluster, node, "still:0", "/nowhere", check=False)
        assert refused.returncode == 1 and "LOG_DIR_NOT_FOUND" in refused.stderr
        # The target fails on the way: the replica stays where it was, and the node goes on.
        throttle(cluster, 1_000)
        produce(cluster, "still", range(100, 8_000), size=2_000)
        homes = {index: place(node, "still", index)[0][0] for index in range(PARTITIONS)}
        # The first directory holds the metadata, without which the node would end.
        staying = next(index for index, home in homes.items() if home == paths(node)[0])
        move(cluster, node, f"still:{staying}", paths(node)[1], "--no-wait")
        broken = paths(node)[1]
        broken.rename(broken.with_suffix(".gone"))
        broken.write_text("not a directory")
        produce(cluster, "still", range(8_000, 8_400), size=2_000)
        wait_until(lambda: "a replica stays in its directory" in node.log() or "a log directory has failed" in node.log(), "it failed")
        throttle(cluster, 1_000_000_000)
        wait_until(lambda: "a replica stays in its directory" in node.log(), "the move was given up", 30)
        assert node.is_running and (paths(node)[0] / f"still-{staying}").exists()
        wait_until(lambda: node.number in cluster.partitions("still")[staying].isrs, "the replica is in sync where it was", 30)
        assert {index: sorted(numbers) for index, numbers in read(cluster, "still", 8_400).items()} == expected(8_400)


def test_moves_survive_kills_at_any_moment():
    """kill -9 while four replicas are copied, assigned, and put in place: each move ends where it was to, and no record is lost."""
    random = Random(11)
    with make_cluster(1) as cluster:
        cluster.create("killed", PARTITIONS)
        [node] = cluster.nodes
        written = 4_000
        produce(cluster, "killed", range(written), size=4_000)
        # All together take about two seconds.
        throttle(cluster, 8_000_000)
        for _ in range(8):
            targets = {index: other(node, place(node, "killed", index)[0][0]) for index in range(PARTITIONS)}
            for index, target in targets.items():
                move(cluster, node, f"killed:{index}", target, "--no-wait")
            # Any moment of it.
            time.sleep(random.uniform(0, 2.5))
            node.kill()
            node.start().wait_ready()
            produce(cluster, "killed", range(written, written + 200), size=4_000)
            written += 200
            wait_until(lambda: all(place(node, "killed", index) == ([target], []) for index, target in targets.items()), "all have moved", 60)
            assert read(cluster, "killed", written) == expected(written)
        assert "is out of service" not in node.log()


def test_kafkas_tool_moves_replicas():
    with make_cluster(1) as cluster:
        cluster.create("tooled", PARTITIONS)
        [node] = cluster.nodes
        # More than is copied in one go.
        produce(cluster, "tooled", range(4_000), size=2_000)
        [home], _ = place(node, "tooled", 0)
        target = other(node, home)
        plan = cluster.directory / "plan.json"

        def reassign(*arguments, status: int = 0):
            return tool(
                "reassign-partitions", "--reassignment-json-file", plan, *arguments, bootstrap=cluster.bootstrap, status=status).lines

        def write(directory):
            plan.write_text(json.dumps({"version": 1, "partitions": [
                {"topic": "tooled", "partition": 0, "replicas": [node.number], "log_dirs": [str(directory)]}]}))

        write(target)
        begun = reassign("--execute", "--replica-alter-log-dirs-throttle", "1")
        assert "The replica-alter-dir throttle limit was set to 1 B/s" in begun
        assert f"Successfully started moving log directory to {target} for replica tooled-0 with broker {node.number} " in begun
        replica = f"tooled-0-{node.number}"
        metrics = node.get("/metrics")[1]
        assert "\nmartlet_replica_moves 1\n" in metrics
        assert f"Reassignment of replica {replica} is still in progress." in reassign("--verify")
        write(home)
        assert f"Partition tooled-0 on broker {node.number} is being moved to log dir {target} instead of {home}." in reassign("--verify")
        write(target)
        cancelled = reassign("--cancel", "--preserve-throttles")
        assert f"Successfully started moving log directory to {home} for replica tooled-0 with broker {node.number} " in cancelled
        assert place(node, "tooled", 0) == ([home], [])
        assert f"Partition tooled-0 on broker {node.number} is not being moved from log dir {home} to {target}." in reassign(
            "--verify", "--preserve-throttles")
        reassign("--execute", "--replica-alter-log-dirs-throttle", "1000000000")
        wait_until(lambda: place(node, "tooled", 0) == ([target], []), "the replica has moved")
        assert f"Reassignment of replica {replica} completed successfully." in reassign("--verify")
        assert read(cluster, "tooled", 4_000) == expected(4_000)
        write("/nowhere")
        failed = reassign("--execute", status=1)
        assert any(f"Failed to alter dir for {replica}" in line for line in failed), failed
