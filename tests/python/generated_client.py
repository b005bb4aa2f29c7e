"""A client that a public generator has made of the gate's own OpenAPI document: `openapi-python-client`.

    generated_client.py FOLDER_OF_THE_CLIENT ADDRESS TOKEN

Lists sessions page by page, refunds one twice under one idempotency key, and then follows the events until its standard input
ends, whatever becomes of the gate meanwhile. Prints a JSON document after each of the three.
"""

import json
import sys
import threading
import time

import httpx

folder, address, token = sys.argv[1:]
sys.path.insert(0, folder)

from wattstile_client import AuthenticatedClient  # noqa: E402
from wattstile_client.api.events import get_events  # noqa: E402
from wattstile_client.api.sessions import get_sessions, get_sessions_id, post_sessions_id_refund  # noqa: E402
from wattstile_client.models import GetEventsFollow, Refunding, SessionSheet  # noqa: E402

client = AuthenticatedClient(base_url=f"http://{address}", token=token, timeout=httpx.Timeout(20.0))


def told(**document):
    print(json.dumps(document), flush=True)


def sessions():
    after, found = None, []
    while True:
        page = get_sessions.sync(client=client, limit=3, **({"after": after} if after else {}))
        found += page.items
        after = page.next_
        if after is None:
            return found


# Some that are over, so that there are several pages and money to give back.
while True:
    rows = sessions()
    paid = [row for row in rows if row.state == "closed" and float(row.captured) >= 0.5]
    if len(rows) > 6 and paid:
        break
    time.sleep(0.2)
told(listed=len(rows), distinct=len({row.id for row in rows}))

chosen = paid[-1].id
orders = [
    post_sessions_id_refund.sync_detailed(chosen, client=client, body=Refunding(amount="0.10"), idempotency_key="till-7")
    for _ in range(2)
]
other = post_sessions_id_refund.sync_detailed(
    chosen, client=client, body=Refunding(amount="0.20"), idempotency_key="till-7"
)
for _ in range(200):
    sheet = get_sessions_id.sync(chosen, client=client)
    assert isinstance(sheet, SessionSheet), sheet
    refunds = [operation for operation in sheet.operations if operation.kind == "refund"]
    if refunds and all(refund.state == "approved" for refund in refunds):
        break
    time.sleep(0.1)
told(
    session=chosen,
    statuses=[int(order.status_code) for order in orders],
    same=orders[0].content == orders[1].content,
    other=int(other.status_code),
    refunds=[{"amount": str(refund.amount), "state": refund.state} for refund in refunds],
)


def page(after):
    """A page of events, and the cursor behind it."""
    more = {"after": after} if after else {}
    answer = get_events.sync_detailed(client=client, follow=GetEventsFollow.FALSE, limit=50, **more)
    if answer.status_code == 503:
        raise httpx.HTTPError("the gate starts")
    assert answer.status_code == 200, answer.content
    return [json.loads(line) for line in answer.parsed.splitlines()], answer.headers["x-next"]


over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
seen, after, broken = [], None, 0
while True:
    is_last = over.is_set()
    try:
        events, following = page(after)
    except httpx.HTTPError:
        broken += 1
        time.sleep(0.05)
        continue
    seen += events
    if is_last and following == after:
        break
    after = following
    if not events:
        time.sleep(0.05)

whole, after = [], None
while True:
    events, following = page(after)
    whole += events
    if following == after:
        break
    after = following
told(
    broken=broken,
    seen=len(seen),
    distinct=len({event["id"] for event in seen}),
    whole=[event["id"] for event in whole] == [event["id"] for event in seen],
    refunded=sum(event["type"] == "refund.succeeded" and event["session"] == chosen for event in seen),
)
