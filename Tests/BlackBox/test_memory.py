"""A node returns the pages of its binary that only its start needed."""

import os
import struct

import pytest

from harness.node import binary, eventually

PAGE = os.sysconf("SC_PAGE_SIZE")


def relocations(path):
    """Returns offset and size of the binary's relocations. Only the dynamic linker reads them, once."""
    with open(path, "rb") as file:
        image = file.read()
    assert image[:5] == b"\x7fELF\x02"
    start, size, count = struct.unpack_from("<Q", image, 32)[0], *struct.unpack_from("<HH", image, 54)
    headers = [struct.unpack_from("<IIQQQQ", image, start + index * size) for index in range(count)]
    _, _, offset, _, _, length = next(header for header in headers if header[0] == 2)
    entries = dict(struct.iter_unpack("<QQ", image[offset:offset + length]))
    return entries[7], entries[8]


def pages_in(pid, begin, length):
    """Returns the number of pages of an address range that are mapped in the process, and the number of all its pages."""
    first, last = begin // PAGE, (begin + length - 1) // PAGE
    with open(f"/proc/{pid}/pagemap", "rb") as file:
        file.seek(first * 8)
        entries = struct.unpack(f"<{last - first + 1}Q", file.read((last - first + 1) * 8))
    return sum(entry >> 63 for entry in entries), len(entries)


@pytest.mark.skipif(os.uname().sysname != "Linux" or os.uname().machine not in ("x86_64", "aarch64"), reason="reads ELF files and Linux' page tables")
def test_a_ready_node_has_returned_the_pages_that_only_its_start_needed(nodes, channel):
    node = nodes.make()
    begin, length = relocations(binary())
    with open(f"/proc/{node.pid}/maps") as maps:
        base = int(next(line for line in maps if line.rstrip().endswith(binary())).split("-")[0], 16)

    def is_released():
        there, total = pages_in(node.pid, base + begin, length)
        # A few of the pages are mapped again together with adjacent code.
        return there * 4 < total

    eventually(is_released)
    # The kernel maps other returned pages again when the node needs them.
    assert node.post(f"/pub?id={channel}", b"x").status == 200
    assert node.get("/api/status").status == 200
    node.healthy()
