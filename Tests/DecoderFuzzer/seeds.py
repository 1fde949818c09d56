"""Writes the fuzzer's first inputs: one file for each of the project's own vectors. usage: seeds.py DIRECTORY"""

import csv
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
csv.field_size_limit(1 << 24)


def rows(path: str) -> list[dict]:
    with open(ROOT / path, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def api_keys() -> dict[str, int]:
    return {match[2]: int(match[1]) for path in (ROOT / "Definitions/messages").iterdir() if (match := re.match(r"(\d+)-(\w+)\.", path.name))}


def inputs():
    keys = api_keys()
    for row in rows("Tests/KafkaWireTests/Vectors/messages.tsv"):
        body, version = bytes.fromhex(row["hex"]), int(row["version"])
        name = re.sub(r"(Request|Response)$", "", row["message"])
        if name in keys and name != row["message"]:
            yield bytes([0, keys[name], version, row["message"].endswith("Response")]) + body
            if row["message"] in ("ProduceRequest", "FetchRequest"):
                yield bytes([6, version if name == "Produce" else version - 4]) + body
        elif row["message"].endswith("Record"):
            yield b"\x02\x01" + body
        yield bytes([2]) + version.to_bytes(2, "big") + body
    for row in rows("Tests/RecordBatchesTests/Vectors/batches.tsv") + rows("Tests/RecordBatchesTests/Vectors/messages.tsv"):
        batch = bytes.fromhex(row["hex"])
        yield b"\x03" + batch
        yield b"\x04" + batch
        yield b"\x05" + batch[61:]
    yield b"\x07version=1\ncluster.id=MkU3OEVBNTcwNTJENDM2Qg\nnode.id=1\ndirectory.id=SMJvbujjSSSjV8KGDnDLpw\n"
    yield b'\x07{"leaderId":1,"leaderEpoch":2,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}'


def main():
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(inputs()):
        (directory / f"seed-{number:05}").write_bytes(content)


main()
