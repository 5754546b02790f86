"""Reads cursors: the position of each channel, which the history needs. Sources/Pipeline/Event/Cursor.swift describes the form."""

import base64

WORD = (1 << 64) - 1
P1, P2, P3, P4, P5 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def rotate(value, bits):
    return (value << bits | value >> (64 - bits)) & WORD


def xxh64(data):
    """xxHash64 of fewer than 32 bytes, with seed 0."""
    assert len(data) < 32, data
    value, i = (P5 + len(data)) & WORD, 0
    while i + 8 <= len(data):
        word = rotate(int.from_bytes(data[i:i + 8], "little") * P2 & WORD, 31) * P1 & WORD
        value = (rotate(value ^ word, 27) * P1 + P4) & WORD
        i += 8
    if i + 4 <= len(data):
        value = (rotate(value ^ int.from_bytes(data[i:i + 4], "little") * P1 & WORD, 23) * P2 + P3) & WORD
        i += 4
    for byte in data[i:]:
        value = rotate(value ^ byte * P5 & WORD, 11) * P1 & WORD
    value = (value ^ value >> 33) * P2 & WORD
    value = (value ^ value >> 29) * P3 & WORD
    return value ^ value >> 32


class Cursors:
    """Decodes the cursors of a set of channels."""

    def __init__(self, channels):
        self.names = {xxh64(c.encode()) & 0xFFFFFFFF: c for c in channels}

    def positions(self, cursor):
        """Channel → (epoch, offset)."""
        data = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        assert data[0] == 1, cursor
        found, i = {}, 1
        while i < len(data) - 2:
            name = self.names[int.from_bytes(data[i:i + 4], "little")]
            i += 4
            numbers = []
            for _ in range(2):
                value = shift = 0
                while True:
                    byte = data[i]
                    i += 1
                    value |= (byte & 0x7F) << shift
                    shift += 7
                    if byte < 0x80:
                        break
                numbers.append(value)
            found[name] = tuple(numbers)
        return found
