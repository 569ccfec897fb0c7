"""What libraries say while they read a hospital's files is silenced once, for the whole process, when this is loaded.

pydicom, its plugins, tifffile and Pillow warn and log in words that may quote a value of the file, which no log may
hold. Setting and restoring filters and levels around each file would change, for a moment, what every other thread of
the process may say or must not, and would be changed by theirs: so these are set before there are threads, and never
again.
"""

import logging
import warnings

# modules, which log under their own names
LOUD = ("pydicom", "pylibjpeg", "openjpeg", "jpeg_ls", "gdcm", "PIL", "tifffile", "imagecodecs")
_CALLERS = r"shared\.data\.dicom"  # our modules to whose lines such a warning may be put down


def silence() -> None:
    """Silence them in this process; done when this is loaded, and again only by what sets filters aside."""
    for name in LOUD:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # loggers below inherit it
        warnings.filterwarnings("ignore", module=rf"{name}\b")
    warnings.filterwarnings("ignore", module=_CALLERS)


silence()
