"""A charger, written from the protocol's document and schema alone.

Connects with its certificate, says Hello, starts one session, sends readings, stops, waits for the receipt, and prints
what it saw as one JSON document. Exit code 0 when the session was paid for, 1 otherwise.

    python3 charger.py --port 7801 --ca ca.pem --cert charger.pem --key charger.key --id NL*WST*E0007
"""

import argparse
import json
import socket
import sys
import time

import native


class Charger:
    def __init__(self, args):
        self.args = args
        self.schema = native.Schema(args.schema)
        self.socket = None
        self.buffer = b""
        self.acked = 0
        self.seen = {
            "charger": args.id,
            "session_key": args.session_key,
            "connections": 0,
            "session_id": None,
            "limit": None,
            "acked_up_to": 0,
            "running_cost_nano": None,
            "rejections": [],
            "stop_ordered": None,
            "receipt": None,
            "error": None,
        }
        # A session that ends now: the first reading is one interval after the start.
        self.interval_ms = args.interval * 1000
        now = int(time.time() * 1000)
        self.started_at = args.start_at_ms if args.start_at_ms else now - (args.readings + 1) * self.interval_ms

    # -- the connection

    def connect(self):
        raw = socket.create_connection((self.args.host, self.args.port), timeout=self.args.timeout)
        if self.args.plain:
            self.socket = raw
        else:
            context = native.tls_context(self.args.ca, self.args.cert, self.args.key)
            self.socket = context.wrap_socket(raw, server_hostname=self.args.server_name or self.args.host)
        self.buffer = b""
        self.seen["connections"] += 1

    def send(self, kind, message):
        self.socket.sendall(native.encode(kind, message.SerializeToString()))

    def receive(self, deadline):
        """The next message, or None at the deadline."""
        frame = self.receive_frame(deadline)
        if frame is None:
            return None
        kind, _, _, payload = native.decode(frame)
        name = native.TYPES[kind]
        return name, getattr(self.schema, name).FromString(payload)

    def receive_frame(self, deadline):
        while True:
            if len(self.buffer) >= 4:
                whole = 4 + native.frame_length(self.buffer[:4])
                if len(self.buffer) >= whole:
                    frame, self.buffer = self.buffer[:whole], self.buffer[whole:]
                    return frame
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.socket.settimeout(left)
            try:
                piece = self.socket.recv(65536)
            except TimeoutError:
                return None
            if not piece:
                raise native.ProtocolError("the gate closed the connection")
            self.buffer += piece

    # -- the session

    def register_uwh(self, sequence):
        per_interval = self.args.watts * self.args.interval * 1_000_000 // 3600
        return self.args.register_wh * 1_000_000 + sequence * per_interval

    def hello(self, resume):
        message = self.schema.ChargerHello(
            protocol=1, charger_id=self.args.id, firmware="python charger 1", clock_ms=int(time.time() * 1000)
        )
        message.connectors.add(id=self.args.connector, power_max_mw=self.args.power_max_watts * 1000)
        if resume:
            message.sessions.add(session_key=self.args.session_key, last_sequence=self.args.readings + 1)
        self.send(0x01, message)
        ack = self.wait_for("ChargerHelloAck")
        for position in ack.sessions:
            if position.session_key == self.args.session_key:
                self.acked = max(self.acked, position.durable)

    def start(self):
        message = self.schema.StartSession(
            session_key=self.args.session_key,
            connector=self.args.connector,
            at_ms=self.started_at,
            register_uwh=self.register_uwh(0),
        )
        message.credential.kind = self.schema.enum("CredentialKind", f"CREDENTIAL_KIND_{self.args.kind.upper()}")
        message.credential.token = self.args.token.encode()
        self.send(0x02, message)
        accepted = self.wait_for("StartAccepted")
        self.seen["session_id"] = accepted.session_id.hex()
        self.take_limit(accepted.limit)

    def send_readings(self, first, last):
        sequence = first
        while sequence <= last:
            message = self.schema.MeterValues(session_key=self.args.session_key)
            for sequence in range(sequence, min(sequence + self.args.batch, last + 1)):
                message.readings.add(
                    sequence=sequence,
                    at_ms=self.started_at + sequence * self.interval_ms,
                    register_uwh=self.register_uwh(sequence),
                    power_mw=self.args.watts * 1000,
                )
            self.send(0x03, message)
            sequence += 1

    def stop(self):
        sequence = self.args.readings + 1
        self.send(
            0x04,
            self.schema.StopSession(
                session_key=self.args.session_key,
                sequence=sequence,
                at_ms=self.started_at + sequence * self.interval_ms,
                register_uwh=self.register_uwh(sequence),
                reason=self.schema.enum("StopReason", "STOP_REASON_EV_DISCONNECTED"),
            ),
        )

    def take_limit(self, limit):
        self.seen["limit"] = {
            "cost_minor": limit.cost.minor if limit.HasField("cost") else None,
            "currency": limit.cost.currency if limit.HasField("cost") else None,
            "energy_uwh": limit.energy_uwh if limit.HasField("energy_uwh") else None,
            "time_ms": limit.time_ms if limit.HasField("time_ms") else None,
        }

    def take(self, name, message):
        """What may come at any time."""
        if name == "MeterAck":
            self.acked = max(self.acked, message.up_to)
            self.seen["acked_up_to"] = self.acked
            if message.HasField("cost_nano"):
                self.seen["running_cost_nano"] = message.cost_nano
        elif name == "LimitChanged":
            self.take_limit(message.limit)
        elif name == "SessionRejected":
            self.seen["rejections"].append({"code": message.code, "text": message.text})
        elif name == "StopNow":
            self.seen["stop_ordered"] = {"reason": message.reason, "text": message.text}
        elif name == "Receipt" and message.session_key == self.args.session_key:
            # That of an earlier session comes again until it is acknowledged.
            self.seen["receipt"] = {
                "total_minor": message.total.minor,
                "currency": message.total.currency,
                "cost_exact": message.cost_exact,
                "receipt_id": message.receipt_id,
                "url": message.url,
            }
        elif name == "GoAway":
            raise native.ProtocolError(f"the gate goes away: {message.code} {message.text}")
        elif name == "StartRejected":
            raise native.ProtocolError(f"no energy: {message.code} {message.text}")

    def wait_for(self, wanted):
        deadline = time.monotonic() + self.args.timeout
        while True:
            received = self.receive(deadline)
            if received is None:
                raise native.ProtocolError(f"no {wanted} within {self.args.timeout} s")
            self.take(*received)
            if received[0] == wanted:
                return received[1]

    def wait_until(self, done, what):
        deadline = time.monotonic() + self.args.timeout
        heartbeat_at = time.monotonic() + 10
        while not done():
            received = self.receive(min(deadline, heartbeat_at))
            if received is not None:
                self.take(*received)
            elif time.monotonic() >= deadline:
                raise native.ProtocolError(f"{what}: not within {self.args.timeout} s")
            else:
                self.send(0x05, self.schema.Heartbeat(clock_ms=int(time.time() * 1000)))
                heartbeat_at = time.monotonic() + 10

    def run(self):
        self.connect()
        self.hello(resume=False)
        self.start()
        if self.args.break_after:
            # Part of the readings, then the line breaks: nothing that was acknowledged is lost, the rest comes again.
            self.send_readings(1, self.args.break_after)
            self.wait_until(lambda: self.acked >= 1, "the first acknowledgement")
            self.socket.close()
            self.connect()
            self.hello(resume=True)
        self.send_readings(self.acked + 1, self.args.readings)
        self.stop()
        self.wait_until(lambda: self.acked >= self.args.readings + 1, "the stop's acknowledgement")
        self.wait_until(lambda: self.seen["receipt"], "the receipt")
        self.socket.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    native.add_connection_arguments(parser)
    parser.add_argument("--id", required=True, help="charger id, as in the certificate")
    parser.add_argument("--session-key", type=int, default=1)
    parser.add_argument("--connector", type=int, default=1)
    parser.add_argument("--token", default="tok_python")
    parser.add_argument(
        "--kind", default="card_token", choices=["card_token", "wallet_token", "ev_account", "rfid"]
    )
    parser.add_argument("--readings", type=int, default=10, help="readings before the one of the stop")
    parser.add_argument("--batch", type=int, default=4, help="readings in one frame")
    parser.add_argument("--interval", type=int, default=60, help="seconds between readings")
    parser.add_argument("--watts", type=int, default=11_000)
    parser.add_argument("--power-max-watts", type=int, default=22_000)
    parser.add_argument("--register-wh", type=int, default=1_000_000, help="the meter's register at the start")
    parser.add_argument("--start-at-ms", type=int, help="time of the start; default: so that the session ends now")
    parser.add_argument("--break-after", type=int, help="break the connection after this many readings, and resume")
    parser.add_argument("--timeout", type=float, default=20, help="seconds to wait for each answer")
    args = parser.parse_args()
    charger = Charger(args)
    try:
        charger.run()
    except (native.ProtocolError, OSError) as error:
        charger.seen["error"] = f"{type(error).__name__}: {error}"
    print(json.dumps(charger.seen))
    return 0 if charger.seen["receipt"] and not charger.seen["error"] else 1


if __name__ == "__main__":
    sys.exit(main())
