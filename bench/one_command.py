"""Run one command and say in JSON how long it took, what memory it needed and how it ended.

A program of its own, because it must be small: a new process starts with the peak memory of the one that made
it. Run by measuring.py, with ``-I -S``.
"""

import json
import os
import sys
import tempfile
import time


def main() -> None:
    """Run the command that the arguments are."""
    with tempfile.TemporaryFile() as said:
        nothing = os.open(os.devnull, os.O_RDWR)
        streams = [(os.POSIX_SPAWN_DUP2, nothing, 0), (os.POSIX_SPAWN_DUP2, nothing, 1)]
        streams.append((os.POSIX_SPAWN_DUP2, said.fileno(), 2))
        start = time.perf_counter()
        child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=streams)
        # The usage of the child and of all that it waited for: ru_maxrss is the largest of them, in KiB.
        _, status, usage = os.wait4(child, 0)
        seconds = time.perf_counter() - start
        said.seek(0)
        told = {
            "seconds": seconds,
            "peak_bytes": usage.ru_maxrss * 1024,
            "status": os.waitstatus_to_exitcode(status),
            "said": said.read()[-2000:].decode(errors="replace"),
        }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
