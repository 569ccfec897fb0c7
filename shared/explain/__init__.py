"""Score-CAM maps and the figures that judge them."""
