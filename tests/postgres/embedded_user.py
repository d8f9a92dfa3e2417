"""A process that uses the embedded server: python embedded_user.py DATA_DIR PG_USER. One command a line on stdin, one answer each."""

import os
import signal
import sys
from pathlib import Path

from kizu_fast.store.embedded import EmbeddedServer


def answer(command: str, server: EmbeddedServer) -> str:
    if command == "dsn":
        return server.dsn
    if command == "ensure":
        server.ensure_running()
        return "running"
    if os.fork() == 0:
        server.leave()  # of a child: must change nothing for the parent
        os._exit(0)
    os.wait()
    return "forked"


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    server = EmbeddedServer.start(Path(sys.argv[1]), sys.argv[2])
    try:
        say("ready")  # from here on an interruption finds the way out below
        for line in sys.stdin:
            if line.strip() == "leave":
                break
            say(answer(line.strip(), server))
    finally:
        server.leave()
    say("left")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts the suite in the background ignores it for us
    main()
