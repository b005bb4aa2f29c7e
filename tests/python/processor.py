"""A payment processor, written from the protocol's document and schema alone.

Dials in with its certificate, says Hello, and works on operations: it keeps books, answers a repeated operation with the
same answer, repeats answers until they are acknowledged, and dials again when the line breaks. Stopped by SIGTERM,
SIGINT or --for; prints its books as one JSON document. On SIGUSR1, or every --settle seconds, it settles what moved since
the last time: one batch, repeated until it is acknowledged. Exit code 0 when nothing in them is wrong, 1 otherwise.

    python3 processor.py --port 7802 --ca ca.pem --cert processor.pem --key processor.key --id acme-pay

What a token does: `decline` in it: refused for good; `insufficient`: refused for now; `partial`: half is approved;
`silent`: no answer to the authorization (an inquiry is answered); everything else is approved.
"""

import argparse
import asyncio
import hashlib
import json
import secrets
import signal
import sys
import time

import native


class Refusal(Exception):
    """The books do not allow it; becomes a Declined."""

    def __init__(self, kind, code):
        super().__init__(code)
        self.kind = kind
        self.code = code


class Books:
    """Holds and operations. Amounts in minor units."""

    def __init__(self, schema, processor):
        self.schema = schema
        self.processor = processor
        self.holds = {}
        self.operations = {}
        self.problems = []
        self.repetitions = 0
        self.settled = set()

    def answer(self, operation):
        """The answer to an operation: a new one, or for a repetition the one that was given. None: silence."""
        kind = operation.WhichOneof("request")
        if kind is None:
            return self.outcome(operation, error=self.schema.OutcomeOpen())
        body = (operation.hold_id, getattr(operation, kind).SerializeToString(deterministic=True))
        known = self.operations.get(operation.operation_id)
        if known is not None:
            self.repetitions += 1
            if known["body"] != body:
                self.problems.append(f"operation {operation.operation_id.hex()} came again with another body")
                return self.decline(operation, Refusal("STATE", "dup_differs"))
            return known["answer"]
        try:
            answer = getattr(self, kind)(operation, getattr(operation, kind))
        except Refusal as refusal:
            answer = self.decline(operation, refusal)
        if kind != "inquire":
            self.operations[operation.operation_id] = {"kind": kind, "body": body, "answer": answer}
            if kind == "authorize" and b"silent" in operation.authorize.credential.token:
                return None
        return answer

    def authorize(self, operation, ask):
        if operation.hold_id in self.holds:
            raise Refusal("STATE", "hold_exists")
        if ask.amount.minor <= 0:
            raise Refusal("HARD", "amount")
        token, amount = ask.credential.token, ask.amount.minor
        if b"decline" in token:
            raise Refusal("HARD", "05")
        if b"insufficient" in token:
            raise Refusal("SOFT", "51")
        if b"partial" in token:
            if not ask.partial_ok:
                raise Refusal("SOFT", "51")
            amount = max(1, amount // 2)
        reference = f"py_{secrets.token_hex(6)}"
        self.holds[operation.hold_id] = {
            "authorization": operation.operation_id,
            "ref": reference,
            "currency": ask.amount.currency,
            "authorized": amount,
            "captured": 0,
            "refunded": 0,
            "released": 0,
            "open": True,
        }
        return self.approve(operation, amount, ask.amount.currency, reference)

    def hold(self, operation, reference, money=None):
        hold = self.holds.get(operation.hold_id)
        if hold is None or hold["ref"] != reference:
            raise Refusal("STATE", "no_hold")
        if money is not None:
            if money.currency != hold["currency"]:
                raise Refusal("HARD", "currency")
            if money.minor <= 0:
                raise Refusal("HARD", "amount")
        return hold

    def increment(self, operation, ask):
        hold = self.hold(operation, ask.processor_ref, ask.new_total)
        if not hold["open"] or hold["captured"] or ask.new_total.minor <= hold["authorized"]:
            raise Refusal("STATE", "increment")
        hold["authorized"] = ask.new_total.minor
        return self.approve(operation, hold["authorized"], hold["currency"], hold["ref"])

    def decrement(self, operation, ask):
        hold = self.hold(operation, ask.processor_ref, ask.new_total)
        if not hold["open"] or ask.new_total.minor >= hold["authorized"] or ask.new_total.minor < hold["captured"]:
            raise Refusal("STATE", "decrement")
        hold["authorized"] = ask.new_total.minor
        return self.approve(operation, hold["authorized"], hold["currency"], hold["ref"])

    def capture(self, operation, ask):
        hold = self.hold(operation, ask.processor_ref, ask.amount)
        if not hold["open"]:
            raise Refusal("STATE", "not_open")
        if hold["captured"] + ask.amount.minor > hold["authorized"]:
            raise Refusal("STATE", "too_much")
        hold["captured"] += ask.amount.minor
        if ask.last:
            hold["open"] = False
            hold["released"] = hold["authorized"] - hold["captured"]
        return self.approve(operation, ask.amount.minor, hold["currency"], hold["ref"])

    def void(self, operation, ask):
        hold = self.holds.get(operation.hold_id)
        if hold is None or hold["authorization"] != ask.authorization_id:
            return self.outcome(operation, not_found=self.schema.NotFound())
        if not hold["open"]:
            raise Refusal("STATE", "not_open")
        hold["open"] = False
        hold["released"] = hold["authorized"] - hold["captured"]
        return self.approve(operation, hold["released"], hold["currency"], hold["ref"])

    def refund(self, operation, ask):
        hold = self.hold(operation, ask.processor_ref, ask.amount)
        if hold["refunded"] + ask.amount.minor > hold["captured"]:
            raise Refusal("STATE", "too_much")
        hold["refunded"] += ask.amount.minor
        return self.approve(operation, ask.amount.minor, hold["currency"], hold["ref"])

    def inquire(self, operation, ask):
        target = self.operations.get(ask.target_id)
        if target is None:
            return self.outcome(operation, not_found=self.schema.NotFound())
        answer = self.schema.Answer()
        answer.CopyFrom(target["answer"])
        answer.callback_id = secrets.token_bytes(16)
        answer.operation_id = operation.operation_id
        return answer

    def settle(self, lines_per_part=512):
        """The parts of a batch with every capture and refund that no batch had yet; none when nothing moved."""
        kinds = {"capture": "CAPTURE", "refund": "REFUND"}
        lines, told = [], ""
        for identifier, operation in self.operations.items():
            answer = operation["answer"]
            if operation["kind"] not in kinds or not answer.HasField("approved") or identifier in self.settled:
                continue
            self.settled.add(identifier)
            kind = self.schema.enum("SettlementKind", f"SETTLEMENT_KIND_{kinds[operation['kind']]}")
            taken = operation["kind"] == "capture"
            gross = answer.approved.amount.minor if taken else -answer.approved.amount.minor
            # Positive is towards the operator of the gate: a fee is below zero.
            fee = -(10 + gross * 14 // 1000) if taken else 0
            lines.append((identifier, kind, gross, fee, gross + fee, answer.approved.amount.currency))
            told += f"{identifier.hex()},{kind},{gross},{fee},{gross + fee}\n"
        batch, parts = secrets.token_bytes(16), []
        for start in range(0, len(lines), lines_per_part):
            part = self.schema.SettlementBatch(
                callback_id=secrets.token_bytes(16),
                batch_id=batch,
                part=len(parts) + 1,
                value_day=int(time.time() // 86400),
                currency=lines[0][5],
            )
            for identifier, kind, gross, fee, net, _ in lines[start : start + lines_per_part]:
                part.lines.add(operation_id=identifier, kind=kind, gross_minor=gross, fee_minor=fee, net_minor=net)
            parts.append(part)
        if parts:
            trailer = parts[-1].trailer
            trailer.lines = len(lines)
            trailer.gross_minor = sum(line[2] for line in lines)
            trailer.fee_minor = sum(line[3] for line in lines)
            trailer.net_minor = sum(line[4] for line in lines)
            trailer.sha256 = hashlib.sha256(told.encode()).digest()
        return parts

    def outcome(self, operation, **outcome):
        return self.schema.Answer(
            callback_id=secrets.token_bytes(16),
            operation_id=operation.operation_id,
            hold_id=operation.hold_id,
            **outcome,
        )

    def approve(self, operation, minor, currency, reference):
        approved = self.schema.Approved(processor_ref=reference)
        approved.amount.minor = minor
        approved.amount.currency = currency
        return self.outcome(operation, approved=approved)

    def decline(self, operation, refusal):
        kind = self.schema.enum("DeclineClass", f"DECLINE_CLASS_{refusal.kind}")
        declined = self.schema.Declined(code=refusal.code)
        setattr(declined, "class", kind)
        return self.outcome(operation, declined=declined)

    def report(self):
        for identifier, hold in self.holds.items():
            whole = hold["captured"] + hold["released"]
            if not hold["open"] and whole != hold["authorized"]:
                self.problems.append(f"hold {identifier.hex()}: {hold}")
        kinds = {}
        for operation in self.operations.values():
            kinds[operation["kind"]] = kinds.get(operation["kind"], 0) + 1
        return {
            "processor": self.processor,
            "operations": kinds,
            "repetitions": self.repetitions,
            "holds": len(self.holds),
            "holds_open": sum(hold["open"] for hold in self.holds.values()),
            "authorized_minor": sum(hold["authorized"] for hold in self.holds.values()),
            "captured_minor": sum(hold["captured"] for hold in self.holds.values()),
            "released_minor": sum(hold["released"] for hold in self.holds.values()),
            "refunded_minor": sum(hold["refunded"] for hold in self.holds.values()),
            "by_hold": {
                identifier.hex(): {key: value for key, value in hold.items() if key != "authorization"}
                for identifier, hold in self.holds.items()
            },
            "problems": self.problems,
        }


class Processor:
    def __init__(self, args):
        self.args = args
        self.schema = native.Schema(args.schema)
        self.books = Books(self.schema, args.id)
        self.mac_key = bytes.fromhex(args.mac_key) if args.mac_key else None
        # Answers and parts of batches that the gate has not acknowledged, by callback id: said again on the next connection.
        self.unacknowledged = {}
        self.nacks = []
        self.connections = 0
        self.refusal = None
        self.writers = set()

    def frame(self, kind, message, correlation=0):
        return native.encode(kind, message.SerializeToString(), correlation=correlation, mac_key=self.mac_key)

    def said_again(self, message):
        return self.frame(0x84 if message.DESCRIPTOR.name == "SettlementBatch" else 0x82, message)

    def settle(self):
        """Settles on whatever connection there is; without one, on the next."""
        for part in self.books.settle():
            self.unacknowledged[part.callback_id] = part
            for writer in list(self.writers)[:1]:
                writer.write(self.said_again(part))

    async def settle_every(self, seconds):
        while True:
            await asyncio.sleep(seconds)
            self.settle()

    def hello(self, instance):
        message = self.schema.ProcessorHello(
            protocol=1, processor_id=self.args.id, instance=instance, clock_ms=int(time.time() * 1000)
        )
        can = message.capabilities
        can.kinds.extend(range(1, 8))
        can.credentials.extend(range(1, 5))
        can.currencies.extend(self.args.currency)
        can.idempotent_replay_ms = 24 * 3600 * 1000
        can.request_life_max_ms = 60_000
        can.inquiry_authoritative_after_ms = 60_000
        can.increments_max = 10
        can.partial_approval = True
        can.multiple_captures = True
        can.hold_validity_ms = 7 * 24 * 3600 * 1000
        can.inflight_max = 256
        return message

    async def connect(self):
        if self.args.plain:
            return await asyncio.open_connection(self.args.host, self.args.port)
        context = native.tls_context(self.args.ca, self.args.cert, self.args.key)
        name = self.args.server_name or self.args.host
        return await asyncio.open_connection(self.args.host, self.args.port, ssl=context, server_hostname=name)

    async def serve_for_ever(self, number):
        """One of the connections, dialled again whenever it breaks."""
        pause = 0.1
        while True:
            try:
                reader, writer = await self.connect()
                self.connections += 1
                try:
                    await self.serve(reader, writer, f"python-{number}")
                    pause = 0.1
                finally:
                    self.writers.discard(writer)
                    writer.close()
            except native.ProtocolError as error:
                self.refusal = str(error)
            except OSError as error:
                # Refused by TLS, or nobody there yet.
                self.refusal = f"{type(error).__name__}: {error}"
            except EOFError:
                pass
            await asyncio.sleep(pause)
            pause = min(2 * pause, 2.0)

    async def serve(self, reader, writer, instance):
        writer.write(self.frame(0x81, self.hello(instance)))
        kind, _, _, payload = await self.receive(reader, 10)
        if kind != 0xC1:
            raise native.ProtocolError(f"{native.TYPES[kind]} instead of a HelloAck: {payload!r}")
        ack = self.schema.ProcessorHelloAck.FromString(payload)
        heartbeat = ack.terms.heartbeat_ms / 1000
        self.writers.add(writer)
        print("connected", file=sys.stderr, flush=True)
        for message in list(self.unacknowledged.values()):
            writer.write(self.said_again(message))
        heard = time.monotonic()
        while True:
            try:
                kind, _, correlation, payload = await self.receive(reader, heartbeat / 2)
                heard = time.monotonic()
            except asyncio.TimeoutError:
                if time.monotonic() - heard > 3 * heartbeat:
                    raise EOFError("the gate is silent") from None
                writer.write(self.frame(0x85, self.schema.Ping(nonce=1)))
                continue
            if not self.take(kind, payload, correlation, writer):
                return
            await writer.drain()

    async def receive(self, reader, timeout):
        # Giving up here loses nothing: `readexactly` takes all four bytes or none. A frame that was begun is read on.
        head = await asyncio.wait_for(reader.readexactly(4), timeout)
        rest = await asyncio.wait_for(reader.readexactly(native.frame_length(head)), 10)
        return native.decode(head + rest, self.mac_key)

    def take(self, kind, payload, correlation, writer):
        """One message of the gate. False: the connection is over."""
        name = native.TYPES[kind]
        message = getattr(self.schema, name).FromString(payload)
        if name == "Operation":
            answer = self.books.answer(message)
            if answer is not None:
                self.unacknowledged[answer.callback_id] = answer
                writer.write(self.frame(0x82, answer))
        elif name == "Ack":
            self.unacknowledged.pop(message.callback_id, None)
        elif name == "Nack":
            if message.code != 510:  # said too early: to be said again
                self.unacknowledged.pop(message.callback_id, None)
            self.nacks.append({"code": message.code, "text": message.text})
        elif name == "Ping":
            writer.write(self.frame(0x86, self.schema.Pong(nonce=message.nonce), correlation))
        elif name == "GoAway":
            self.refusal = f"{message.code} {message.text}"
            return False
        return True

    async def run(self):
        stop = asyncio.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self.settle)
        tasks = [asyncio.create_task(self.serve_for_ever(number)) for number in range(self.args.connections)]
        if self.args.settle:
            tasks.append(asyncio.create_task(self.settle_every(self.args.settle)))
        try:
            await asyncio.wait_for(stop.wait(), self.args.lifetime)
        except asyncio.TimeoutError:
            pass
        for writer in self.writers:
            writer.write(self.frame(0x87, self.schema.GoAway(code=906, text="the processor is done")))
        # Before Python 3.12 `wait_for` may swallow a cancellation that comes together with what it waits for (a frame, right at
        # the end): the task would dial again and never end. So it is said until it is heard.
        running = set(tasks)
        while running:
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=0.1)

    def report(self):
        report = self.books.report()
        report["connections"] = self.connections
        report["unacknowledged"] = len(self.unacknowledged)
        report["nacks"] = self.nacks
        report["settled"] = len(self.books.settled)
        report["refusal"] = self.refusal
        return report


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    native.add_connection_arguments(parser)
    parser.add_argument("--id", required=True, help="processor id, as in the certificate")
    parser.add_argument("--mac-key", help="32 bytes in hexadecimal: the frames' MAC key")
    parser.add_argument("--connections", type=int, default=2)
    parser.add_argument("--currency", type=int, action="append", help="ISO 4217 numeric; default 978 (EUR)")
    parser.add_argument("--settle", type=float, help="seconds between two settlement batches; default: on SIGUSR1 only")
    parser.add_argument("--for", type=float, dest="lifetime", help="seconds to live; default: until a signal")
    args = parser.parse_args()
    args.currency = args.currency or [978]
    processor = Processor(args)
    asyncio.run(processor.run())
    report = processor.report()
    print(json.dumps(report))
    return 1 if report["problems"] or report["nacks"] or not report["connections"] else 0


if __name__ == "__main__":
    sys.exit(main())
