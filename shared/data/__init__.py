"""Reading images: manifests, folders, MedMNIST files; the division of public data."""

import shared.data.silence  # noqa: F401 - before anything here is read
