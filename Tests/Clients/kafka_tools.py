"""Runs the scripts of `bin/`, which bear the names of Kafka's own tools, with the binary under test."""

import os
import subprocess
from pathlib import Path

from broker import ROOT, binary

SCRIPTS = ROOT / "bin"


class Output(str):
    """What a tool printed on standard output, with the rest beside it."""

    errors: str
    status: int

    @property
    def lines(self) -> list[str]:
        return self.splitlines()


def tool(name: str, *arguments, bootstrap: str | None = None, stdin: str | None = None, status: int = 0, timeout: float = 60) -> Output:
    """Runs `kafka-NAME.sh`; `status` is the one that it must end with."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("KAFKA_", "MARTLET_"))}
    environment["MARTLET"] = str(binary())
    servers = ["--bootstrap-server", bootstrap] if bootstrap else []
    command = [str(SCRIPTS / f"kafka-{name}.sh"), *map(str, arguments), *servers]
    done = subprocess.run(
        command, input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
        env=environment)
    output = Output(done.stdout)
    output.errors, output.status = done.stderr, done.returncode
    assert done.returncode == status, f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
    return output


def script_names() -> list[str]:
    return sorted(path.name for path in Path(SCRIPTS).glob("kafka-*.sh"))
