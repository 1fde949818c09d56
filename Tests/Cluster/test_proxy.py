"""The network that the kit plays: delay, bandwidth, cuts in one direction and in both, and what a dead node looks like."""

import os
import socket
import socketserver
import threading
import time

import pytest

from broker import free_port
from network import CLIENT, Network
from unavailability import longest_gap, per_fault


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)


@pytest.fixture
def echo():
    """A server that sends back what it gets, and its port."""
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", free_port()), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def network(tmp_path):
    network = Network(tmp_path)
    yield network
    network.close()


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.settimeout(10)
    return connection


def round_trip(connection: socket.socket, data: bytes = b"x") -> float:
    started = time.monotonic()
    connection.sendall(data)
    received = 0
    while received < len(data):
        part = connection.recv(1 << 20)
        assert part, "the connection ended"
        received += len(part)
    return time.monotonic() - started


def test_bytes_pass(network, echo):
    connection = connect(network.publish("n1", echo))
    data = os.urandom(3 << 20)
    threading.Thread(target=connection.sendall, args=[data], daemon=True).start()
    received = b""
    while len(received) < len(data):
        received += connection.recv(1 << 20)
    assert received == data
    assert network.traffic()["client>n1"] == network.traffic()["n1>client"] == len(data)


def test_delay_counts_in_each_direction(network, echo):
    connection = connect(network.publish("n1", echo))
    round_trip(connection)
    network.shape(CLIENT, "n1", delay=0.1)
    assert round_trip(connection) >= 0.1
    network.shape("n1", CLIENT, delay=0.15)
    assert round_trip(connection) >= 0.25


def test_bandwidth_is_limited(network, echo):
    connection = connect(network.publish("n1", echo))
    network.shape(CLIENT, "n1", bandwidth=1_000_000)
    assert round_trip(connection, b"x" * 300_000) >= 0.29


@pytest.mark.parametrize("source, sink", [(CLIENT, "n1"), ("n1", CLIENT)])
def test_a_cut_in_one_direction_holds_the_answer_back_until_it_heals(network, echo, source, sink):
    connection = connect(network.publish("n1", echo))
    round_trip(connection)
    network.cut([source], [sink], both_ways=False)
    connection.sendall(b"x")
    connection.settimeout(0.3)
    with pytest.raises(TimeoutError):
        connection.recv(1)
    before = network.traffic()[f"{CLIENT}>n1"]
    assert before == 2
    network.heal()
    connection.settimeout(10)
    assert connection.recv(1) == b"x"


def test_a_new_connection_over_a_cut_gets_no_answer_until_it_heals(network, echo):
    port = network.publish("n1", echo)
    network.cut([CLIENT], ["n1"])
    connection = connect(port)
    connection.sendall(b"x")
    connection.settimeout(0.3)
    with pytest.raises(TimeoutError):
        connection.recv(1)
    network.heal()
    connection.settimeout(10)
    assert connection.recv(1) == b"x"


def test_the_end_of_a_connection_does_not_cross_a_cut(network):
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = connect(network.publish("n1", server.getsockname()[1]))
        far, _ = server.accept()
        network.cut([CLIENT], ["n1"], both_ways=False)
        near.close()
        far.settimeout(0.3)
        with pytest.raises(TimeoutError):
            far.recv(1)
        network.heal()
        far.settimeout(10)
        assert far.recv(1) == b""


def test_connections_can_be_dropped(network, echo):
    connection = connect(network.publish("n1", echo))
    round_trip(connection)
    network.drop_connections(CLIENT, "n1")
    assert connection.recv(1) == b""


def test_a_node_that_is_gone_refuses_connections_until_it_listens_again(network, echo):
    port = network.publish("n1", echo)
    round_trip(connect(port))
    silent = network.publish("n2", free_port())
    network.gone("n2")
    with pytest.raises(ConnectionRefusedError):
        connect(silent)
    network.gone("n1")
    deadline = time.monotonic() + 5
    # The echo server listens, so the way to it opens again.
    while True:
        try:
            round_trip(connect(port))
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_process_is_known_by_its_connections(network, echo):
    network.started("n2", os.getpid())
    network.publish("n2", free_port())
    network.cut(["n2"], ["n1"])
    connection = connect(network.publish("n1", echo))
    connection.sendall(b"x")
    connection.settimeout(0.3)
    with pytest.raises(TimeoutError):
        connection.recv(1)
    network.heal()
    connection.settimeout(10)
    assert connection.recv(1) == b"x"
    assert network.traffic()["n2>n1"] == 1


def test_gaps_between_acknowledgements():
    moments = [0.0, 1.0, 1.5, 4.0, 4.1]
    assert longest_gap(moments, 0.9, 3.9) == pytest.approx(2.4)
    assert longest_gap(moments, 0.9, 4.1) == 2.5
    assert longest_gap(moments, 4.05, 9) == pytest.approx(4.9)
    assert longest_gap([], 1, 2) == 1
    assert per_fault([], [{"fault": "kill", "target": "n1", "start": 1.0, "end": 2.0}])[0]["worst"] == 0
