"""Plays `kafka-run-class.sh kafka.Kafka FILE`, by which kafka-python's suite starts brokers: runs the real server on that file and prints
the lines that the suite waits for. JAAS files and Java's stores, which Martlet does not read, are put into the configuration."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from servers import KAFKA, kafka_program  # noqa: F401
from broker import binary, free_port, wait_until


def read(path: Path) -> dict[str, str]:
    lines = (line.strip() for line in path.read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def jaas_settings(settings: dict[str, str]) -> dict[str, str]:
    """The KafkaServer entry of the file that KAFKA_OPTS names, as keys of the listener."""
    found = re.search(r"-Djava\.security\.auth\.login\.config=(\S+)", os.environ.get("KAFKA_OPTS", ""))
    mechanism = settings.get("sasl.enabled.mechanisms")
    if not found or not mechanism:
        return {}
    entry = re.search(r"KafkaServer\s*\{(.*?;)", Path(found[1]).read_text(), re.DOTALL)[1]
    listener = settings["inter.broker.listener.name"].lower()
    return {f"listener.name.{listener}.{mechanism.lower()}.sasl.jaas.config": " ".join(entry.split())}


def store_settings(settings: dict[str, str]) -> dict[str, str]:
    """Stores that keytool made are PKCS#12 whatever their name says."""
    changed = {}
    for store, arguments in (("keystore", ["-nodes"]), ("truststore", ["-nokeys"])):
        location = settings.get(f"ssl.{store}.location")
        if not location:
            continue
        pem = Path(location + ".pem")
        password = settings[f"ssl.{store}.password"]
        subprocess.run(
            ["openssl", "pkcs12", "-in", location, "-passin", f"pass:{password}", "-out", str(pem), *arguments], check=True, capture_output=True)
        changed |= {f"ssl.{store}.location": str(pem), f"ssl.{store}.type": "PEM"}
    return changed


def main() -> int:
    assert sys.argv[1] == "kafka.Kafka", f"there is no stand-in for {sys.argv[1]}"
    path = Path(sys.argv[2])
    if os.environ["MARTLET_SUITES_PROGRAM"] == KAFKA:
        os.execv(kafka_program("kafka-server", "kafka-server-start.sh"), ["kafka-server", str(path)])
    settings = read(path)
    admin_port = free_port()
    settings |= jaas_settings(settings) | store_settings(settings) | {"martlet.admin.listeners": f"127.0.0.1:{admin_port}"}
    if any(key.startswith("ssl.") for key in settings):
        for key in ("ssl.keystore.password", "ssl.key.password", "ssl.truststore.password"):
            settings.pop(key, None)
    own = path.with_suffix(".martlet.properties")
    own.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("KAFKA_", "MARTLET_SUITES_"))}
    process = subprocess.Popen([str(binary()), "server", str(own)], env=environment)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: process.terminate())
    try:
        wait_until(lambda: process.poll() is not None or is_ready(admin_port), "the node is ready", 60)
        if process.poll() is None:
            print(f"[KafkaRaftServer nodeId={settings['node.id']}] Kafka Server started", flush=True)
            print("Replayed UserScramCredentialRecord creating new entry for alice", flush=True)
        return process.wait()
    finally:
        process.kill()


def is_ready(port: int) -> bool:
    import http.client
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
