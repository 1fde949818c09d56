"""`martlet dev --brokers 3`: a cluster under one command."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from broker import binary, free_port, wait_until


def dev(directory, port, admin_port, *arguments):
    log = open(directory / "dev.log", "ab")
    process = subprocess.Popen(
        [str(binary()), "dev", "--data", str(directory / "data"), "--port", str(port), "--admin-port", str(admin_port), *arguments],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    log.close()
    return process


def children(process) -> list[int]:
    # Listed with the thread that started them, which need not be the first one.
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [int(each) for task in tasks for each in task.read_text().split()]


def is_gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def ports():
    # Three nodes take two ports each for clients and controllers, and one each for their administration.
    return free_port(6), free_port(3)


def test_a_cluster_starts_and_stops_with_one_command(tmp_path, ports):
    process = dev(tmp_path, *ports, "--brokers", "3", "--zones", "a,b,c")
    try:
        log = tmp_path / "dev.log"
        try:
            wait_until(lambda: "Martlet is ready" in log.read_text(), "the cluster is ready", 60, 0.1)
        except AssertionError as late:
            raise AssertionError(f"{late}; it said:\n{log.read_text()[-8000:]}") from None
        done = subprocess.run(
            [str(binary()), "broker", "list", "--json", "-b", f"127.0.0.1:{ports[0]}"], capture_output=True, text=True, timeout=60)
        assert {each["id"]: each["rack"] for each in json.loads(done.stdout)} == {1: "a", 2: "b", 3: "c"}, done.stderr
        nodes = children(process)
        assert len(nodes) == 3
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert all(is_gone(node) for node in nodes)
    finally:
        process.kill()
        process.wait()
    log = (tmp_path / "dev.log").read_text()
    assert all(f"node {number} | " in log for number in (1, 2, 3))


def test_nodes_end_with_the_command_that_was_killed(tmp_path, ports):
    process = dev(tmp_path, *ports, "--brokers", "3")
    try:
        wait_until(lambda: len(children(process)) == 3, "the nodes run", 30)
        # A node asks for the news of its parent's end once it runs.
        wait_until(lambda: "node 3 | " in (tmp_path / "dev.log").read_text(), "the nodes have begun", 30, 0.1)
        nodes = children(process)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    wait_until(lambda: all(is_gone(node) for node in nodes), "the nodes have ended", 60, 0.1)


def test_another_number_of_brokers_is_refused(tmp_path, ports):
    (tmp_path / "data" / "node-1").mkdir(parents=True)
    (tmp_path / "data" / "node-1" / "meta.properties").write_text("version=1\nnode.id=1\ncluster.id=MkU3OEVBNTcwNTJENDM2Qg\n")
    for arguments in (["--brokers", "3"], []):
        process = dev(tmp_path, *ports, *arguments)
        assert process.wait(30) == 1
    log = (tmp_path / "dev.log").read_text()
    assert "holds a cluster of 1 nodes" in log and "holds a cluster of several nodes" in log


@pytest.mark.parametrize("arguments", [["--zones", "a,b"], ["--brokers", "0"], ["--brokers", "3", "--port", "0"]])
def test_wrong_usage_is_64(tmp_path, ports, arguments):
    done = subprocess.run([str(binary()), "dev", "--data", str(tmp_path / "d"), *arguments], capture_output=True, text=True, timeout=30)
    assert done.returncode == 64, done.stderr
