"""Is a PNG whole? Its chunks carry check sums that decoders pass over in part; source: PNG, third edition, 5.3."""

import zlib

SIGNATURE_BYTES = 8
END = b"IEND"


def check_png(data: bytes) -> int:
    """Refuse a PNG with a cut or damaged chunk, or without its last one (ValueError); returns its bits a channel."""
    at = SIGNATURE_BYTES
    view = memoryview(data)
    while True:
        length = int.from_bytes(view[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(data):
            raise ValueError("a chunk is cut")
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise ValueError("a chunk is damaged")
        if view[at + 4 : at + 8] == END:
            return data[24]
        at = end + 4
