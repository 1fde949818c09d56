"""`martlet quorum recover` on the directory of one of three voters."""

import json
import socket
import subprocess

import pytest

from broker import binary
from nodes import CLUSTER_ID, Node


def martlet(*arguments):
    return subprocess.run([str(binary()), *map(str, arguments)], capture_output=True, text=True, timeout=60)


@pytest.fixture
def survivor(tmp_path):
    """Formatted as one of three voters; the port is one where voter 2 would listen."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        node = Node(1, "broker,controller", "a", tmp_path, None)
        node.configure({"controller.quorum.bootstrap.servers": node.controller_address, "offsets.topic.replication.factor": "1"})
        ids = [martlet("cluster", "random-id").stdout.strip() for _ in range(3)]
        voters = [
            f"1@{node.controller_address}:{ids[0]}", f"2@127.0.0.1:{other.getsockname()[1]}:{ids[1]}", f"3@127.0.0.1:1:{ids[2]}",
        ]
        node.format("--initial-controllers", ",".join(voters))
        yield node, other
        node.kill()


def recover(node, *arguments):
    return martlet("quorum", "recover", node.data, "--yes", *arguments)


def test_a_survivor_becomes_the_quorum(survivor):
    node, other = survivor
    done = recover(node)
    assert done.returncode == 1 and "what about voters 2,3?" in done.stderr
    done = recover(node, "--lost", "2")
    assert done.returncode == 1 and "what about voters 3?" in done.stderr
    done = recover(node, "--lost", "2,3")
    assert done.returncode == 1 and "node 2 is declared lost, but 127.0.0.1" in done.stderr
    other.close()
    done = recover(node, "--lost", "2,3", "--dry-run")
    assert done.returncode == 0 and "What may be lost" in done.stdout and "Nothing was changed" in done.stdout
    found = json.loads(recover(node, "--lost", "2,3", "--json").stdout)
    assert found["chosen"] == 1 and found["executed"] and found["voters"] == [1, 2, 3] and found["epoch"] > 0
    node.start().wait_ready()
    quorum = json.loads(martlet("quorum", "status", "--json", "-b", node.address).stdout)
    assert quorum["leaderId"] == 1 and [voter["nodeId"] for voter in quorum["voters"]] == [1]
    assert quorum["leaderEpoch"] > found["epoch"]
    assert martlet("topic", "create", "after", "-b", node.address).returncode == 0
    done = recover(node, "--lost", "2,3")
    assert done.returncode == 1 and "stop the node first" in done.stderr


def test_two_of_three_voters_need_no_recovery(survivor, tmp_path):
    node, _ = survivor
    text = (node.data / "meta.properties").read_text()
    second = tmp_path / "second"
    subprocess.run(["cp", "-a", str(node.data), str(second)], check=True)
    (second / "meta.properties").write_text(text.replace("node.id=1", "node.id=2"))
    assert CLUSTER_ID in text
    done = recover(node, second, "--lost", "3")
    assert done.returncode == 1 and "2 of 3 voters are left, which is a majority" in done.stderr
    done = recover(node, node.data)
    assert done.returncode == 1
