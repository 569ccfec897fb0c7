"""Which transfer syntaxes of DICOM are decoded here? Asked before anything is decoded."""

from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    JPEG2000TransferSyntaxes,
    JPEGExtended12Bit,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

JPEG, JPEG_LS = frozenset(JPEGTransferSyntaxes), frozenset(JPEGLSTransferSyntaxes)
JPEG_2000 = frozenset(JPEG2000TransferSyntaxes)  # with those of high throughput


def can_decode(syntax: UID, bits: int) -> bool:
    """Say whether a picture of so many stored bits can be decoded, with what is installed."""
    if not syntax.is_transfer_syntax or syntax.is_private:
        return False
    if is_twelve_bit_jpeg(
        syntax, bits
    ):  # its one careful codec is GPL and comes in only where a hospital installs it
        return "pylibjpeg" in get_decoder(syntax).available_plugins
    return not syntax.is_encapsulated or syntax in JPEG | JPEG_LS | JPEG_2000 | {RLELossless}


def is_twelve_bit_jpeg(syntax: UID, bits: int) -> bool:
    """Say whether this is lossy JPEG of more than 8 bits."""
    return syntax == JPEGExtended12Bit and bits > 8
