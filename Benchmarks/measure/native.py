"""Builds the C programs, the baseline server, the load generator and the minimum of a replica, when their sources are newer than they are."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "Benchmarks" / "native"
CHECKSUMS = ROOT / "Sources" / "CChecksums"
OUTPUT = ROOT / ".cache" / "bench"


def build(name: str, files: list[str], libraries: list[str]) -> Path:
    program = OUTPUT / name
    checksums = sorted(CHECKSUMS.glob("*.c"))
    headers = [*NATIVE.glob("*.h"), *CHECKSUMS.rglob("*.h")]
    sources = [NATIVE / file for file in files] + checksums
    newest = max(path.stat().st_mtime for path in [*sources, *headers])
    if not program.exists() or program.stat().st_mtime < newest:
        print(f"==> Building {program.relative_to(ROOT)}")
        OUTPUT.mkdir(parents=True, exist_ok=True)
        warnings = ["-Wall", "-Wextra", "-Werror"]
        include = f"-I{CHECKSUMS / 'include'}"
        subprocess.run(["cc", "-O2", *warnings, include, *map(str, sources), *libraries, "-o", str(program)], check=True)
    return program


def baseline() -> Path:
    return build("baseline", ["baseline.c"], [])


def replica() -> Path:
    return build("replica", ["replica.c"], [])


def loadgen() -> Path:
    return build("loadgen", ["loadgen.c", "drive.c", "requests.c", "batch.c"], ["-llz4", "-lzstd"])
