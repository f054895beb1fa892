#!/usr/bin/env python3
"""Stand at a barrier as a foreign party: docs/protocol.md, section 10, as a program.

    stranger.py HOST:PORT PIPELINE RUN BARRIER PARTY [MESSAGE]

Written from the protocol alone, with nothing but Python's standard library, to show what a client
in another language has to do. Prints what it read; exits with 0 if the barrier was released, 4 if
it was aborted, 7 if nothing was decided within a minute.

Left out to stay short: TLS, credentials, reconnecting. A client for production has them.
"""

import json
import re
import socket
import sys
import time
import uuid
from datetime import datetime, timezone

PREFIX, STREAM, PROTOCOL = "lockstep", "LOCKSTEP", 1
RETRY_SECONDS, READING_SECONDS, LIMIT_SECONDS = 0.05, 5.0, 60.0


class Message:
    """A message with every value of every header, in order: forgeries show by repetition."""

    def __init__(self, subject: str, head: str, body: bytes):
        self.subject, self.body = subject, body
        first, *lines = head.split("\r\n") if head else [""]
        self.status = first.removeprefix("NATS/1.0").strip()[:3]
        self.headers = [tuple(line.split(": ", 1)) for line in lines if ": " in line]

    def values(self, name: str) -> list:
        return [value.strip() for key, value in self.headers if key == name]

    def number(self, name: str) -> int:
        """Only the last value of a position is the server's own."""
        values = self.values(name)
        return int(values[-1]) if values else 0


class Nats:
    """As much of the NATS protocol as it takes."""

    def __init__(self, address: str):
        host, port = address.removeprefix("nats://").rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=2)
        self.buffer, self.subscriptions = b"", 0
        self.line(10.0)  # INFO
        self.send('CONNECT {"verbose":false,"pedantic":false,"headers":true,"name":"stranger"}\r\n')

    def send(self, head: str, body: bytes = b"") -> None:
        self.socket.sendall(head.encode() + body)

    def subscribe(self, subject: str) -> None:
        self.subscriptions += 1
        self.send(f"SUB {subject} {self.subscriptions}\r\n")

    def publish(self, subject: str, reply: str, headers: dict, body: bytes) -> None:
        head = "NATS/1.0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
        sizes = f"{len(head)} {len(head) + len(body)}"
        self.send(f"HPUB {subject} {reply} {sizes}\r\n{head}", body + b"\r\n")

    def fill(self, enough, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not enough():
            self.socket.settimeout(max(end - time.monotonic(), 0.001))
            chunk = self.socket.recv(65536)
            if not chunk:
                sys.exit("the server closed the connection")
            self.buffer += chunk

    def line(self, seconds: float) -> str:
        self.fill(lambda: b"\r\n" in self.buffer, seconds)
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line.decode()

    def take(self, size: int) -> bytes:
        self.fill(lambda: len(self.buffer) >= size + 2, 10.0)
        taken, self.buffer = self.buffer[:size], self.buffer[size + 2 :]
        return taken

    def next(self, seconds: float):
        """The next message, or nothing if none comes in time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                line = self.line(left)
            except TimeoutError:
                return None
            verb, *words = line.split()
            if verb == "PING":
                self.send("PONG\r\n")
            elif verb == "-ERR":
                sys.exit(f"the server says: {line}")  # a permission violation comes like this
            elif verb == "MSG":
                return Message(words[0], "", self.take(int(words[-1])))
            elif verb == "HMSG":
                head, total = int(words[-2]), int(words[-1])
                whole = self.take(total)
                return Message(words[0], whole[:head].decode().rstrip("\r\n"), whole[head:])
        return None


def record_of(subject: str, message: Message):
    """The record, if it is valid by itself (section 3), as a direct get shows it."""
    for name in ("Nats-Stream", "Nats-Sequence"):
        if len(message.values(name)) > 1:
            return None
    if message.values("Nats-Scheduler"):
        return None
    try:
        record = json.loads(message.body)
        kind, source = record["kind"], message.values("ce-source")[0]
        fits = record["subject"] == subject and record["protocol"] == PROTOCOL
        named = message.values("ce-type")[0] == f"dev.lockstep.{kind}" and message.values("ce-id")
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    writers = {
        r"\.plan$": (r"/submitter/[^/]+", {"Plan"}),
        r"\.party\.[^.]+\.\d+$": (r"/(party|agent)/.+", {"Arrived", "PartyFailed"}),
        r"\.verdict\.\d+$": (r"/coordinator/[^/]+", {"Released", "Committed", "Aborted"}),
        r"\.closed\.\d+$": (r"/coordinator/[^/]+", {"Closed"}),
    }
    for slot, (role, kinds) in writers.items():
        if re.search(slot, subject):
            right = kind in kinds and re.fullmatch("/lockstep" + role, source)
            return record if fits and named and right else None
    return None


class Party:
    """One party at one barrier of one run."""

    def __init__(self, nats: Nats, pipeline: str, run: str, barrier: str, party: str):
        self.nats = nats
        self.run = f"{PREFIX}.run.{pipeline}.{run}"
        self.slots = f"{self.run}.barrier.{barrier}.party.{party}"
        self.verdicts = f"{self.run}.barrier.{barrier}.verdict"
        self.source = f"/lockstep/party/{pipeline}/{party}/stranger"
        self.position = 0
        self.inbox = f"_INBOX.{uuid.uuid4().hex}"
        nats.subscribe(f"{self.inbox}.*")
        for bell in (f"{self.slots}.*", f"{self.verdicts}.*", f"{self.run}.verdict.*"):
            nats.subscribe(bell.replace(f"{PREFIX}.run.", f"{PREFIX}.live.run.", 1))

    def get(self, subjects: list):
        """One multi-last direct get (section 5): records by subject, or nothing if no reading."""
        reply = f"{self.inbox}.{uuid.uuid4().hex}"
        question = json.dumps({"multi_last": subjects}).encode()
        self.nats.publish(f"$JS.API.DIRECT.GET.{STREAM}", reply, {}, question)
        found, end = [], time.monotonic() + 2.0
        while (message := self.nats.next(end - time.monotonic())) is not None:
            if message.subject != reply:
                continue  # a bell; the next reading will show what it rang for
            if message.status == "204":
                up_to = message.number("Nats-UpTo-Sequence")
                if message.number("Nats-Num-Pending") or up_to < self.position:
                    return None
                self.position = up_to
                return found
            if message.status == "404":
                return []
            if message.status:
                return None
            found.append(
                (message.number("Nats-Sequence"), message.values("Nats-Subject")[-1], message)
            )
        return None

    def read(self, subjects: list) -> list:
        """A reading, asked for until it is one: (sequence, subject, message), in stream order."""
        end = time.monotonic() + LIMIT_SECONDS
        while (found := self.get(subjects)) is None:
            if time.monotonic() > end:
                sys.exit("no reading of the log within a minute")
            time.sleep(0.02)
        return sorted(found, key=lambda entry: entry[0])

    def arrive(self, message: str) -> int:
        """Appends Arrived to the first free slot (section 4), unless it stands already."""
        events = {}  # a different slot is a different event
        while True:
            taken = self.read([f"{self.slots}.*"])
            for sequence, subject, found in taken:
                if (record := record_of(subject, found)) and record["kind"] == "Arrived":
                    return sequence
            number = 1 + max((int(subject.rsplit(".", 1)[1]) for _, subject, _ in taken), default=0)
            subject = f"{self.slots}.{number}"
            # The same slot again needs a fresh message id only after a collision; it never harms.
            again, event = number in events, events.setdefault(number, str(uuid.uuid4()))
            body = {"subject": subject, "protocol": PROTOCOL, "kind": "Arrived", "by": "stranger"}
            if message:
                body["message"] = message
            headers = {
                "ce-specversion": "1.0", "ce-id": event, "ce-type": "dev.lockstep.Arrived",
                "ce-source": self.source, "ce-subject": subject,
                "ce-time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
                "content-type": "application/json",
                "Nats-Msg-Id": str(uuid.uuid4()) if again else event,
                "Nats-Expected-Stream": STREAM,
            }
            reply = f"{self.inbox}.{uuid.uuid4().hex}"
            self.nats.publish(subject, reply, headers, json.dumps(body).encode())
            self.wait_for(reply)
            # Whatever the answer was, or if there was none: the next reading tells who is there.
            time.sleep(RETRY_SECONDS)

    def wait_for(self, reply: str) -> None:
        end = time.monotonic() + 2.0
        while (message := self.nats.next(end - time.monotonic())) is not None:
            if message.subject == reply:
                return

    def wait(self, own: int):
        """Waits for what becomes of the barrier: (exit code, text)."""
        end = time.monotonic() + LIMIT_SECONDS
        filters = [f"{self.verdicts}.*", f"{self.run}.verdict.*", f"{self.run}.closed.*"]
        while time.monotonic() < end:
            valid = [
                (subject, record)
                for _, subject, message in self.read(filters)
                if (record := record_of(subject, message))
            ]
            for subject, record in valid:
                if subject.startswith(self.verdicts):
                    if record["kind"] == "Released" and record["at"] >= own:
                        return 0, f"released at #{record['at']}"
                    if record["kind"] == "Aborted":
                        return 4, f"aborted at #{record['at']}: {record['cause']['text']}"
            for _, record in valid:
                if record["kind"] in ("Aborted", "Closed"):
                    cause = record.get("cause") or {}
                    return 4, f"the run is over: {cause.get('text', record['kind'])}"
            self.nats.next(min(READING_SECONDS, max(end - time.monotonic(), 0.001)))
        return 7, "nothing was decided within a minute"


def main() -> None:
    address, pipeline, run, barrier, name, *message = sys.argv[1:]
    party = Party(Nats(address), pipeline, run, barrier, name)
    plans = [record_of(subject, found) for _, subject, found in party.read([f"{party.run}.plan"])]
    if not plans or plans[0] is None:
        sys.exit(f"there is no run {run} of pipeline {pipeline}")
    plan = plans[0]["plan"]
    if plan["protocol"] != PROTOCOL:
        sys.exit(f"the run speaks protocol {plan['protocol']}; this program speaks {PROTOCOL}")
    if name not in plan["barriers"].get(barrier, {}).get("foreign", []):
        sys.exit(f"{name} is no foreign party of barrier {barrier}")
    own = party.arrive(" ".join(message))
    print(f"arrived as #{own}", flush=True)
    code, text = party.wait(own)
    print(text)
    sys.exit(code)


if __name__ == "__main__":
    main()
