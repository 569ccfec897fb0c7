"""Draw one synthetic chest: attenuation of an upright frontal view with exactly known lungs and opacities.

A `Body` (one patient's anatomy) and the opacities of one image come in; a picture of attenuation in about
0..1 (bone bright, air dark), a lung mask and an opacity mask go out. Nothing here is data of a person.
Coordinates: x to the viewer's right, y down, both -1..1 over the picture; the heart lies at positive x.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]
EDGE = 0.018  # softness of organ borders, in half picture widths


@dataclass(frozen=True)
class Lung:
    """One lung as distances from the midline (all positive) and heights."""

    apex_x: float
    apex_y: float
    inner: float
    outer: float
    base_y: float
    dome: float  # how far the diaphragm's middle stands above its sides


@dataclass(frozen=True)
class Body:
    """One patient's anatomy; `vessels` is (num_vessels, 6): x0, y0, x1, y1, width, strength."""

    lungs: tuple[Lung, Lung]  # viewer's left, viewer's right
    heart: tuple[float, float, float, float]  # centre x, y; half width, half height
    trunk: float  # half width of the trunk
    shoulder: float  # height of the shoulders
    rib_spacing: float
    rib_strength: float
    rib_phase: float
    stomach: tuple[float, float, float]  # centre x, y, radius of the air under the diaphragm
    vessels: Floats
    texture_seed: int


@dataclass(frozen=True)
class Pose:
    """How the patient stood: shift, rotation in radians, enlargement."""

    shift_x: float = 0.0
    shift_y: float = 0.0
    rotation: float = 0.0
    magnification: float = 1.0


@dataclass(frozen=True)
class Opacity:
    """A patch of consolidated lung: centre, radii, angle in radians, peak in units of the grey range."""

    x: float
    y: float
    radius_x: float
    radius_y: float
    angle: float
    amplitude: float


def draw_body(random: np.random.Generator) -> Body:
    """Draw one patient's anatomy from its own generator."""
    u = random.uniform
    width, base = u(0.66, 0.82), u(0.38, 0.58)
    left = Lung(u(0.26, 0.34), u(-0.78, -0.66), u(0.12, 0.17), width, base - u(0.03, 0.10), u(0.10, 0.19))
    right = Lung(u(0.26, 0.34), u(-0.78, -0.66), u(0.12, 0.17), width * u(0.95, 1.04), base, u(0.10, 0.19))
    heart = (u(0.10, 0.18), base - u(0.20, 0.26), u(0.27, 0.38), u(0.24, 0.31))
    return Body(
        lungs=(left, right),
        heart=heart,
        trunk=u(0.93, 1.06),
        shoulder=u(-0.98, -0.84),
        rib_spacing=u(0.155, 0.195),
        rib_strength=u(0.05, 0.09),
        rib_phase=u(0, 1),
        stomach=(u(0.35, 0.5), base + u(0.0, 0.1), u(0.05, 0.12)),
        vessels=_vessels(random, (left, right)),
        texture_seed=int(random.integers(2**63)),
    )


def draw_opacities(
    random: np.random.Generator, body: Body, amplitude: tuple[float, float], num_max: int = 3
) -> tuple[Opacity, ...]:
    """Place 1 to `num_max` opacities of one strength inside the lungs and beside the heart."""
    found: list[Opacity] = []
    strength = float(random.uniform(*amplitude))
    for _ in range(int(random.integers(1, num_max + 1))):
        side = int(random.integers(2))
        lung = body.lungs[side]
        along = random.uniform(0.3, 0.85)
        y = lung.apex_y + along * (lung.base_y - lung.dome - lung.apex_y)
        inner = max(lung.inner, _heart_edge(body, y)) if side else lung.inner
        x = random.uniform(inner + 0.1, max(inner + 0.12, 0.88 * lung.outer - 0.05))
        radius = random.uniform(0.10, 0.20)
        found.append(
            Opacity(
                x=float(x if side else -x),
                y=float(y),
                radius_x=float(radius),
                radius_y=float(radius * random.uniform(0.7, 1.3)),
                angle=float(random.uniform(0, np.pi)),
                amplitude=strength,
            )
        )
    return tuple(found)


def draw_attenuation(
    body: Body, opacities: tuple[Opacity, ...], pose: Pose, size: int
) -> tuple[Floats, Bools, Bools]:
    """Draw a picture (size, size) and its exact masks: lungs (behind the heart too) and opacities in them."""
    x, y = _coordinates(pose, size)
    inside = np.maximum(_lung_depth(body.lungs[0], -x, y), _lung_depth(body.lungs[1], x, y))
    air = _soft(inside)
    picture = _soft_tissue(body, x, y) - 0.40 * air * (1 - 0.22 * np.abs(x))
    picture += 0.25 * air * _heart(body, x, y) + 0.4 * (1 - air) * 0.25 * _heart(body, x, y)
    picture += _bones(body, x, y)
    picture += air * (_vessel_shadow(body, x, y) + 0.045 * _texture(body.texture_seed, size))
    density, lesion = _opacity_density(opacities, x, y, body.texture_seed)
    picture += air * density
    lungs = inside > 0
    return picture, lungs, lesion & lungs


def _coordinates(pose: Pose, size: int) -> tuple[Floats, Floats]:
    axis = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
    across, down = axis[None, :], axis[:, None]
    c, s = np.cos(pose.rotation) / pose.magnification, np.sin(pose.rotation) / pose.magnification
    x = c * across + s * down - pose.shift_x
    y = -s * across + c * down - pose.shift_y
    return x.astype(np.float32), y.astype(np.float32)


def _soft(depth: Floats) -> Floats:
    """Turn a signed depth into 0..1 with a soft border."""
    ramp: Floats = np.clip(depth / (2 * EDGE) + 0.5, 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def _lung_depth(lung: Lung, u: Floats, y: Floats) -> Floats:
    """Signed depth inside one lung; `u` is the distance from the midline towards the lung's own side."""
    height = lung.base_y - lung.apex_y
    t = np.clip((y - lung.apex_y) / height, 0, 1.1)
    rise = np.sqrt(np.clip(1 - (1 - np.minimum(t, 1)) ** 2.6, 0, 1))
    fall = np.sqrt(np.clip(1 - (1 - np.minimum(2.2 * t, 1)) ** 2, 0, 1))
    outer = lung.apex_x + (lung.outer - lung.apex_x) * rise
    inner = lung.apex_x - (lung.apex_x - lung.inner) * fall
    across = (u - 0.45 * (lung.inner + lung.outer)) / (0.55 * (lung.outer - lung.inner))
    diaphragm = lung.base_y - lung.dome * (1 - across * across)
    depth: Floats = np.minimum(np.minimum(outer - u, u - inner), np.minimum(diaphragm - y, y - lung.apex_y))
    return depth


def _heart(body: Body, x: Floats, y: Floats) -> Floats:
    cx, cy, rx, ry = body.heart
    dx, dy = x - cx, y - cy
    tilted = dx - 0.35 * dy
    radius = np.sqrt((tilted / rx) ** 2 + (dy / ry) ** 2)
    heart = _soft((1 - radius) * 0.5 * (rx + ry))
    arch = np.sqrt(((x - 0.07) / 0.14) ** 2 + ((y - cy + ry + 0.12) / 0.2) ** 2)
    shadow: Floats = np.maximum(heart, 0.8 * _soft((1 - arch) * 0.15))
    return shadow


def _heart_edge(body: Body, y: float) -> float:
    cx, cy, rx, ry = body.heart
    inside = 1 - ((y - cy) / ry) ** 2
    return float(cx + 0.35 * (y - cy) + rx * np.sqrt(inside)) if inside > 0 else 0.0


def _soft_tissue(body: Body, x: Floats, y: Floats) -> Floats:
    side = np.abs(x)
    shoulders = body.shoulder + 0.42 * np.clip(side - 0.24, 0, 1) ** 1.3
    trunk = _soft(np.minimum(body.trunk - 0.05 * y * y - side, (y - shoulders) * 0.7))
    belly = _soft((y - body.lungs[1].base_y - 0.02) * 0.09)
    middle = np.exp(-((x / 0.19) ** 2))
    sx, sy, radius = body.stomach
    bubble = _soft(radius - np.sqrt((x - sx) ** 2 + 2.5 * (y - sy - radius) ** 2))
    thick = 0.60 - 0.14 * side * side + 0.10 * middle + 0.12 * belly - 0.16 * bubble
    windpipe = 0.14 * np.exp(-(((x + 0.01) / 0.05) ** 2)) * _soft((-0.28 - y) * 0.3)
    tissue: Floats = trunk * (thick - windpipe)
    return tissue


def _bones(body: Body, x: Floats, y: Floats) -> Floats:
    side = np.abs(x)
    cage = _soft(np.minimum(body.lungs[1].outer + 0.05 - side, (body.lungs[1].base_y + 0.12 - y) * 0.12))
    cage = cage * _soft(y - body.lungs[1].apex_y + 0.06)
    behind = (y - 0.55 * side + 0.75 * side * side) / body.rib_spacing + body.rib_phase
    before = (y + 0.30 * side - 0.85 * side * side) / (1.15 * body.rib_spacing) + 0.7 * body.rib_phase
    ribs = _band(behind, 0.17) + 0.45 * _band(before, 0.2) * _soft((side - 0.3) * 0.3)
    level = body.lungs[0].apex_y + 0.16 - 0.18 * side + 0.10 * np.sin(7 * side)
    collar = np.exp(-(((y - level) / 0.035) ** 2)) * _soft(np.minimum(side - 0.08, 0.85 - side) * 0.4)
    disc = 0.75 + 0.25 * np.cos(2 * np.pi * y / 0.16)
    spine = 0.07 * np.exp(-((x / 0.085) ** 2)) * disc
    bones: Floats = (body.rib_strength * cage * ribs + 0.10 * collar + spine * _soft(y + 0.95)).astype(
        np.float32
    )
    return bones


def _band(phase: Floats, width: float) -> Floats:
    """Draw a bright band once a period, with slightly brighter borders as cortical bone has."""
    off = np.abs(phase - np.round(phase)) / width
    band: Floats = np.exp(-(off**4)) * (0.75 + 0.5 * off * off)
    return band


def _vessels(random: np.random.Generator, lungs: tuple[Lung, Lung]) -> Floats:
    """Grow branches from each hilum: straight pieces, thinner and fainter outwards."""
    rows = []
    for sign, lung in zip((-1, 1), lungs, strict=True):
        reach = 0.75 * (lung.outer - lung.inner)
        for angle in np.linspace(-1.25, 1.25, 7) + random.uniform(-0.15, 0.15, 7):
            start = np.array([lung.inner + 0.05, -0.02]) + random.uniform(-0.03, 0.03, 2)
            middle = start + 0.5 * reach * np.array([np.cos(angle), np.sin(angle)])
            rows.append((sign * start[0], start[1], sign * middle[0], middle[1], 0.028, 0.16))
            for turn in random.uniform(0.15, 0.5, 2) * (-1, 1):
                end = middle + 0.45 * reach * np.array([np.cos(angle + turn), np.sin(angle + turn)])
                rows.append((sign * middle[0], middle[1], sign * end[0], end[1], 0.016, 0.10))
    return np.array(rows, dtype=np.float32)


def _vessel_shadow(body: Body, x: Floats, y: Floats) -> Floats:
    # max of strength * exp(-distance^2 / width^2), with one exp after the maximum instead of one a piece
    exponent = np.full(x.shape, -np.inf, dtype=np.float32)
    for x0, y0, x1, y1, width, strength in body.vessels:
        dx, dy = x1 - x0, y1 - y0
        from_x, from_y = x - x0, y - y0
        along = np.clip((from_x * dx + from_y * dy) / (dx * dx + dy * dy), 0, 1)
        squared = (from_x - along * dx) ** 2 + (from_y - along * dy) ** 2
        np.maximum(exponent, np.log(strength) - squared / (width * width), out=exponent)
    shadow: Floats = np.exp(exponent)
    return shadow


def _texture(seed: int, size: int) -> Floats:
    """Fine lung markings: noise on a fixed grid, the same at every picture size."""
    grid = np.random.default_rng(seed).standard_normal((40, 40)).astype(np.float32)
    fine: Floats = ndimage.zoom(grid, size / 40, order=1)
    return fine


def _opacity_density(opacities: tuple[Opacity, ...], x: Floats, y: Floats, seed: int) -> tuple[Floats, Bools]:
    density = np.zeros_like(x)
    lesion = np.zeros(x.shape, dtype=bool)
    random = np.random.default_rng([seed % 2**32, 1])
    for opacity in opacities:
        c, s = np.cos(opacity.angle), np.sin(opacity.angle)
        dx, dy = x - opacity.x, y - opacity.y
        angle = np.arctan2(dy, dx)
        lobes = random.uniform(0, 2 * np.pi, 3)
        edge = 1 + 0.12 * np.sin(2 * angle + lobes[0]) + 0.10 * np.sin(3 * angle + lobes[1])
        edge += 0.06 * np.sin(5 * angle + lobes[2])
        radius = np.hypot((c * dx + s * dy) / opacity.radius_x, (c * dy - s * dx) / opacity.radius_y) / edge
        patch = np.exp(-((radius / 0.95) ** 4) * np.log(2)).astype(np.float32)
        density = np.maximum(density, opacity.amplitude * patch)
        lesion |= patch >= 0.5
    return density, lesion
