#!/usr/bin/env python3
"""A door for levers that Assay cannot reach: it keeps the contract of docs/doors.md.

    RECEIVER_TOKEN=secret python3 receiver.py 8085 levers.json

levers.json holds where levers stand, {"shop": {"replicas": 5}}; carry_out() is where a
real one would call its platform. Standard library only; one file is all its memory.
"""
import datetime, http.server, json, os, sys, threading, urllib.parse

state_file, token, lock = sys.argv[2], os.environ["RECEIVER_TOKEN"], threading.Lock()


def carry_out(service, target, value):
    print(f"{service}: {target} shall stand at {value}", flush=True)


def put(s, d):
    name = d["lever"] + ("/" + d["scope"] if d.get("scope") else "")
    asked, levers = [d["service"], name, d["now"], d["want"]], s["levers"].get(d["service"], {})
    fence = s["fences"].get(d["service"], 0)
    if d["key"] in s["keys"]:
        first = s["keys"][d["key"]]
        if first["asked"] != asked:
            return 409, {"code": "key", "detail": "the key was used for another change"}
        return 200, first["answer"] | {"replayed": True}
    if name not in levers:
        return 404, {"code": "unknown", "detail": "there is no such lever"}
    if d["fence"] < fence:
        return 409, {"code": "fence", "fence": fence, "detail": "somebody newer owns it"}
    if levers[name] not in (d["now"], d["want"]):
        return 409, {"code": "stale", "detail": f"it stands at {levers[name]}"}
    answer = {"key": d["key"], "value": d["want"], "changed": levers[name] != d["want"], "time": now()}
    carry_out(d["service"], name, d["want"])  # must bear being repeated: a crash may come right after
    levers[name], s["fences"][d["service"]] = d["want"], d["fence"]
    s["keys"][d["key"]] = {"asked": asked, "answer": answer}
    return 200, answer


def get(s, service):
    if service not in s["levers"]:
        return 404, {"code": "unknown", "detail": "there is no such service"}
    split = [(*name.split("/", 1), "")[:2] + (v,) for name, v in s["levers"][service].items()]
    return 200, {"levers": [{"lever": l, "scope": c, "value": v} for l, c, v in split], "fence": s["fences"].get(service, 0), "time": now()}


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat()


class Handler(http.server.BaseHTTPRequestHandler):
    def handle_one(self, what):
        if self.headers.get("Authorization") != "Bearer " + token:
            return self.answer(401, {"code": "denied", "detail": "the token is wrong"})
        with lock:
            s = json.load(open(state_file))
            s = s if "levers" in s else {"levers": s, "fences": {}, "keys": {}}
            status, body = what(s)
            with open(state_file + ".new", "w") as f:
                json.dump(s, f)
                f.flush(), os.fsync(f.fileno())
            os.replace(state_file + ".new", state_file)  # durable before it is acknowledged
        self.answer(status, body)

    def do_PUT(self):
        d = json.loads(self.rfile.read(min(int(self.headers["Content-Length"]), 65536)))
        self.handle_one(lambda s: put(s, d))

    def do_GET(self):
        q = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        self.handle_one(lambda s: get(s, q.get("service", [""])[0]))

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
