"""librdkafka's own suite against running nodes. Each of its numbered tests gets a process of its own, since its runner kills itself when one
test takes too long; what they print is kept."""

import json
import os
import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import outcomes
from servers import Servers, secured, tools

SETTINGS = {
    "num.partitions": "4", "replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
    "group.share.min.record.lock.duration.ms": "1000", "group.min.session.timeout.ms": "6000",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "allow.everyone.if.no.acl.found": "true",
}
# What is tried where: those that ask for a login are skipped without one.
SCENARIOS = {
    "default": {"auto.create.topics.enable": "true"}, "noautocreate": {"auto.create.topics.enable": "false"},
    "sasl": {"connections.max.reauth.ms": "5000", **secured("SASL_PLAINTEXT", {"tester": "secret"}, "tester")},
}
LOGIN = "security.protocol=SASL_PLAINTEXT\nsasl.mechanisms=PLAIN\nsasl.username=tester\nsasl.password=secret\n"
NEEDS_LOGIN = {"0135", "0142"}
WORDS = {"PASSED": "passed", "FAILED": "failed", "RUNNING": "failed", "SKIPPED": "skipped"}
ESCAPES = re.compile(r"\x1b\[[0-9;]*m|\x1b\(B")
LINE = re.compile(r"^\|\s*(\d{4}_\S+)\s+\|\s+(\w+)\s+\|\s+([\d.]+)s\s*\|(.*)")


class Suite:
    def __init__(self, run, directory: Path, scenario: str, servers: Servers):
        self.run, self.directory, self.scenario, self.servers = run, directory, scenario, servers
        self.logs = run.log.with_suffix("") / scenario
        self.logs.mkdir(parents=True, exist_ok=True)
        configuration = directory / f"{run.name}-{scenario}.conf"
        configuration.write_text(
            f"broker.address.family=v4\nbootstrap.servers={servers.bootstrap}\ntest.timeout.multiplier=3\n"
            + (LOGIN if scenario == "sasl" else "security.protocol=PLAINTEXT\n"))
        self.environment = run.environment | {
            "RDKAFKA_TEST_CONF": configuration.name, "TEST_KAFKA_VERSION": run.kafka_version, "KAFKA_PATH": str(tools(run.program)),
            "BROKERS": servers.bootstrap, "TEST_SCENARIO": "default" if scenario == "sasl" else scenario, "LD_LIBRARY_PATH": "../src:../src-cpp",
            **{f"BROKER_ADDRESS_{node.number}": node.address for node in servers.nodes},
        }

    def numbers(self) -> list[str]:
        """Of all tests, or those of --only; 8000 and above are tried by hand."""
        known = {path.name[:4] for path in self.directory.glob("0[0-9][0-9][0-9]-*.c*")}
        wanted = set(self.run.only.split(",")) if self.run.only else known
        wanted = wanted & NEEDS_LOGIN if self.scenario == "sasl" else wanted - NEEDS_LOGIN
        excluded = outcomes.exceptions(self.run.suite, self.run.nodes, "excluded")
        return sorted(number for number in known & wanted if number not in excluded)

    def execute(self, number: str) -> list[dict]:
        """-L: none that need no broker; -K: none that librdkafka itself lists as failing."""
        options = os.environ.get("MARTLET_SUITES_RDKAFKA", "-Q").split()
        log = self.logs / f"{number}.log"
        with open(log, "wb") as out:
            process = subprocess.Popen(
                ["./test-runner", "-p1", "-L", "-K", *options], cwd=self.directory, env=self.environment | {"TESTS": number},
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
            try:
                status = process.wait(600)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                status = process.wait()
        text = ESCAPES.sub("", log.read_text(errors="replace"))
        found = {}
        for line in text.splitlines():
            if match := LINE.match(line):
                name, state, seconds, message = match.groups()
                found[name] = {"test": name, "outcome": WORDS.get(state), "at": float(seconds), "message": message.strip()}
        # Silent and filtered ones belong to the other scenario, or need no broker, or are known to fail by librdkafka itself.
        kept = [each for each in found.values() if each["outcome"] and (each["outcome"] != "skipped" or is_told(each["message"]))]
        if status < 0 and not any(each["outcome"] == "failed" for each in kept):
            told = re.search(r'### Test "(\d{4}_\w+).*?###\n(.*)', text)
            kept.append({
                "test": told[1] if told else number, "outcome": "failed", "at": 0, "message": told[0] if told else f"signal {-status}"})
        return kept

    def all(self) -> None:
        workers = int(os.environ.get("MARTLET_SUITES_PARALLEL", "4"))
        with open(self.run.file, "a", buffering=1) as out, ThreadPoolExecutor(workers) as pool:
            for results in pool.map(self.execute, self.numbers()):
                for each in results:
                    if self.scenario != "noautocreate" or each["outcome"] != "skipped":
                        out.write(json.dumps(each) + "\n")
                        print(f"    {each['outcome']:8} {each['test']} {each['message'][:150]}", flush=True)


def is_told(reason: str) -> bool:
    return bool(reason) and not reason.startswith("Filtered due to negative test flags")


def execute(run, directory: Path) -> None:
    for scenario, settings in SCENARIOS.items():
        with Servers(run.program, run.nodes, SETTINGS | settings, features=("share.version=1",)) as servers:
            Suite(run, directory, scenario, servers).all()
    with open(run.file, "a") as out:
        for number, reason in outcomes.exceptions(run.suite, run.nodes, "excluded").items():
            out.write(json.dumps({"test": number, "outcome": "excluded", "at": 0, "message": reason}) + "\n")
