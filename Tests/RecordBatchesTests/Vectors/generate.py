#!/usr/bin/env python3
"""Writes batches.tsv and messages.tsv: the record formats, encoded a second time without any of Martlet's code.

Standard library only: snappy, LZ4 and zstd data consist of literal, stored and raw blocks, which need no compressor.
"""
import base64
import gzip
import hashlib
import json
import struct
import zlib

TIME = 1_700_000_000_000


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x82F63B78 if crc & 1 else crc >> 1
    return crc ^ 0xFFFFFFFF


def xxh32(data):
    p1, p2, p3, p4, p5 = 2654435761, 2246822519, 3266489917, 668265263, 374761393
    mask = 0xFFFFFFFF
    rotate = lambda value, count: ((value << count) | (value >> (32 - count))) & mask
    assert len(data) < 16
    value = (p5 + len(data)) & mask
    while len(data) >= 4:
        value = rotate((value + struct.unpack("<I", data[:4])[0] * p3) & mask, 17) * p4 & mask
        data = data[4:]
    for byte in data:
        value = rotate((value + byte * p5) & mask, 11) * p1 & mask
    value = (value ^ (value >> 15)) * p2 & mask
    value = (value ^ (value >> 13)) * p3 & mask
    return value ^ (value >> 16)


def varint(value):
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def snappy_block(data):
    out, size = bytearray(), len(data)
    while size >= 0x80:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    out.append(size)
    for start in range(0, len(data), 60):
        piece = data[start:start + 60]
        out += bytes([(len(piece) - 1) << 2]) + piece
    return bytes(out)


def snappy(data, framed=True):
    if not framed:
        return snappy_block(data)
    half = len(data) // 2
    out = b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)
    for piece in (data[:half], data[half:]):
        block = snappy_block(piece)
        out += struct.pack(">i", len(block)) + block
    return out


def lz4(data, broken=False):
    descriptor = b"\x60\x40"
    covered = b"\x04\x22\x4d\x18" + descriptor if broken else descriptor
    check = xxh32(covered) >> 8 & 0xFF
    return b"\x04\x22\x4d\x18" + descriptor + bytes([check]) + struct.pack("<I", len(data) | 0x80000000) + data + bytes(4)


def zstd(data):
    # Magic, a header without content size, a window of 1 MiB, one last raw block.
    return b"\x28\xb5\x2f\xfd\x00\x50" + struct.pack("<I", len(data) << 3 | 1)[:3] + data


CODECS = {
    "none": (0, lambda data: data),
    "gzip": (1, lambda data: gzip.compress(data, mtime=0)),
    "snappy": (2, snappy),
    "lz4": (3, lz4),
    "zstd": (4, zstd),
}


def field(data):
    return varint(-1) if data is None else varint(len(data)) + data


def encode_record(delta, timestamp_delta, key, value, headers):
    body = b"\x00" + varint(timestamp_delta) + varint(delta) + field(key) + field(value) + varint(len(headers))
    for name, content in headers:
        body += field(name.encode()) + field(content)
    return varint(len(body)) + body, len(body)


def text(data):
    return None if data is None else base64.b64encode(data).decode()


def wrap(sequence, delta):
    return -1 if sequence < 0 else (sequence + delta) & 0x7FFFFFFF


def batch(scenario, codec, records, base=0, last=None, attributes=0, base_time=None, max_time=None, producer=(-1, -1, -1),
          epoch=-1, control=None):
    times = [record[1] for record in records]
    base_time = base_time if base_time is not None else times[0] if times else -1
    max_time = max_time if max_time is not None else max(times, default=-1)
    last = last if last is not None else base + (records[-1][0] if records else 0)
    section, described = b"", []
    for delta, time, key, value, headers in records:
        encoded, length = encode_record(delta, time - base_time, key, value, headers)
        section += encoded
        described.append({
            "attributes": 0, "headers": [{"key": name, "value": text(content)} for name, content in headers], "key": text(key),
            "length": length, "offset": base + delta, "offsetDelta": delta, "sequence": wrap(producer[2], delta),
            "timestamp": max_time if attributes & 8 else time, "timestampDelta": time - base_time, "value": text(value)})
        if control:
            described[-1]["control"] = control
    identifier, compress = CODECS[codec]
    attributes |= identifier
    stored = compress(section)
    covered = struct.pack(">hiqqqhii", attributes, last - base, base_time, max_time, *producer, len(records)) + stored
    crc = crc32c(covered)
    data = struct.pack(">qiibI", base, len(covered) + 9, epoch, 2, crc) + covered
    description = {
        "attributes": attributes, "baseOffset": base, "baseSequence": producer[2], "baseTimestamp": base_time,
        "batchLength": len(data) - 12, "compression": codec, "crc": crc,
        "deleteHorizonMs": base_time if attributes & 64 else None, "isControlBatch": bool(attributes & 32),
        "isTransactional": bool(attributes & 16), "lastOffset": last, "lastOffsetDelta": last - base,
        "lastSequence": wrap(producer[2], last - base), "magic": 2, "maxTimestamp": max_time, "partitionLeaderEpoch": epoch,
        "producerEpoch": producer[1], "producerId": producer[0], "recordCount": len(records), "records": described,
        "recordsBytes": text(section), "recordsSha256": hashlib.sha256(section).hexdigest(), "recordsSize": len(section),
        "sizeInBytes": len(data), "timestampType": "LogAppendTime" if attributes & 8 else "CreateTime"}
    return "\t".join([scenario, codec, json.dumps(description, separators=(",", ":"), sort_keys=True), data.hex()])


def message(offset, magic, time, key, value, attributes=0):
    body = bytes([magic, attributes]) + (struct.pack(">q", time) if magic else b"")
    for part in (key, value):
        body += struct.pack(">i", -1) if part is None else struct.pack(">i", len(part)) + part
    body = struct.pack(">I", zlib.crc32(body)) + body
    return struct.pack(">qi", offset, len(body)) + body


def messages(scenario, data, records):
    described = [{"key": text(key), "offset": offset, "timestamp": time, "value": text(value)} for offset, time, key, value in records]
    return "\t".join([scenario, json.dumps(described, separators=(",", ":"), sort_keys=True), data.hex()])


def write(name, header, rows):
    with open(name, "w", encoding="utf-8") as out:
        out.write("\n".join([header] + rows) + "\n")


def make_batches():
    plain = [(0, TIME, b"key", b"value", []), (1, TIME - 7_000_000, None, b"", []), (2, TIME + 5, b"", None, []),
             (3, TIME + 1, "ключ".encode(), b"x" * 200, [("a", b"1"), ("a", None), ("", b""), ("имя", b"\x00\xff")])]
    rows = []
    for codec in CODECS:
        rows += [
            batch("plain", codec, plain),
            batch("sequence-wrap", codec, plain, base=5_000_000_000, producer=(2**63 - 1, 32767, 2**31 - 2), epoch=9),
            batch("transactional", codec, plain, attributes=16, producer=(4001, 0, 0)),
            batch("log-append-time", codec, plain, attributes=8, max_time=TIME + 99),
            batch("delete-horizon", codec, [(0, TIME, b"gone", None, [])], base=300, last=305, attributes=64,
                  base_time=TIME + 86_400_000),
            batch("compacted-gaps", codec, [(1, TIME, b"a", b"1", []), (70_000, TIME, b"b", b"2", [])], base=9000),
            batch("many", codec, [(index, TIME + index, b"key-%d" % (index % 7), b"value-%d" % index, []) for index in range(40)]),
        ]
    for name, kind in (("ABORT", 0), ("COMMIT", 1)):
        marker = [(0, TIME, struct.pack(">hh", 0, kind), struct.pack(">hi", 0, 31), [])]
        rows.append(batch("control-" + name.lower(), "none", marker, base=80, attributes=48, producer=(77, 1, -1), epoch=5,
                          control={"type": kind, "name": name, "coordinatorEpoch": 31}))
    rows.append(batch("no-timestamp", "none", [(0, -1, b"k", b"v", [])]))
    rows.append(batch("empty", "none", [], base=10, last=19, max_time=TIME, producer=(5, 0, 3)))
    write("batches.tsv", "scenario\tcompression\tjson\thex", rows)


def make_messages():
    keyed = [(b"k0", b"v0"), (None, b"v1"), (b"k2", None)]
    rows = []
    for magic in (0, 1):
        time = lambda index: TIME + index if magic else -1
        flat = b"".join(message(40 + i, magic, time(i), *pair) for i, pair in enumerate(keyed))
        expected = [(40 + i, time(i), *pair) for i, pair in enumerate(keyed)]
        rows.append(messages(f"magic-{magic}-plain", flat, expected))
        # Inner offsets: absolute in magic 0, relative in magic 1.
        first = 0 if magic else 40
        inner = b"".join(message(first + i, magic, time(i), *pair) for i, pair in enumerate(keyed))
        for name, identifier, data in [
            ("gzip", 1, gzip.compress(inner, mtime=0)), ("snappy", 2, snappy(inner)), ("snappy-bare", 2, snappy(inner, False)),
            ("lz4", 3, lz4(inner)), ("lz4-wrong-header-checksum", 3, lz4(inner, True)),
        ]:
            rows.append(messages(f"magic-{magic}-{name}", message(42, magic, time(2), None, data, identifier), expected))
    inner = b"".join(message(i, 1, TIME + i, *pair) for i, pair in enumerate(keyed))
    appended = message(42, 1, TIME + 99, None, gzip.compress(inner, mtime=0), 1 | 8)
    rows.append(messages("magic-1-log-append-time", appended, [(40 + i, TIME + 99, *pair) for i, pair in enumerate(keyed)]))
    zero = message(0, 1, TIME, None, gzip.compress(inner, mtime=0), 1)
    rows.append(messages("magic-1-wrapper-offset-zero", zero, [(i, TIME + i, *pair) for i, pair in enumerate(keyed)]))
    write("messages.tsv", "scenario\tjson\thex", rows)


make_batches()
make_messages()
