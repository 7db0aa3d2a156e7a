"""What a serial console says: the functions between the markers, the releases, a panic."""

import asyncio

import pytest

from analyzer.lab.console import Console, enumerated, releases
from analyzer.lab.process import LabRunError

# From a console of Debian's 6.1 kernel, shortened.
SAMPLE = (
    "[    0.000000] Linux version 6.1.0-56-amd64 (debian-kernel@lists.debian.org) (gcc-12) #1 SMP\r\n"
    "[    1.532281] pci 0000:00:03.0: [1b36:000c] type 01 class 0x060400\r\n"
    "=== LSPCI 1\r\n"
    "0000:00:00.0 0600: 8086:29c0\r\n"
    "0000:00:03.0 0604: 1b36:000c\r\n"
    "0000:00:1f.3 0c05: 8086:2930 (rev 02)\r\n"
    "0000:03:01.0 0108: 1b36:0010 (rev 02)\r\n"
    "=== END LSPCI 1\r\n"
    "lab: step: driver nvme\r\n"
    "[    5.510880] kexec_core: Starting new kernel\r\n"
    "[    0.000000] Linux version 6.1.0-56-amd64 (debian-kernel@lists.debian.org) (gcc-12) #1 SMP\r\n"
    "=== LSPCI 2\r\n"
    "0000:00:00.0 0600: 8086:29c0\r\n"
    "10000:e1:00.0 0604: 8086:2030\r\n"
    "=== END LSPCI 2\r\n"
)


def test_enumerated_functions_by_kernel():
    assert enumerated(SAMPLE) == {
        1: ["0000:00:00.0", "0000:00:03.0", "0000:00:1f.3", "0000:03:01.0"],
        2: ["0000:00:00.0", "10000:e1:00.0"],
    }
    assert releases(SAMPLE) == ["6.1.0-56-amd64", "6.1.0-56-amd64"]


def test_a_listing_that_was_cut_short_is_no_listing():
    assert enumerated(SAMPLE.replace("=== END LSPCI 2\r\n", "")).keys() == {1}
    assert enumerated(SAMPLE.replace("=== END LSPCI 1\r\n", "")).keys() == {2}


def follow(*chunks):
    async def run():
        console, reader = Console(), asyncio.StreamReader()
        follower = asyncio.create_task(console.follow(reader))
        for chunk in chunks:
            reader.feed_data(chunk)
            await asyncio.sleep(0)
        reader.feed_eof()
        await follower
        return console

    return asyncio.run(run())


def test_text_that_comes_in_pieces_is_found():
    console = follow(b"kexec_core: Starting n", b"ew kernel\n", b"next\n\r\n")
    assert asyncio.run(console.find(b"Starting new kernel", 0)) == 31
    assert console.last_line() == "next"


def test_the_end_of_the_machine_ends_the_wait():
    console = follow(b"[    4.2] reboot: Power down\r\n")
    with pytest.raises(
        LabRunError, match=r"ended before 'Starting new kernel'; its last line: .* Power down"
    ):
        asyncio.run(console.find(b"Starting new kernel", 0))


def test_a_panic_ends_the_wait():
    with pytest.raises(LabRunError, match="panicked: Kernel panic - not syncing: VFS"):
        follow(b"[    1.0] Kernel panic - not", b" syncing: VFS: Unable to mount root fs\n")
