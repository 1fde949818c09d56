"""A node with secured listeners, and what clients need to know to use them."""

import json
from pathlib import Path

from broker import Broker, binary, free_port
from test_cli import martlet

AUTHORIZER = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"
ADMIN_PASSWORD = 'admin "secret" \\ 1'
FILE_PASSWORD = "file:secret=2"


def jaas(module: str, **options: str) -> str:
    quoted = {key: value.replace("\\", "\\\\").replace('"', '\\"') for key, value in options.items()}
    return f"{module} required " + " ".join(f'{key}="{value}"' for key, value in quoted.items()) + ";"


class SecuredBroker(Broker):
    """`listeners` by name: the security protocol of each, with settings of its own without the prefix. The listener PLAINTEXT is there
    for administration and may be left out of what the test looks at."""

    def __init__(self, listeners: dict[str, tuple[str, dict[str, str]]], settings: dict[str, str] | None = None):
        super().__init__({})
        controller = free_port()
        self.ports = {name: self.port if name == "PLAINTEXT" else free_port() for name in ["PLAINTEXT", *listeners]}
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **{name: protocol for name, (protocol, _) in listeners.items()}}
        addresses = [f"{name}://127.0.0.1:{port}" for name, port in self.ports.items()]
        users = self.directory / "users"
        users.write_text(f"# users of PLAIN\nfiona:{FILE_PASSWORD}\n")
        self.settings = {
            "listeners": ",".join([*addresses, f"CONTROLLER://127.0.0.1:{controller}"]),
            "advertised.listeners": ",".join(addresses),
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            "inter.broker.listener.name": "PLAINTEXT",
            "martlet.sasl.plain.users.file": str(users),
            **{
                f"listener.name.{name.lower()}.{key}": value.replace("\\", "\\\\").replace("\n", "\\n")
                for name, (_, own) in listeners.items() for key, value in own.items()
            },
            **(settings or {}),
        }

    def address(self, listener: str, host: str = "127.0.0.1") -> str:
        return f"{host}:{self.ports[listener]}"

    def client_file(self, name: str, **properties: str) -> Path:
        """A file for --command-config."""
        path = self.directory / f"{name}.properties"
        path.write_text("".join(f"{key.replace('_', '.')}={value}\n" for key, value in properties.items()).replace("\\", "\\\\"))
        return path


def certificates(directory: Path, hosts: tuple[str, ...] = ("localhost", "127.0.0.1")) -> Path:
    """A certificate authority, a node's key store and a client's, made by `martlet cert`."""
    where = directory / "certs"
    martlet("cert", "ca", "--directory", where)
    martlet("cert", "node", "node", *[part for host in hosts for part in ("--host", host)], "--directory", where)
    martlet("cert", "client", "alice", "--subject", "OU=Tests,O=Martlet", "--directory", where)
    return where


def events(broker: Broker, path: str = "audit.log") -> list[dict]:
    return [json.loads(line) for line in (broker.directory / path).read_text().splitlines()]
