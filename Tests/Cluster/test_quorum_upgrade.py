"""Voters that were set by the configuration get into the log (kraft.version 1, KIP-853), and can then be changed, on real processes."""

import json
import subprocess

from broker import binary
from clusters import Cluster
from nodes import Node, wait_until


def martlet(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run([str(binary()), *map(str, arguments)], capture_output=True, text=True, timeout=120)


def quorum(cluster: Cluster) -> dict:
    done = martlet("quorum", "status", "--json", "-b", cluster.bootstrap)
    return json.loads(done.stdout) if done.returncode == 0 else {"leaderId": -1, "voters": []}


def voters(cluster: Cluster) -> list[int]:
    return sorted(voter["nodeId"] for voter in quorum(cluster)["voters"])


def test_static_voters_become_voters_of_the_log():
    with Cluster(3, proxied=False) as cluster:
        cluster.create("before", 3)
        fourth = Node(4, "broker,controller", "a", cluster.directory, None)
        shared = {key: value for key, value in cluster.shared.items() if key != "controller.quorum.voters"}
        shared["controller.quorum.bootstrap.servers"] = ",".join(node.controller_address for node in cluster.controllers)
        fourth.configure(shared)
        fourth.format("--no-initial-controllers")
        cluster.nodes.append(fourth)
        fourth.start().wait_ready()
        refused = martlet("quorum", "add", "--config", fourth.properties, "-b", cluster.bootstrap)
        assert refused.returncode == 1 and voters(cluster) == [1, 2, 3]

        # The voters tell the leader about themselves within two fetch timeouts of its election.
        def raised():
            done = martlet("cluster", "features", "--set", "kraft.version=1", "-b", cluster.bootstrap)
            assert done.returncode == 0 or "are not known yet" in done.stderr, done.stderr
            return done.returncode == 0

        wait_until(raised, "kraft.version is raised", 30, pause=0.5)
        features = json.loads(martlet("cluster", "features", "--json", "-b", cluster.bootstrap).stdout)
        assert {each["feature"]: each["finalizedLevel"] for each in features}["kraft.version"] == 1
        again = martlet("cluster", "features", "--set", "kraft.version=1", "-b", cluster.bootstrap)
        assert again.returncode == 0, again.stderr
        down = martlet("cluster", "features", "--set", "kraft.version=0", "--downgrade", "-b", cluster.bootstrap)
        assert down.returncode == 1 and "Can't downgrade" in down.stderr

        added = martlet("quorum", "add", "--config", fourth.properties, "-b", cluster.bootstrap)
        assert added.returncode == 0, added.stderr
        assert voters(cluster) == [1, 2, 3, 4]
        leader = cluster.controller()
        removed = martlet("quorum", "remove", leader.number, "--yes", "-b", cluster.bootstrap)
        assert removed.returncode == 0, removed.stderr
        remaining = [number for number in [1, 2, 3, 4] if number != leader.number]
        wait_until(lambda: voters(cluster) == remaining and quorum(cluster)["leaderId"] in remaining, "another leads", 30)
        cluster.create("after", 3)

        # Also over a restart, with the voters still in the configurations of the first three.
        for node in cluster.nodes:
            node.kill()
        cluster.start_nodes()
        wait_until(lambda: voters(cluster) == remaining, "the voters are those of the log", 30)
        cluster.wait_whole()
        assert {"before", "after"} <= set(cluster.admin().list_topics(timeout=10).topics)
