#!/usr/bin/env python3
"""The integration tests: do the frontend and the backend that are served now fit each other?"""

import json
import sys
import urllib.request


def ask(url: str) -> str:
    with urllib.request.urlopen(url, timeout=3) as answer:
        return answer.read().decode().strip()


def main() -> None:
    backend, frontend = sys.argv[1], sys.argv[2]
    served, built = ask(f"{backend}/version"), ask(f"{frontend}/version")
    serves = json.loads(ask(f"{backend}/api.json"))["serves"]
    calls = json.loads(ask(f"{frontend}/api.json"))["calls"]

    print(f"backend {served} serves API {serves}, frontend {built} calls API {calls}")
    if calls != serves:
        sys.exit(f"FAILED: frontend {built} calls API {calls}, which backend {served} does not serve")
    print("passed")


if __name__ == "__main__":
    main()
