"""Everything that a charger can do wrong with bytes, one connection each; checks that the gate says why it closes.

Prints one JSON document: for each deed, the code that the gate told. Exit code 0 when all are the documented ones.

    python3 misbehave.py --port 7801 --ca ca.pem --cert charger.pem --key charger.key --id NL*WST*E0007
"""

import argparse
import json
import secrets
import sys
import time
import zlib

import charger
import native

# What is done, and the code that the manual promises for it.
DEEDS = {
    "speaks_http": 101,
    "frame_too_long": 101,
    "frame_too_short": 102,
    "other_version": 103,
    "bad_checksum": 104,
    "unknown_flag": 105,
    "unknown_type": 106,
    "not_protobuf": 107,
    "mac_without_key": 109,
    "frame_of_a_processor": 202,
    "name_of_another": 203,
    "start_before_hello": 206,
    "hello_twice": 207,
    "channel_of_nobody": 209,
    "reading_of_unknown_session": 401,
    "card_number": 309,
}


class Misbehaving(charger.Charger):
    def frame(self, kind, payload=b"", **more):
        return native.encode(kind, payload, **more)

    def changed(self, at, value):
        """A heartbeat with one byte changed and the checksum made to fit."""
        frame = bytearray(self.frame(0x05))
        frame[at] = value
        frame[-4:] = native.CRC.pack(zlib.crc32(frame[:-4]))
        return bytes(frame)

    def hello_frame(self, name):
        message = self.schema.ChargerHello(protocol=1, charger_id=name)
        message.connectors.add(id=1, power_max_mw=22_000_000)
        return self.frame(0x01, message.SerializeToString())

    def start_frame(self, token):
        message = self.schema.StartSession(session_key=secrets.randbits(40), connector=1, register_uwh=1)
        message.at_ms = int(time.time() * 1000)
        message.credential.kind = 1
        message.credential.token = token
        return self.frame(0x02, message.SerializeToString())

    def deed(self, name):
        """Bytes to send, and whether they come after a good Hello."""
        stranger = self.schema.MeterValues(session_key=secrets.randbits(62))
        stranger.readings.add(sequence=1, at_ms=int(time.time() * 1000), register_uwh=1)
        return {
            "speaks_http": (b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n", False),
            "frame_too_long": (b"\x00\x01\x00\x01\x01", False),
            "frame_too_short": (b"\x00\x00\x00\x03\x01", False),
            "other_version": (self.changed(4, 2), False),
            "bad_checksum": (self.frame(0x05)[:-1] + b"\x00", False),
            "unknown_flag": (self.changed(7, 0x80), True),
            "unknown_type": (self.changed(5, 0x3F), True),
            "not_protobuf": (self.frame(0x01, b"{'protocol': 1}"), False),
            "mac_without_key": (self.frame(0x05, mac_key=bytes(32)), True),
            "frame_of_a_processor": (self.frame(0x82), True),
            "name_of_another": (self.hello_frame(self.args.id + "X"), False),
            "start_before_hello": (self.start_frame(b"tok_early"), False),
            "hello_twice": (self.hello_frame(self.args.id), True),
            "channel_of_nobody": (self.frame(0x05, channel=5), True),
            "reading_of_unknown_session": (self.frame(0x03, stranger.SerializeToString()), True),
            "card_number": (self.start_frame(b"4111 1111 1111 1111"), True),
        }[name]

    def do(self, name):
        """The code that the gate tells, or what happened instead."""
        data, after_hello = self.deed(name)
        try:
            self.connect()
            if after_hello:
                self.socket.sendall(self.hello_frame(self.args.id))
                self.wait_for("ChargerHelloAck")
            self.socket.sendall(data)
            deadline = time.monotonic() + self.args.timeout
            while (received := self.receive(deadline)) is not None:
                if received[0] in ("GoAway", "SessionRejected", "StartRejected"):
                    return received[1].code
            return "no answer"
        except (native.ProtocolError, OSError) as error:
            return f"{type(error).__name__}: {error}"
        finally:
            if self.socket:
                self.socket.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    native.add_connection_arguments(parser)
    parser.add_argument("--id", required=True, help="charger id, as in the certificate")
    parser.add_argument("--timeout", type=float, default=10)
    args = parser.parse_args()
    args.session_key, args.interval, args.readings, args.start_at_ms = 0, 60, 0, 1
    told = {name: Misbehaving(args).do(name) for name in DEEDS}
    print(json.dumps(told))
    return 0 if told == DEEDS else 1


if __name__ == "__main__":
    sys.exit(main())
