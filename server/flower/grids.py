"""Which of Flower's grids a study runs on."""

from flwr.serverapp import Grid
from flwr.superlink.grid import InMemoryGrid


def is_in_memory(grid: Grid) -> bool:
    """Tell Flower's simulation, all in one process, from a SuperLink that is reached over a network."""
    return isinstance(grid, InMemoryGrid)
