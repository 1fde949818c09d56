"""Runs the load generator against a server and returns what it measured."""

import json
import subprocess

from . import native
from .servers import Server


def command(server: Server, mode: str, **options) -> list[str]:
    arguments = [str(native.loadgen()), mode, "--port", str(server.port), "--pid", str(server.pid)]
    for name, value in options.items():
        arguments += ["--" + name.replace("_", "-"), str(value)]
    return arguments


def run(server: Server, mode: str, **options) -> dict:
    done = subprocess.run(command(server, mode, **options), capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(f"{server.name}: {done.stderr.strip()}; {server.last_words()}")
    return json.loads(done.stdout)
