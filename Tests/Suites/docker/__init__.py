"""In place of Docker's client library, by which aiokafka's suite starts a broker in a container: starts real nodes as the suite's image
would, with the listeners it asks for, and runs the tools that it runs in the container."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.append(str(Path(__file__).resolve().parents[1]))

from servers import KAFKA, MARTLET, Servers, tools  # noqa: E402

JAAS = 'org.apache.kafka.common.security.plain.PlainLoginModule required username="admin" password="admin" ' \
    'user_admin="admin" user_test="test" user_test2="test2";'
MECHANISMS = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"


class Container:
    def __init__(self, environment: dict, certificates: Path):
        self.program = os.environ.get("MARTLET_SUITES_PROGRAM", MARTLET)
        count = int(os.environ.get("MARTLET_SUITES_NODES", "1"))
        # Keys of the node's own come after the certificate in one file, as PEM stores are in Kafka.
        (certificates / "store.pem").write_text((certificates / "server.key").read_text() + (certificates / "server.crt").read_text())
        listeners = {
            "PLAINTEXT": environment["ADVERTISED_PORT"], "SSL": environment["ADVERTISED_SSL_PORT"],
            "SASL_PLAINTEXT": environment["ADVERTISED_SASL_PLAINTEXT_PORT"], "SASL_SSL": environment["ADVERTISED_SASL_SSL_PORT"],
        }
        settings = {
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,REPLICATION:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,"
                                              "SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL",
            "num.partitions": str(environment["NUM_PARTITIONS"]), "auto.create.topics.enable": "true",
            "sasl.enabled.mechanisms": MECHANISMS, "super.users": "User:admin;User:ANONYMOUS",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "allow.everyone.if.no.acl.found": "true",
            "ssl.keystore.type": "PEM", "ssl.keystore.location": str(certificates / "store.pem"),
            "ssl.truststore.type": "PEM", "ssl.truststore.location": str(certificates / "ca.crt"),
            "ssl.client.auth": "required", "ssl.endpoint.identification.algorithm": "",
        }
        for listener in ("sasl_plaintext", "sasl_ssl"):
            settings[f"listener.name.{listener}.plain.sasl.jaas.config"] = JAAS
            for mechanism in ("scram-sha-256", "scram-sha-512"):
                settings[f"listener.name.{listener}.{mechanism}.sasl.jaas.config"] = \
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        self.servers = Servers(self.program, count, settings, listeners)
        self.servers.start()
        self.bin = tools(self.program) / "bin"

    def exec_run(self, command, **_):
        words = shlex.split(command) if isinstance(command, str) else list(command)
        if not words[0].endswith(".sh"):
            return 0, b""
        kept, skip = [], False
        for word in words[1:]:
            if skip:
                skip = False
            elif word in ("--authorizer-properties", "--zookeeper"):
                skip = True
            else:
                kept.append(word)
        done = subprocess.run(
            [str(self.bin / Path(words[0]).name), "--bootstrap-server", self.servers.bootstrap, *kept], capture_output=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def stop(self) -> None:
        self.servers.close()


class Containers:
    @staticmethod
    def run(image, environment, volumes, **_):
        certificates = next(Path(host) for host, target in volumes.items() if target["bind"] == "/ssl_cert")
        return Container(environment, certificates)


def from_env():
    return SimpleNamespace(containers=Containers, images=SimpleNamespace(pull=lambda image: None), close=lambda: None)


models = SimpleNamespace(containers=SimpleNamespace(Container=Container))
assert KAFKA
