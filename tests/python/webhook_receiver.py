"""An endpoint for webhooks that verifies every message with the public library `standardwebhooks`.

    webhook_receiver.py SECRET_FILE

Prints its port, then a JSON document for each message: its id, its type, and whether it was verified. A message that is not
verified is answered with 400. Ends when its standard input does.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

with open(sys.argv[1], encoding="ascii") as file:
    WEBHOOK = Webhook(file.read().strip())


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        came = {"id": self.headers["webhook-id"]}
        try:
            message = WEBHOOK.verify(body, {name.lower(): value for name, value in self.headers.items()})
            # What was signed: a message with another byte in it is none.
            try:
                WEBHOOK.verify(body + b" ", dict(self.headers.items()))
                came["forged"] = True
            except WebhookVerificationError:
                pass
            came |= {"verified": True, "type": message["type"], "event": message["data"].get("id")}
        except WebhookVerificationError as error:
            came |= {"verified": False, "error": str(error)}
        self.send_response(204 if came["verified"] else 400)
        self.send_header("content-length", "0")
        self.end_headers()
        print(json.dumps(came), flush=True)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
server.shutdown()
