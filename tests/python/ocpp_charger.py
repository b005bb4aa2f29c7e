"""A charger made of the public library `ocpp`: one whole session of 1.6, 2.0.1 or 2.1, begun by the gate's order.

The library checks every message of the gate against the schemas of the Open Charge Alliance, and raises where one does not
fit. Prints one JSON document: the answers that money depends on.

    python ocpp_charger.py ws://127.0.0.1:9000/ocpp 2.1 CP-1 ACCT-0001
"""

import asyncio
import json
import sys
from datetime import datetime, timezone

import websockets
from ocpp.routing import on

URL, VERSION, CHARGER, TOKEN = sys.argv[1:5]
REGISTER = 1000  # Wh

if VERSION == "1.6":
    from ocpp.v16 import ChargePoint, call, call_result
elif VERSION == "2.0.1":
    from ocpp.v201 import ChargePoint, call, call_result
else:
    from ocpp.v21 import ChargePoint, call, call_result


def now():
    return datetime.now(timezone.utc).isoformat()


class Charger(ChargePoint):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.ordered = asyncio.get_running_loop().create_future()

    def order(self, order):
        if not self.ordered.done():
            self.ordered.set_result(order)

    if VERSION == "1.6":

        @on("RemoteStartTransaction")
        def start_by_order(self, id_tag, **members):
            self.order({"token": id_tag, **members})
            return call_result.RemoteStartTransaction(status="Accepted")

        @on("GetConfiguration")
        def configuration(self, key=None, **_):
            values = [{"key": name, "readonly": True, "value": "true"} for name in key or []]
            return call_result.GetConfiguration(configuration_key=values)

        @on("DataTransfer")
        def data(self, message_id, data, **_):
            self.shown.append({"message": message_id, **json.loads(data)})
            return call_result.DataTransfer(status="Accepted")

    else:

        @on("RequestStartTransaction")
        def start_by_order(self, id_token, remote_start_id, **members):
            self.order({"token": id_token["id_token"], "id": remote_start_id, **members})
            return call_result.RequestStartTransaction(status="Accepted")


async def session_of_16(charger, order):
    start = await charger.call(
        call.StartTransaction(
            connector_id=order["connector_id"], id_tag=order["token"], meter_start=REGISTER, timestamp=now()
        )
    )
    transaction = start.transaction_id
    for energy in (10, 20):
        value = {"timestamp": now(), "sampledValue": [{"value": str(REGISTER + energy)}]}
        await charger.call(
            call.MeterValues(connector_id=order["connector_id"], transaction_id=transaction, meter_value=[value])
        )
    stop = await charger.call(
        call.StopTransaction(
            transaction_id=transaction, meter_stop=REGISTER + 30, timestamp=now(), id_tag=order["token"], reason="Local"
        )
    )
    for _ in range(100):
        if any(shown["message"] == "FinalCost" for shown in charger.shown):
            break
        await asyncio.sleep(0.1)
    return {
        "transaction": str(transaction),
        "status": start.id_tag_info["status"],
        "stopped": stop.id_tag_info["status"],
        "shown": [shown["message"] for shown in charger.shown],
        "cost": next((shown["cost"] for shown in charger.shown if shown["message"] == "FinalCost"), None),
    }


async def session_of_2(charger, order):
    def event(kind, number, energy, trigger, **more):
        info = {"transaction_id": "tx-1", "charging_state": "Charging", "remote_start_id": order["id"]}
        value = {"timestamp": now(), "sampled_value": [{"value": REGISTER + energy}]}
        return call.TransactionEvent(
            event_type=kind,
            timestamp=now(),
            trigger_reason=trigger,
            seq_no=number,
            transaction_info=info,
            evse={"id": order["evse_id"], "connector_id": 1},
            meter_value=[value],
            **more,
        )

    token = {"id_token": order["token"], "type": "Central"}
    start = await charger.call(event("Started", 0, 0, "RemoteStart", id_token=token))
    costs = []
    for number, energy in ((1, 10), (2, 20)):
        answer = await charger.call(event("Updated", number, energy, "MeterValuePeriodic"))
        costs.append(answer.total_cost)
    stop = await charger.call(event("Ended", 3, 30, "EVDeparted"))
    assert costs == sorted(costs), costs
    return {
        "transaction": "tx-1",
        "status": start.id_token_info["status"],
        "limit": (getattr(start, "transaction_limit", None) or {}).get("max_cost"),
        "cost": stop.total_cost,
    }


async def main():
    async with websockets.connect(f"{URL}/{CHARGER}", subprotocols=[f"ocpp{VERSION}"]) as socket:
        assert socket.subprotocol == f"ocpp{VERSION}", socket.subprotocol
        charger = Charger(CHARGER, socket)
        charger.shown = []
        listening = asyncio.create_task(charger.start())
        if VERSION == "1.6":
            boot = await charger.call(call.BootNotification(charge_point_model="M", charge_point_vendor="V"))
            status = call.StatusNotification(connector_id=1, error_code="NoError", status="Preparing")
        else:
            station = {"model": "M", "vendor_name": "V"}
            boot = await charger.call(call.BootNotification(charging_station=station, reason="PowerUp"))
            status = call.StatusNotification(
                timestamp=now(), connector_status="Occupied", evse_id=1, connector_id=1
            )
        await charger.call(status)
        print(json.dumps({"boot": boot.status}), flush=True)
        order = await asyncio.wait_for(charger.ordered, 60)
        result = await (session_of_16 if VERSION == "1.6" else session_of_2)(charger, order)
        await charger.call(call.Heartbeat())
        print(json.dumps(result), flush=True)
        listening.cancel()


asyncio.run(main())
