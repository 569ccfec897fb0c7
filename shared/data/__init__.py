"""Reading images: manifests, folders, MedMNIST files; the division of public data."""
