"""Teacher, student, explainer and the compact model made of the last two."""

from shared.models.torchvision_operators import import_torchvision

import_torchvision()  # before timm and our own modules import it
