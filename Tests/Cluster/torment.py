"""A cluster under load and under a nemesis for some minutes, then the verdict on its history, which is kept.

    python torment.py [--minutes 5] [--nodes 3] [--seed 1] [--faults kill,pause] [--keep DIRECTORY]
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path

from checker import check
from clusters import Cluster
from load import Committer, EndWatcher, Reader, Writer, read_everything
from nemesis import Nemesis
from nodes import wait_until
from operations import Recorder
from unavailability import per_fault, table

TOPIC = "torment"


class Torment:
    def __init__(self, options):
        self.options = options
        self.partitions = options.partitions
        self.history = Path(options.keep) / time.strftime(f"torment-%Y%m%d-%H%M%S-seed{options.seed}")
        self.history.mkdir(parents=True)
        self.recorder = Recorder(self.history / "history.jsonl")
        settings = dict(each.split("=", 1) for each in options.set)
        self.cluster = Cluster(options.nodes, options.controllers, settings=settings)
        self.nemesis = Nemesis(self.cluster, self.recorder, TOPIC, options.seed, self.say)
        self.failures: list[str] = []

    def say(self, text: str):
        print(text, flush=True)

    def run(self) -> bool:
        started = time.monotonic()
        try:
            self.prepare()
            self.start_load()
            names = self.options.faults.split(",") if self.options.faults else list(self.nemesis.faults)
            self.say(f"==> {self.options.minutes:g} minutes with {', '.join(names)} (seed {self.options.seed})")
            self.nemesis.rage(self.options.minutes * 60, names, self.recovered)
            self.finish()
        except AssertionError as error:
            self.failures.append(str(error))
        finally:
            self.keep_logs()
            self.recorder.save()
            self.cluster.close()
        return self.judge(time.monotonic() - started)

    def prepare(self):
        if not self.options.faults or "disk-full" in self.options.faults:
            self.nemesis.prepare_disks(self.options.disk_megabytes)
        if not self.options.faults or "clock-jump" in self.options.faults:
            self.nemesis.prepare_clocks()
        self.say(f"==> Starting {len(self.cluster.nodes)} nodes in {self.cluster.directory}")
        self.cluster.start()
        self.cluster.create(TOPIC, self.partitions)

    def start_load(self):
        bootstrap = self.cluster.bootstrap
        self.writers = [
            Writer(f"w{number}", bootstrap, TOPIC, self.partitions, self.recorder, self.options.rate) for number in range(self.options.writers)
        ]
        self.readers = [Reader("r0", bootstrap, TOPIC, self.partitions, self.recorder)] + [
            Reader(f"g{number}", bootstrap, TOPIC, self.partitions, self.recorder, group="torment") for number in range(2)
        ]
        self.others = [EndWatcher(bootstrap, TOPIC, self.partitions, self.recorder), Committer(bootstrap, TOPIC)]
        for worker in [*self.writers, *self.readers, *self.others]:
            worker.start()
        self.recovered()

    def recovered(self):
        """Each writer has had records acknowledged again, in every partition, and the cluster is whole."""
        self.cluster.wait_whole(self.options.patience)
        before = [writer.acknowledged for writer in self.writers]
        wait_until(
            lambda: all(writer.acknowledged > count + 2 * self.partitions for writer, count in zip(self.writers, before)),
            "every writer is acknowledged again", self.options.patience)
        for worker in [*self.writers, *self.readers, *self.others]:
            if worker.error:
                raise AssertionError(f"{type(worker).__name__} failed: {worker.error!r}")

    def finish(self):
        self.say("==> Waiting for what is under way, then reading everything")
        for worker in [*self.writers, *self.others]:
            worker.finish(180)
        read_everything(self.cluster.bootstrap, TOPIC, self.partitions, self.recorder)
        for reader in self.readers:
            reader.finish()
        if sentence := self.others[1].verify():
            self.failures.append(sentence)
        self.failures += [f"{writer.process}: {writer.fatal}" for writer in self.writers if writer.fatal]

    def keep_logs(self):
        for node in self.cluster.nodes:
            (self.history / f"{node}.log").write_text(node.log())

    def judge(self, seconds: float) -> bool:
        operations, faults = self.recorder.operations, self.recorder.faults
        verdict = check(operations)
        results = per_fault(operations, faults)
        counts = {
            outcome: sum(len(each.sends) for each in operations if each.outcome == outcome) for outcome in ("ok", "failed", "unknown")
        }
        lines = [
            f"{seconds:.0f} s, {len(faults)} faults, sends {counts}, {sum(len(each.polls) for each in operations)} records polled, "
            f"{sum(len(each.ends) for each in operations)} end offsets", "", table(results), "", f"Verdict: {verdict}",
            *(f"FAILED: {failure}" for failure in self.failures), f"History: {self.history}",
        ]
        text = "\n".join(lines)
        (self.history / "verdict.txt").write_text(text + "\n")
        (self.history / "unavailability.json").write_text(json.dumps(results, indent=1) + "\n")
        self.say(text)
        return verdict.is_valid and not self.failures


def parse(arguments: list[str]):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--nodes", type=int, default=3, help="brokers; controllers too unless --controllers says otherwise")
    parser.add_argument("--controllers", type=int, default=0, help="isolated controllers beside the brokers")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 100_000))
    parser.add_argument("--faults", default="", help="only these, separated by commas")
    parser.add_argument("--writers", type=int, default=3)
    parser.add_argument("--rate", type=float, default=200, help="records a second of each writer")
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--disk-megabytes", type=int, default=1500)
    parser.add_argument("--patience", type=float, default=120, help="seconds in which everything must work again after a fault")
    parser.add_argument("--set", action="append", default=[], help="a setting of all nodes, key=value")
    parser.add_argument("--keep", default=".cache/torment", help="where histories are kept")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(0 if Torment(parse(sys.argv[1:])).run() else 1)
