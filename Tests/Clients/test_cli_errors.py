"""Mistakes and misfortunes: what is said, which status comes back, and how soon."""

import os
import socket
import threading
import time

import pytest

from broker import Broker, free_port
from test_cli import martlet
from test_cli_files import properties  # noqa: F401 (a fixture)


@pytest.fixture
def fails(bootstrap):
    """Runs what must fail within a few seconds, and returns what it says."""

    def run(*arguments, status=1, server=bootstrap, seconds=6, **options):
        began = time.monotonic()
        done = martlet(*arguments, bootstrap=server, check=False, timeout=60, **options)
        took = time.monotonic() - began
        assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}"
        assert took < seconds, f"it took {took:.1f} s to say {done.stderr}"
        assert done.stdout == ""
        return done.stderr

    return run


MISSING = [
    ("topic", "describe", "absent"), ("topic", "alter", "absent", "-p", 3), ("topic", "delete", "absent", "--yes"),
    ("topic", "delete-records", "absent", "--before", "end", "--yes"), ("config", "describe", "-t", "absent"),
    ("config", "set", "-t", "absent", "retention.ms=1"), ("config", "delete", "-t", "absent", "retention.ms"),
    ("consume", "absent"), ("consume", "absent", "--group", "g"), ("consume", "absent", "--until-end"), ("bench", "consume", "absent"),
    ("group", "reset-offsets", "g", "--topic", "absent", "--to", "end"),
]


@pytest.mark.parametrize("arguments", MISSING, ids=lambda arguments: "-".join(map(str, arguments[:3])))
def test_missing_topics_are_told_at_once(fails, arguments):
    said = fails(*arguments)
    assert "UNKNOWN_TOPIC_OR_PARTITION" in said and "martlet topic list" in said


def test_producing_where_topics_are_not_made():
    with Broker({"auto.create.topics.enable": "false"}) as broker:
        began = time.monotonic()
        done = martlet("produce", "absent", stdin="x\n", bootstrap=broker.bootstrap, check=False)
        assert done.returncode == 1 and "absent" in done.stderr and "martlet topic list" in done.stderr
        assert time.monotonic() - began < 8


def test_missing_groups_are_told_at_once(fails):
    assert "martlet group list" in fails("group", "describe", "absent")
    assert "martlet group list" in fails("group", "delete", "absent", "--yes")
    assert "has no offsets" in fails("group", "reset-offsets", "absent", "--all-topics", "--to", "end")


def test_missing_brokers_are_told_at_once(fails):
    for arguments in [("config", "set", "--broker", 7, "log.retention.ms=1"), ("cluster", "log-dirs", "--broker", 7)]:
        assert "there is no broker 7" in fails(*arguments)


def test_lines_before_a_mistake_are_written(fails, bootstrap, name):
    martlet("topic", "create", name, bootstrap=bootstrap)
    said = fails("produce", name, stdin="a\nb\n" + "x" * 3_000_000 + "\nc\n")
    assert "line 3" in said and "--batch-size" in said and "2 records written" in said
    assert "2 records written" in fails("produce", name, "-k", ":", stdin="a:1\nb:2\nno separator\n")
    assert martlet("consume", name, "--from", "beginning", "-e", bootstrap=bootstrap).stdout == "a\nb\n1\n2\n"


def test_nobody_there(fails):
    for arguments in [("topic", "list"), ("produce", "t"), ("consume", "t"), ("bench", "produce"), ("group", "list"), ("cluster", "quorum")]:
        assert "martlet dev" in fails(*arguments, server=f"127.0.0.1:{free_port()}", stdin="x\n")
    assert "--bootstrap-server" in fails("topic", "list", server="no-such-host.invalid:9092")


def test_another_protocol(fails):
    """A server that hangs up on what it does not understand, as a TLS port does, and one that answers in another protocol."""
    for answer in [b"", b"\x15\x03\x03\x00\x02\x02\x46", b"HTTP/1.1 400 Bad Request\r\n\r\n"]:
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve():
                while True:
                    try:
                        client, _ = server.accept()
                    except OSError:
                        return
                    with client:
                        client.recv(1 << 16)
                        client.sendall(answer)

            threading.Thread(target=serve, daemon=True).start()
            said = fails("topic", "list", server=f"127.0.0.1:{server.getsockname()[1]}")
            assert "TLS" in said, said


def test_nobody_answers(fails):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = fails("topic", "list", "--timeout", 1, server=f"127.0.0.1:{silent.getsockname()[1]}")
        assert "--timeout" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ("topic", "create"), ("topic", "create", "t", "-p", 0), ("topic", "create", "t", "-p", "many"), ("topic", "alter", "t"),
        ("topic", "list", "--timeout", "nan"), ("topic", "list", "--timeout", "0"), ("topic", "list", "--no-such-option"),
        ("topic", "list", "-b", "host:port"), ("topic", "list", "-b", ""), ("config", "set", "-t", "t", "novalue"),
        ("config", "describe"), ("consume", "t", "--from", "soon"), ("consume", "t", "-n", 0), ("consume", "t", "--isolation", "none"),
        ("consume", "t", "--json", "--format", "%v"), ("produce", "t", "--rate", "nan"), ("produce", "t", "--rate", "inf"),
        ("produce", "t", "-z", "brotli"), ("produce", "t", "--acks", 2), ("produce", "t", "-p", -1),
        ("bench", "produce", "--seconds", "1e300"), ("bench", "end-to-end", "--rate", "inf"), ("bench", "consume", "-n", -1),
        ("group", "reset-offsets", "g", "--all-topics"), ("log", "dump"), ("format",), ("dev", "--port", "http"), ("dev", "--port", 99_999),
    ],
    ids=lambda arguments: " ".join(map(str, arguments)))
def test_bad_options(fails, arguments):
    said = fails(*arguments, status=64)
    assert said.startswith("Error:") and "Usage:" in said or "--help" in said


def test_extreme_numbers(bootstrap, name):
    martlet("topic", "create", name, bootstrap=bootstrap)
    martlet("produce", name, stdin="a\n", bootstrap=bootstrap)
    for place in ["-9223372036854775808", "9223372036854775807", "@9223372036854775807", "0", "1970-01-01"]:
        assert martlet("consume", name, "--from", place, "--until-end", bootstrap=bootstrap).stdout in ["", "a\n"]


def test_files_that_cannot_be_used(fails, properties, tmp_path):  # noqa: F811
    assert "No such file" in fails("produce", "t", "--file", tmp_path / "absent")
    assert "No such file" in fails("log", "dump", tmp_path / "absent" / f"{0:020}.log")
    (tmp_path / "long.properties").write_text("x" * 3_000_000)
    assert "node.id" in fails("server", tmp_path / "long.properties", status=78)
    assert "missing.properties" in fails("server", tmp_path / "missing.properties", status=78)
    assert "missing.properties" in fails("format", "-t", "x", "-c", tmp_path / "missing.properties", status=78)
    (tmp_path / "file").write_text("")
    blocked = properties(log_dirs=f"{tmp_path}/file/data")
    said = fails("format", "-t", "x", "-c", blocked)
    assert f"{tmp_path}/file/data" in said and "Not a directory" in said
    said = fails("dev", "--data", f"{tmp_path}/file/data", "--port", free_port(), "--admin-port", 0)
    assert f"{tmp_path}/file/data" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_no_permission(fails, properties, tmp_path):  # noqa: F811
    (tmp_path / "locked").mkdir(mode=0o500)
    said = fails("format", "-t", "x", "-c", properties(log_dirs=f"{tmp_path}/locked/data"))
    assert "Permission denied" in said


def test_unformatted_directory_names_the_remedy(fails, properties):  # noqa: F811
    assert "martlet format" in fails("server", properties())


def test_environment_of_a_node(properties, tmp_path):  # noqa: F811
    import subprocess

    from broker import binary

    path = properties()
    environment = {**os.environ, "MARTLET_BOOTSTRAP_SERVER": "elsewhere:9092", "MARTLET_NUM_PARTITIONS": "3"}
    done = subprocess.run([str(binary()), "server", str(path)], capture_output=True, text=True, timeout=30, env=environment)
    assert done.returncode == 78
    assert "num.partitions is set by KAFKA_NUM_PARTITIONS" in done.stderr and "BOOTSTRAP" not in done.stderr
    path.write_text(path.read_text() + "martlet.admin.port=9644\n")
    done = martlet("doctor", "--config", path, check=False)
    assert done.returncode == 78
    assert f"{path}:7: martlet.admin.port: is not a known key" in done.stdout and "martlet.admin.listeners" in done.stdout
