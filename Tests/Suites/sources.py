"""Where the suites come from, in which version, and how each is made ready to run. Nothing of them is kept in this repository."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORK = Path(os.environ.get("MARTLET_SUITES_DIRECTORY", ROOT / ".cache" / "suites")).resolve()

REPOSITORIES = {
    "kafka-python": ("https://github.com/dpkp/kafka-python", "3.0.12"),
    "aiokafka": ("https://github.com/aio-libs/aiokafka", "v0.14.0"),
    "librdkafka": ("https://github.com/confluentinc/librdkafka", "v2.15.0"),
}


def run(*command: str, cwd: Path | None = None) -> None:
    print("==>", *command, flush=True)
    subprocess.run(list(map(str, command)), cwd=cwd, check=True, stdin=subprocess.DEVNULL)


def clone(name: str) -> Path:
    """The repository at its release. $MARTLET_SUITES_SOURCES is a directory of clones to take them from instead of the network."""
    url, release = REPOSITORIES[name]
    directory = WORK / "source" / name
    if (directory / ".fetched").exists():
        return directory
    shutil.rmtree(directory, ignore_errors=True)
    if local := os.environ.get("MARTLET_SUITES_SOURCES"):
        run("git", "clone", "--quiet", Path(local) / name, directory)
        # A clone may be older than the release: the newest one of the same series then.
        series = release.rpartition(".")[0]
        tags = subprocess.run(
            ["git", "tag", "--list", f"{series}.*", "--sort=-version:refname"], cwd=directory, capture_output=True, text=True, check=True)
        tags = tags.stdout.split()
        run("git", "checkout", "--quiet", release if release in tags else tags[0], cwd=directory)
    else:
        run("git", "clone", "--quiet", "--depth", "1", "--branch", release, url, directory)
    (directory / ".fetched").touch()
    return directory


def kafka_python() -> Path:
    """The release as PyPI has it, whose tests lack some files that they import: those come from the repository."""
    directory = clone("kafka-python")
    release = REPOSITORIES["kafka-python"][1]
    if not (directory / ".released").exists():
        run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", f"kafka-python=={release}",
            "-d", WORK / "source")
        with tarfile.open(WORK / "source" / f"kafka_python-{release}.tar.gz") as archive:
            archive.extractall(WORK / "source", filter="data")
        released = WORK / "source" / f"kafka_python-{release}"
        shutil.rmtree(directory / "kafka")
        shutil.copytree(released / "kafka", directory / "kafka")
        shutil.copytree(released / "test", directory / "test", dirs_exist_ok=True)
        (directory / ".released").touch()
    return directory


def aiokafka() -> Path:
    """Its tests alone, beside the package that pip installed: the repository's lacks the compiled parts."""
    source = clone("aiokafka")
    directory = WORK / "aiokafka"
    if not (directory / ".ready").exists():
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        for name in ("tests", "docker"):
            shutil.copytree(source / name, directory / name)
        shutil.copy(source / "pyproject.toml", directory)
        # Java's stores are of no use here, and there is no Kerberos: their tools do nothing.
        certificates = directory / "tests" / "ssl_cert"
        certificates.mkdir()
        for tool in ("keytool", "ktutil"):
            path = directory / "stand-ins" / tool
            path.parent.mkdir(exist_ok=True)
            path.write_text("#!/bin/sh\n")
            path.chmod(0o755)
        subprocess.run(
            ["bash", str(source / "gen-ssl-certs.sh")], cwd=certificates, check=True, capture_output=True,
            env={**os.environ, "PATH": f"{directory / 'stand-ins'}:{os.environ['PATH']}"})
        (directory / ".ready").touch()
    return directory


def librdkafka() -> Path:
    """Built with what is there: SSL if OpenSSL's headers are installed, neither SASL of Cyrus nor curl."""
    directory = clone("librdkafka")
    if not (directory / "tests" / "test-runner").exists():
        run("./configure", "--disable-gssapi", "--disable-curl", cwd=directory)
        run("make", "-s", f"-j{os.cpu_count()}", "libs", cwd=directory)
        run("make", "-s", f"-j{os.cpu_count()}", "build", cwd=directory / "tests")
    return directory
