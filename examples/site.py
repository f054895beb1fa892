#!/usr/bin/env python3
"""Deploy a release of a small web service, and take it back: what the examples run as steps.

    site.py deploy SERVICE RELEASE   copy the release, point `current` at it, restart the server
    site.py undo SERVICE             put back what this run's deploy replaced
    site.py check SERVICE            ask the service's /healthz; exit 1 if it is not well
    site.py stop [SERVICE...]        stop servers (all of the folder's, if none is named)

    --folder FOLDER                  where the services live (default: served)
    --port PORT                      the loopback port to serve on (default: any free one)

A service lives in FOLDER/SERVICE: `releases/<version>`, the link `current`, one note per run of
what that run's deploy replaced (`replaced/<run>`), the server's `server.pid` and `server.log`.

What makes `undo` safe to run at any time, twice, or after a deploy that was cut off anywhere:
the note is written before the first change, never overwritten by a second attempt, and removed
after the last change of the undo. No note: nothing was changed, nothing is undone.
"""

import argparse
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime, timezone
from pathlib import Path

LIMIT_SECONDS = 10.0


def fail(text: str) -> None:
    sys.exit(f"site.py: {text}")


def run_id() -> str:
    run = os.environ.get("LOCKSTEP_RUN")
    if not run:
        fail("LOCKSTEP_RUN is not set: a step of a run has it; by hand, set it to any name")
    return run


def wait_until(what: str, ready) -> None:
    """Polls, with a limit: a step that hangs would only be killed at its time-out."""
    end = time.monotonic() + LIMIT_SECONDS
    while not ready():
        if time.monotonic() > end:
            fail(f"gave up after {LIMIT_SECONDS:.0f} s waiting until {what}")
        time.sleep(0.02)


class Service:
    """One service's folder, locked: two commands at once would fight over its server."""

    def __init__(self, folder: Path, name: str):
        self.name, self.folder = name, folder / name
        self.current = self.folder / "current"
        self.state = self.folder / "server.pid"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lock = open(self.folder / "lock", "a")
        wait_until(f"another command on {name} is over", lambda: try_lock(self.lock))

    def version(self) -> str:
        """What `current` points at, or nothing before the first deploy."""
        return self.current.readlink().name if self.current.is_symlink() else ""

    def point_at(self, version: str) -> None:
        """Switches `current` in one step: no reader ever finds it absent."""
        fresh = self.folder / ".current"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(Path("releases") / version)
        fresh.replace(self.current)

    def note(self, text: str) -> None:
        stamp = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        with open(self.folder.parent / "history.log", "a", encoding="utf-8") as log:
            log.write(f"{stamp} {self.name} {text}\n")
        print(f"{self.name}: {text}", flush=True)

    def stop(self):
        """Stops the server, if one lives, and returns its state file, locked.

        The server holds that lock for as long as it lives, so nothing but our own server is
        ever signalled, however old the number in the file is.
        """
        state = open(self.state, "a+")
        started = time.monotonic()

        def gone() -> bool:
            if try_lock(state):
                return True
            lines = self.state.read_text().split()
            if lines:
                patient = time.monotonic() - started < LIMIT_SECONDS / 2
                os.kill(int(lines[0]), signal.SIGTERM if patient else signal.SIGKILL)
            return False

        wait_until(f"the server of {self.name} is gone", gone)
        state.truncate(0)
        return state

    def restart(self, port: int) -> None:
        state = self.stop()
        serve = Path(__file__).resolve().with_name("serve.py")
        command = [sys.executable, serve, self.name, self.current, str(port), str(state.fileno())]
        with open(self.folder / "server.log", "w+") as log:
            # A session of its own: the server outlives the step that started it.
            server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, pass_fds=[state.fileno()],
            )

        def answering() -> bool:
            if server.poll() is not None:
                text = (self.folder / "server.log").read_text().strip().splitlines()
                why = text[-1] if text else "it said nothing"
                if "Address already in use" in why:
                    why = f"port {port} is taken; stop who has it, or choose another port"
                fail(f"the server of {self.name} ended at once: {why}")
            return len(self.state.read_text().split()) == 2

        wait_until(f"the server of {self.name} answers", answering)


def try_lock(file) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def deploy(service: Service, release: Path, port: int) -> None:
    if not (release / "release.json").is_file():
        fail(f"{release} is no release: it has no release.json")
    version, run = release.name, run_id()
    service.note(f"deploy of {version} begins")

    target = service.folder / "releases" / version
    if not target.exists():
        half = target.with_name(f".{version}")
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(release, half)
        half.rename(target)

    replaced = service.folder / "replaced" / run
    replaced.parent.mkdir(exist_ok=True)
    if not replaced.exists():
        fresh = replaced.with_name(f".{run}")
        fresh.write_text(service.version())
        fresh.rename(replaced)

    service.point_at(version)
    service.restart(port)
    service.note(f"serves {version}")


def undo(service: Service, port: int) -> None:
    replaced = service.folder / "replaced" / run_id()
    if not replaced.exists():
        service.note("has nothing to undo")
        return
    version = replaced.read_text()
    if version:
        service.point_at(version)
        service.restart(port)
        service.note(f"serves {version} again")
    else:
        service.stop()
        service.current.unlink(missing_ok=True)
        service.note("is gone again: nothing was served before")
    replaced.unlink()


def check(folder: Path, name: str) -> None:
    state = folder / name / "server.pid"
    lines = state.read_text().split() if state.exists() else []
    if len(lines) != 2:
        fail(f"{name} is not served from {folder}")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{lines[1]}/healthz", timeout=3) as answer:
            print(answer.read().decode().strip())
    except urllib.error.HTTPError as error:
        fail(f"/healthz says {error.code}: {error.read().decode().strip()}")
    except OSError as error:
        fail(f"{name} does not answer on port {lines[1]}: {error}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("verb", choices=["deploy", "undo", "check", "stop"])
    parser.add_argument("names", nargs="*", metavar="SERVICE [RELEASE]")
    parser.add_argument("--folder", type=Path, default=Path("served"))
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    match options.verb, options.names:
        case "deploy", [name, release]:
            deploy(Service(options.folder, name), Path(release), options.port)
        case "undo", [name]:
            undo(Service(options.folder, name), options.port)
        case "check", [name]:
            check(options.folder, name)
        case "stop", names:
            every = sorted(path.parent.name for path in options.folder.glob("*/server.pid"))
            for name in names or every:
                Service(options.folder, name).stop()
        case _:
            parser.error(f"{options.verb} takes other arguments")


if __name__ == "__main__":
    main()
