"""Apache Kafka's own tests of its Java client, against nodes outside of their JVM. MARTLET_KAFKA is an unpacked Apache Kafka (its libs/ are
the client), MARTLET_KAFKA_SOURCE the source of the same release, of which the tests are compiled here."""

import json
import os
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import outcomes
import sources
from servers import KAFKA_DIRECTORY, Servers, secured, wait_until

TESTS = "clients/clients-integration-tests/src/test/java"
SOURCE_PATHS = [
    TESTS, "test-common/test-common-internal-api/src/main/java", "test-common/test-common-runtime/src/main/java",
    "test-common/test-common-util/src/main/java", "clients/src/test/java", "server-common/src/test/java",
]
CLASSES = [
    "clients.consumer.ConsumerIntegrationTest", "clients.consumer.ConsumerTopicCreationTest", "clients.consumer.PlaintextConsumerAssignTest",
    "clients.consumer.PlaintextConsumerCallbackTest", "clients.consumer.PlaintextConsumerCommitTest",
    "clients.consumer.PlaintextConsumerFetchTest", "clients.consumer.PlaintextConsumerPollTest",
    "clients.consumer.PlaintextConsumerSubscriptionTest", "clients.consumer.SaslPlainPlaintextConsumerTest",
    "clients.consumer.ShareConsumerTest", "clients.admin.AdminFenceProducersTest", "clients.admin.ClientTelemetryTest",
    "clients.admin.ListOffsetsIntegrationTest", "clients.admin.StaticBrokerConfigTest",
    "clients.producer.ProducerFailureHandlingTest", "clients.TransactionsExpirationTest",
    "clients.TransactionsWithMaxInFlightOneTest", "clients.MetricsDuringTopicCreationDeletionTest",
    "clients.security.GroupAuthorizerIntegrationTest",
]
JUNIT = ["junit-jupiter-api", "junit-platform-commons", "opentest4j", "apiguardian-api"]
USERS = {"plain-admin": "plain-admin-secret", "plain-user1": "plain-user1-secret"}


def junit() -> list[Path]:
    """The annotations and assertions of JUnit, of Debian's packages: those installed, or unpacked here."""
    directory = Path("/usr/share/java")
    if not (directory / "junit-jupiter-api.jar").exists():
        unpacked = sources.WORK / "junit"
        directory = unpacked / "usr" / "share" / "java"
        if not (directory / "junit-jupiter-api.jar").exists():
            unpacked.mkdir(parents=True, exist_ok=True)
            sources.run("apt-get", "download", "-q", "junit5", "libopentest4j-java", "libapiguardian-java", cwd=unpacked)
            for package in unpacked.glob("*.deb"):
                sources.run("dpkg", "-x", package, unpacked)
    return [directory / f"{name}.jar" for name in JUNIT]


def compile_tests() -> str:
    """The class path with Kafka's tests and what runs them."""
    source = os.environ.get("MARTLET_KAFKA_SOURCE")
    if not KAFKA_DIRECTORY or not source or not shutil.which("javac"):
        raise SystemExit("the Java client's tests need javac, MARTLET_KAFKA (an unpacked Apache Kafka) and MARTLET_KAFKA_SOURCE (its source)")
    classes = sources.WORK / "java-classes"
    path = ":".join([str(classes), *map(str, junit()), f"{KAFKA_DIRECTORY}/libs/*"])
    if not (classes / "ClusterTests.class").exists():
        classes.mkdir(parents=True, exist_ok=True)
        files = [Path(source) / TESTS / f"org/apache/kafka/{name.replace('.', '/')}.java" for name in CLASSES]
        sources.run(
            "javac", "-nowarn", "-implicit:class", "-proc:none", "-cp", path, "-d", classes,
            "-sourcepath", ":".join(str(Path(source) / each) for each in SOURCE_PATHS), *files,
            Path(__file__).with_name("java") / "ClusterTests.java")
    return path


class Class:
    """One class of tests in one JVM, and the nodes that it asks for."""

    def __init__(self, run, name: str, path: str):
        self.run, self.name, self.path = run, name, path
        self.servers: Servers | None = None

    def execute(self) -> list[dict]:
        found = []
        log = self.run.log.with_suffix("")
        log.mkdir(parents=True, exist_ok=True)
        command = [
            "java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=WARN", "-cp", self.path, "ClusterTests",
            f"org.apache.kafka.{self.name}", *([self.run.only] if self.run.only else [])]
        with open(log / f"{self.name}.log", "w") as errors:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=self.run.environment)
            try:
                for line in process.stdout:
                    if not line.startswith("{"):
                        errors.write(line)
                        continue
                    question = json.loads(line)
                    try:
                        answer = getattr(self, f"do_{question['do']}")(question, found) or {}
                    except Exception as error:  # a test learns of it as its failure
                        answer = {"error": f"{type(error).__name__}: {error}"[:2000]}
                    process.stdin.write(json.dumps(answer) + "\n")
                    process.stdin.flush()
            finally:
                process.kill()
                process.wait()
                self.do_stop({}, found)
        return found

    def do_excluded(self, question, found):
        return list(outcomes.exceptions(self.run.suite, self.run.nodes, "excluded"))

    def do_outcome(self, question, found):
        outcome = {"test": question["test"], "outcome": question["outcome"], "at": time.time(), "message": question["message"]}
        found.append(outcome)
        # At once, so that it is there when the run is cut off.
        with open(self.run.file, "a") as out:
            out.write(json.dumps(outcome) + "\n")

    def do_start(self, question, found):
        settings = {key: value for key, value in question["properties"].items() if key != "controller.quorum.voters"}
        if question["protocol"].startswith("SASL"):
            settings |= secured(question["protocol"], USERS, "plain-admin")
        # As in the tests' own cluster: few partitions of internal topics, and Kafka's default of one replica that has to be in sync.
        defaults = {"offsets.topic.num.partitions": "5", "transaction.state.log.num.partitions": "5", "min.insync.replicas": "1"}
        settings = defaults | settings
        self.servers = Servers(
            self.run.program, question["brokers"], settings, each=question["each"], features=("share.version=1",))
        self.servers.start(60)
        return {
            "bootstrap": self.servers.bootstrap, "id": "MkU3OEVBNTcwNTJENDM2Qg",
            "controllers": ",".join(node.controller_address for node in self.servers.nodes)}

    def do_stop(self, question, found):
        if self.servers:
            self.servers.close()
            self.servers = None

    def do_shutdown(self, question, found):
        self.servers.nodes[question["broker"]].stop()

    def do_restart(self, question, found):
        self.servers.nodes[question["broker"]].start().wait_ready(60)

    def do_ready(self, question, found):
        self.servers.wait_whole()

    def do_topic(self, question, found):
        topic, partitions = question["topic"], question["partitions"]
        if self.servers.is_secured:
            return time.sleep(1)
        for node in self.servers.nodes:
            if node.is_running:
                wait_until(lambda: self.count(node, topic) == partitions, f"{topic} has {partitions} partitions on {node}", 60)

    def count(self, node, topic: str) -> int:
        from confluent_kafka.admin import AdminClient
        found = AdminClient({"bootstrap.servers": node.address, "log_level": 0}).list_topics(timeout=10).topics.get(topic)
        return sum(each.leader >= 0 for each in found.partitions.values()) if found else 0


def execute(run) -> None:
    path = compile_tests()
    names = [name for name in CLASSES if not run.only or "." not in run.only or run.only.split(".")[0] in name]
    with ThreadPoolExecutor(int(os.environ.get("MARTLET_SUITES_PARALLEL", "2"))) as pool:
        for name, found in zip(names, pool.map(lambda name: Class(run, name, path).execute(), names)):
            print(f"    {name}: {sum(each['outcome'] == 'passed' for each in found)} passed, "
                  f"{sum(each['outcome'] == 'failed' for each in found)} failed", flush=True)
    with open(run.file, "a") as out:
        for name, reason in outcomes.exceptions(run.suite, run.nodes, "excluded").items():
            out.write(json.dumps({"test": name, "outcome": "excluded", "at": 0, "message": reason}) + "\n")
