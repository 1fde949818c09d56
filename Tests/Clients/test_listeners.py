"""Several listeners: each advertises itself under its own host, and a client stays on the one it came by."""

from broker import Broker, free_port
from confluent import producer, read_all, send
from topics import admin, create


def test_each_listener_advertises_its_own_host():
    hosts = {"INTERNAL": "127.0.0.1", "EXTERNAL": "127.0.0.2", "CLIENT": "localhost"}
    ports = {name: free_port() for name in [*hosts, "CONTROLLER"]}
    broker = Broker({
        "listeners": ",".join(
            [f"{name}://{'127.0.0.1' if host == 'localhost' else host}:{ports[name]}" for name, host in hosts.items()]
            + [f"CONTROLLER://127.0.0.1:{ports['CONTROLLER']}"]),
        "advertised.listeners": ",".join(f"{name}://{host}:{ports[name]}" for name, host in hosts.items()),
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in ports),
        "controller.quorum.voters": f"1@127.0.0.1:{ports['CONTROLLER']}",
        "inter.broker.listener.name": "INTERNAL",
    })
    with broker:
        create(f"127.0.0.1:{ports['INTERNAL']}", "seen-by-all", 2)
        for name, host in hosts.items():
            bootstrap = f"{host}:{ports[name]}"
            [node] = admin(bootstrap).list_topics(timeout=30).brokers.values()
            assert (node.host, node.port) == (host, ports[name])
            send(producer(bootstrap), "seen-by-all", [name.encode()])
        for name, host in hosts.items():
            values = {message.value() for message in read_all(f"{host}:{ports[name]}", "seen-by-all", 2)}
            assert values == {name.encode() for name in hosts}
        assert broker.stop() == 0
