"""The native protocol, version 1, from its document: frames, messages, and a TLS connection.

Needs Python 3.9 or newer and `pip install protobuf`; nothing else. The messages are built at run time from the
descriptor set `wattstile.binpb` that ships beside `wattstile.proto`, so no compiler is needed. (Whoever prefers generated
code runs `protoc --python_out=. wattstile.proto` and imports that instead: the classes are the same.)
"""

import hmac
import pathlib
import ssl
import struct
import zlib

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SCHEMA = pathlib.Path(__file__).resolve().parents[2] / "src" / "wire" / "schema" / "wattstile.binpb"

VERSION = 1
# length, version, type, flags, channel, correlation: network byte order.
HEADER = struct.Struct("!IBBHIQ")
CRC = struct.Struct("!I")
MAC_BYTES = 32
FLAG_MAC = 1
FRAME_MAX = 64 * 1024

# Type byte of every frame, and the message of the schema that is its payload.
TYPES = {
    0x01: "ChargerHello",
    0x02: "StartSession",
    0x03: "MeterValues",
    0x04: "StopSession",
    0x05: "Heartbeat",
    0x06: "ConnectorStatus",
    0x41: "ChargerHelloAck",
    0x42: "StartAccepted",
    0x43: "StartRejected",
    0x44: "MeterAck",
    0x45: "LimitChanged",
    0x46: "StopNow",
    0x47: "SessionRejected",
    0x48: "Receipt",
    0x49: "GoAway",
    0x4A: "HeartbeatAck",
    0x81: "ProcessorHello",
    0x82: "Answer",
    0x83: "Notification",
    0x84: "SettlementBatch",
    0x85: "Ping",
    0x86: "Pong",
    0x87: "GoAway",
    0x88: "Credit",
    0x89: "Drain",
    0xC1: "ProcessorHelloAck",
    0xC2: "Operation",
    0xC3: "Ack",
    0xC4: "Nack",
    0xC5: "Ping",
    0xC6: "Pong",
    0xC8: "GoAway",
    0xC9: "Drain",
}


class ProtocolError(Exception):
    """The other side broke the protocol."""


class Schema:
    """The messages and enums of the schema, as Python classes: `schema.StartSession(session_key=1)`."""

    def __init__(self, path=SCHEMA):
        files = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(path).read_bytes())
        pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            pool.Add(file)
        self._pool = pool

    def __getattr__(self, name):
        descriptor = self._pool.FindMessageTypeByName(f"wattstile.v1.{name}")
        found = message_factory.GetMessageClass(descriptor)
        setattr(self, name, found)
        return found

    def enum(self, name, value):
        """The number of an enum's value: `schema.enum("StopReason", "STOP_REASON_LOCAL")`."""
        return self._pool.FindEnumTypeByName(f"wattstile.v1.{name}").values_by_name[value].number


def encode(kind, payload, channel=0, correlation=0, mac_key=None):
    """One frame: `kind` is the type byte, `payload` the serialized message."""
    flags = FLAG_MAC if mac_key else 0
    length = HEADER.size - 4 + len(payload) + (MAC_BYTES if mac_key else 0) + CRC.size
    if length > FRAME_MAX:
        raise ValueError(f"a frame of {length} bytes does not go")
    body = HEADER.pack(length, VERSION, kind, flags, channel, correlation) + payload
    if mac_key:
        body += hmac.digest(mac_key, body, "sha256")
    return body + CRC.pack(zlib.crc32(body))


def frame_length(head):
    """Bytes that follow the first four."""
    (length,) = struct.unpack("!I", head)
    if not HEADER.size - 4 + CRC.size <= length <= FRAME_MAX:
        raise ProtocolError(f"a frame of {length} bytes")
    return length


def decode(frame, mac_key=None):
    """Checks a whole frame; returns (type byte, channel, correlation, payload)."""
    body, (crc,) = frame[: -CRC.size], CRC.unpack(frame[-CRC.size :])
    if zlib.crc32(body) != crc:
        raise ProtocolError("the checksum does not fit")
    _, version, kind, flags, channel, correlation = HEADER.unpack_from(body)
    if version != VERSION:
        raise ProtocolError(f"frame version {version}")
    if flags & ~FLAG_MAC:
        raise ProtocolError(f"flags {flags:#x}")
    if kind not in TYPES:
        raise ProtocolError(f"frame type {kind:#x}")
    if bool(flags & FLAG_MAC) != bool(mac_key):
        raise ProtocolError("a MAC is missing" if mac_key else "a MAC that nobody agreed on")
    payload = body[HEADER.size :]
    if mac_key:
        payload, mac = payload[:-MAC_BYTES], payload[-MAC_BYTES:]
        if not hmac.compare_digest(hmac.digest(mac_key, body[:-MAC_BYTES], "sha256"), mac):
            raise ProtocolError("the MAC is wrong")
    return kind, channel, correlation, payload


def tls_context(ca, cert, key):
    """Mutual TLS 1.3. The gate is known by its host name, as usual; it knows us by the URI in our certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(ca)
    context.load_cert_chain(cert, key)
    return context


def add_connection_arguments(parser):
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--server-name", help="host name in the gate's certificate; default: --host")
    parser.add_argument("--ca", help="PEM file of the authority that signed the gate's certificate")
    parser.add_argument("--cert", help="PEM file with this peer's certificate chain")
    parser.add_argument("--key", help="PEM file with this peer's private key")
    parser.add_argument("--plain", action="store_true", help="without TLS, for tests of the protocol alone")
    parser.add_argument("--schema", default=SCHEMA, help="descriptor set of the schema")
