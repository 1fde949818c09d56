"""Runs suites of independent clients: `run.py [--nodes 1|3] [--program martlet|kafka] [--only WORD] SUITE...`."""

import argparse
import datetime
import os
import subprocess
import sys
from pathlib import Path

import java_suite
import librdkafka_suite
import outcomes
import sources
from servers import KAFKA, KAFKA_DIRECTORY, MARTLET, Servers, kafka_version, tools

HERE = Path(__file__).resolve().parent
PLUGIN = ["-p", "suite_outcomes", "-p", "no:cacheprovider", "-q", "--tb=short", "--timeout=180", "--timeout-method=signal"]


def environment(run: "Run") -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("KAFKA_")}
    from broker import binary
    kept |= {
        "MARTLET_BINARY": str(binary().resolve()), "MARTLET_SUITES_DIRECTORY": str(sources.WORK), "MARTLET_SUITES_NAME": run.suite,
        "MARTLET_SUITES_NODES": str(run.nodes), "MARTLET_SUITES_PROGRAM": run.program, "MARTLET_SUITES_OUTCOMES": str(run.file),
        "MARTLET_SUITES_RUN": run.name, "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1",
    }
    if KAFKA_DIRECTORY:
        kept["MARTLET_KAFKA"] = str(KAFKA_DIRECTORY)
    return kept


class Run:
    def __init__(self, suite: str, nodes: int, program: str, only: str | None, minutes: float):
        self.suite, self.nodes, self.program, self.only, self.minutes = suite, nodes, program, only, minutes
        self.name = f"{suite}-{program}-{nodes}"
        results = sources.WORK / "results"
        results.mkdir(parents=True, exist_ok=True)
        self.file = results / f"{self.name}.jsonl"
        self.log = results / f"{self.name}.log"
        os.environ["MARTLET_SUITES_RUN"] = self.name
        if not only:
            self.file.unlink(missing_ok=True)

    @property
    def kafka_version(self) -> str:
        return kafka_version(self.suite, self.program)

    @property
    def environment(self) -> dict[str, str]:
        return environment(self)

    def execute(self, command: list[str], cwd: Path, extra: dict[str, str] | None = None) -> None:
        with open(self.log, "wb") as log:
            process = subprocess.Popen(
                list(map(str, command)), cwd=cwd, env={**self.environment, **(extra or {})}, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True)
            try:
                process.wait(self.minutes * 60)
            except subprocess.TimeoutExpired:
                print(f"    not done after {self.minutes} minutes: ended")
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()

    def pytest(self, cwd: Path, *arguments: str, extra: dict[str, str] | None = None) -> None:
        selected = ["-k", self.only] if self.only else []
        self.execute([sys.executable, "-m", "pytest", *PLUGIN, *arguments, *selected], cwd, extra)


def kafka_python(run: Run) -> None:
    """On one node the suite starts its own, one for each of its modules; three run beforehand, and what needs SASL is skipped there."""
    directory = sources.kafka_python()
    extra = {"KAFKA_VERSION": run.kafka_version, "KAFKA_ROOT": str(tools(run.program))}
    arguments = ["-o", "addopts=", "-o", "log_level=INFO", "test/integration"]
    if run.nodes == 1:
        return run.pytest(directory, *arguments, extra=extra)
    with Servers(run.program, run.nodes, {"num.partitions": "4", "auto.create.topics.enable": "true",
                 "group.min.session.timeout.ms": "1000", "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                 "allow.everyone.if.no.acl.found": "true", "super.users": "User:ANONYMOUS"}) as servers:
        extra["KAFKA_URI"] = f"kafka://{servers.nodes[0].address}"
        run.pytest(directory, *arguments, extra=extra)


def aiokafka(run: Run) -> None:
    directory = sources.aiokafka()
    extra = {"PATH": f"{directory / 'stand-ins'}:{os.environ['PATH']}", "MARTLET_SUITES_FIXTURE": "kafka_server"}
    arguments = ["-W", "default", "--docker-image", f"martlet:2.13_{run.kafka_version}", "--no-pull", "tests"]
    run.pytest(directory, *arguments, extra=extra)


def librdkafka(run: Run) -> None:
    librdkafka_suite.execute(run, sources.librdkafka() / "tests")


def java(run: Run) -> None:
    java_suite.execute(run)


SUITES = {"kafka-python": kafka_python, "aiokafka": aiokafka, "librdkafka": librdkafka, "java": java}
# The Java client's tests need an Apache Kafka and its source.
USUAL = [name for name in SUITES if name != "java" or os.environ.get("MARTLET_KAFKA_SOURCE")]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("suites", nargs="*", choices=[*SUITES, USUAL], default=USUAL)
    parser.add_argument("--nodes", type=int, choices=[1, 3], action="append")
    parser.add_argument("--program", choices=[MARTLET, KAFKA], default=MARTLET)
    parser.add_argument("--only", help="what pytest's -k or librdkafka's TESTS takes; adds to the outcomes of the last run")
    parser.add_argument("--minutes", type=float, default=30, help="of one suite on one size")
    arguments = parser.parse_args()
    surprises = 0
    for suite in arguments.suites:
        # The Java client's tests say themselves on how many nodes they run.
        for nodes in [1] if suite == "java" else arguments.nodes or [1, 3]:
            run = Run(suite, nodes, arguments.program, arguments.only, arguments.minutes)
            print(f"==> {suite} against {nodes} of {arguments.program}, {datetime.datetime.now():%Y-%m-%d %H:%M}", flush=True)
            SUITES[suite](run)
            surprises += outcomes.judge(suite, nodes, outcomes.collect(run.file))
    return min(1, surprises)


if __name__ == "__main__":
    sys.exit(main())
