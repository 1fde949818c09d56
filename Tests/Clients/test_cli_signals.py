"""Ends that nobody planned: Ctrl-C, readers and brokers that go away, disks that are full. Through the real binary, with real signals."""

import json
import os
import re
import signal
import subprocess
import time

import pytest

from broker import Broker, binary, free_port, wait_until
from test_cli import martlet


@pytest.fixture
def run(bootstrap):
    return lambda *arguments, **options: martlet(*arguments, bootstrap=bootstrap, **options)


class Running:
    """A command that is still running, with its output in files."""

    def __init__(self, folder, *arguments, stdin=subprocess.DEVNULL, bootstrap=None):
        self.paths = [folder / f"{time.monotonic_ns()}.{kind}" for kind in ("out", "err")]
        with open(self.paths[0], "wb") as out, open(self.paths[1], "wb") as err:
            self.process = subprocess.Popen(
                [str(binary()), *map(str, arguments), *(["-b", bootstrap] if bootstrap else [])], stdin=stdin, stdout=out, stderr=err)

    @property
    def out(self) -> str:
        return self.paths[0].read_text()

    @property
    def err(self) -> str:
        return self.paths[1].read_text()

    def interrupt(self, number=signal.SIGINT, seconds=20) -> int:
        self.process.send_signal(number)
        return self.process.wait(seconds)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def start(tmp_path, bootstrap):
    started = []

    def start(*arguments, **options):
        started.append(Running(tmp_path, *arguments, bootstrap=options.pop("bootstrap", bootstrap), **options))
        return started[-1]

    yield start
    for running in started:
        running.__exit__()


def state_of(run, group) -> dict:
    return json.loads(run("group", "describe", group, "--json").stdout)[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_consume_leaves_its_group_and_commits(run, start, name, number):
    run("topic", "create", name)
    run("produce", name, stdin="a\nb\nc\n")
    consumer = start("consume", name, "--group", name, "--from", "beginning")
    wait_until(lambda: consumer.out == "a\nb\nc\n", "the records are printed")
    assert len(state_of(run, name)["members"]) == 1
    assert consumer.interrupt(number) == 0
    assert "3 records read." in consumer.err
    group = state_of(run, name)
    assert (group["state"], group["members"]) == ("Empty", [])
    assert [(row["offset"], row["lag"]) for row in group["offsets"]] == [(3, 0)]


def test_consume_without_a_group(run, start, name):
    run("topic", "create", name)
    run("produce", name, stdin="a\n")
    consumer = start("consume", name, "--from", "beginning", "--json")
    wait_until(lambda: consumer.out, "the record is printed")
    assert consumer.interrupt() == 0
    assert json.loads(consumer.out)["value"] == "a" and "1 record read." in consumer.err


def test_produce_writes_what_it_has_read(run, start, name):
    run("topic", "create", name)
    read, write = os.pipe()
    producer = start("produce", name, "--linger", 60_000, stdin=read)
    os.close(read)
    os.write(write, b"a\nb\nhalf a li")
    wait_until(lambda: "b" in run("consume", name, "--from", "beginning", "-e").stdout, "the lines are written")
    assert producer.interrupt() == 0
    os.close(write)
    assert "2 records written" in producer.err
    assert run("consume", name, "--from", "beginning", "-e").stdout == "a\nb\n"


@pytest.mark.parametrize("arguments", [("produce", "--seconds", 60), ("end-to-end", "--seconds", 60, "--rate", 200)])
def test_bench_reports_what_it_measured(run, start, name, arguments):
    kind, *options = arguments
    run("topic", "create", name)
    bench = start("bench", kind, name, *options, "--json")
    wait_until(lambda: run("consume", name, "--from", "beginning", "-n", 1, "--json").stdout, "records are written")
    assert bench.interrupt() == 0
    assert json.loads(bench.out)["records"] > 0


def test_second_signal_ends_at_once(start, run, name, tmp_path):
    run("topic", "create", name)
    with Broker() as other:
        martlet("topic", "create", name, bootstrap=other.bootstrap)
        martlet("produce", name, stdin="a\n", bootstrap=other.bootstrap)
        consumer = start("consume", name, "--group", name, "--from", "beginning", bootstrap=other.bootstrap)
        wait_until(lambda: consumer.out == "a\n", "the record is printed")
        # Nobody answers the commit now.
        other.process.send_signal(signal.SIGSTOP)
        consumer.process.send_signal(signal.SIGINT)
        wait_until(lambda: "1 record read." in consumer.err, "the first signal is heard")
        assert consumer.interrupt() == -signal.SIGINT
        other.process.send_signal(signal.SIGCONT)


def test_dev_stops_cleanly(tmp_path):
    with Running(tmp_path, "dev", "--port", free_port(), "--data", tmp_path / "data", "--admin-port", 0) as node:
        wait_until(lambda: "Martlet is ready" in node.out, "the node is ready")
        assert node.interrupt() == 0
        assert (tmp_path / "data" / ".kafka_cleanshutdown").exists()


def test_reader_that_goes_away(run, start, name, bootstrap):
    run("topic", "create", name)
    run("produce", name, stdin="".join(f"{number}\n" for number in range(20_000)))
    for arguments in [("consume", name, "--from", "beginning"), ("consume", name, "--from", "beginning", "--group", name)]:
        consumer = subprocess.Popen(
            [str(binary()), *arguments, "-b", bootstrap], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert consumer.stdout.readline() == b"0\n"
        consumer.stdout.close()
        assert consumer.wait(20) == 141
        assert consumer.stderr.read() == b""
        consumer.stderr.close()
    group = state_of(run, name)
    assert group["members"] == [], "a reader that goes away ends the membership, too"
    # Records that could not be printed do not count as read.
    assert sum(row["offset"] for row in group["offsets"]) < 20_000


def test_reader_that_goes_away_while_nothing_comes(run, name, bootstrap):
    run("topic", "create", name)
    run("produce", name, stdin="a\n")
    consumer = subprocess.Popen(
        [str(binary()), "consume", name, "--from", "beginning", "-b", bootstrap], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert consumer.stdout.readline() == b"a\n"
    consumer.stdout.close()
    assert consumer.wait(20) == 141


def test_standard_streams_that_are_closed(run, name, bootstrap):
    """Their numbers must not go to sockets, which messages would then be written into."""
    run("topic", "create", name)
    for arguments, closed in [(f"produce {name}", "<&-"), ("topic list", ">&-"), (f"consume {name} --from beginning -e", "<&- >&- 2>&-")]:
        done = subprocess.run(["bash", "-c", f"{binary()} {arguments} -b {bootstrap} {closed}"], capture_output=True, timeout=30)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_full_disk_is_told(run, name, bootstrap):
    run("topic", "create", name)
    run("produce", name, stdin="a\n")
    for arguments in [("topic", "list"), ("consume", name, "--from", "beginning", "-n", 1)]:
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [str(binary()), *map(str, arguments), "-b", bootstrap], stdout=full, stderr=subprocess.PIPE, text=True, timeout=30)
        assert done.returncode == 1 and "No space left" in done.stderr


def test_broker_that_dies_and_comes_back(tmp_path, name):
    with Broker() as broker:
        martlet("topic", "create", name, bootstrap=broker.bootstrap)
        martlet("produce", name, stdin="before\n", bootstrap=broker.bootstrap)
        with Running(tmp_path, "consume", name, "--from", "beginning", bootstrap=broker.bootstrap) as consumer:
            wait_until(lambda: consumer.out == "before\n", "the record is printed")
            broker.kill()
            wait_until(lambda: re.search(rf"{broker.bootstrap}.*(refused|connect)", consumer.err), "the loss is told")
            broker.start()
            martlet("produce", name, stdin="after\n", bootstrap=broker.bootstrap)
            wait_until(lambda: consumer.out == "before\nafter\n", "reading goes on")
            assert consumer.interrupt() == 0


def test_a_node_that_waits_for_its_quorum_says_for_whom(tmp_path):
    client, dead, silent = (free_port() for _ in range(3))
    (tmp_path / "server.properties").write_text(f"""
        process.roles=broker,controller
        node.id=1
        controller.quorum.voters=1@127.0.0.1:{client + 1},2@127.0.0.1:{dead},3@127.0.0.1:{silent}
        listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{client + 1}
        controller.listener.names=CONTROLLER
        log.dirs={tmp_path}/data
        martlet.admin.listeners=127.0.0.1:0
        """)
    martlet("format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", tmp_path / "server.properties")
    with Running(tmp_path, "server", tmp_path / "server.properties") as node:
        wait_until(lambda: "2 of 3 voters have to run" in node.err + node.out, "the node says what it waits for")
        said = node.err + node.out
        assert f"node 2 at 127.0.0.1:{dead} (no connection)" in said and f"node 3 at 127.0.0.1:{silent}" in said
        assert said.count("following the metadata quorum") == 1
        assert node.interrupt() == 128 + signal.SIGINT, "a start that was interrupted is no success"
