"""Reads the golden frames with this folder's own implementation of the document, and writes them again.

Every frame must decode, its payload must parse without unknown fields, and encoding it again must give the same bytes.
"""

import json
import pathlib
import sys

import native

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "wire-v1.txt"
KEY = b"wattstile golden vectors' key 01"


def main():
    schema = native.Schema()
    checked = []
    for line in GOLDEN.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        name, _, text = line.partition(" = ")
        mac_key = KEY if name.endswith("_mac") else None
        frame = bytes.fromhex(text)
        assert 4 + native.frame_length(frame[:4]) == len(frame), name
        kind, channel, correlation, payload = native.decode(frame, mac_key)
        message = getattr(schema, native.TYPES[kind]).FromString(payload)
        again = message.SerializeToString(deterministic=True)
        assert again == payload, f"{name}: {again.hex()} is not {payload.hex()}"
        message.DiscardUnknownFields()
        assert message.SerializeToString(deterministic=True) == payload, f"{name} has fields that the schema has not"
        assert native.encode(kind, payload, channel, correlation, mac_key) == frame, name
        checked.append(name)
    print(json.dumps({"golden_frames": len(checked)}))
    return 0 if checked else 1


if __name__ == "__main__":
    sys.exit(main())
