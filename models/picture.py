"""The picture that the models are run on: a mountain lake at sunset, drawn here so that nothing has to be shipped.

Its statistics are those of a photograph (smooth gradients, hard edges, texture at every scale), and every run draws
the same one. It is resized to each model's input.
"""

from __future__ import annotations

import functools
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate, unfold

HEIGHT, WIDTH = 384, 512
HORIZON = 236  # the row where the lake begins

Image = NDArray[np.float64]


def _noise(rng: np.random.Generator, shape: tuple[int, ...], cells: int, roughness: float = 0.5) -> Image:
    """Fractal noise in 1 or 2 dimensions, about -1 to 1: random grids, each finer and weaker than the last."""
    total = np.zeros(shape)
    strength = 1.0
    while cells < min(shape):
        grid = rng.uniform(-1, 1, [cells + 1] * len(shape))
        for axis, length in enumerate(shape):
            place = np.linspace(0, cells, length, endpoint=False)
            low = place.astype(int)
            weight = place - low
            weight = (weight * weight * (3 - 2 * weight)).reshape([-1 if i == axis else 1 for i in range(len(shape))])
            grid = grid.take(low, axis) * (1 - weight) + grid.take(low + 1, axis) * weight
        total += strength * grid
        strength *= roughness
        cells *= 2
    return total * (1 - roughness)


def _paint(canvas: Image, color: Any, cover: Image) -> None:
    """Lays `color` over the canvas where `cover` is 1, and mixes in between."""
    cover = np.clip(cover, 0, 1)[..., None]
    canvas[...] = canvas * (1 - cover) + np.asarray(color) * cover


def _sky(rng: np.random.Generator, row: Image, column: Image) -> Image:
    depth = (row / HORIZON)[..., None]
    sky = np.array([0.16, 0.30, 0.58]) * (1 - depth) + np.array([0.98, 0.66, 0.40]) * depth
    distance = np.hypot(row - 88, column - 372)
    _paint(sky, [1.0, 0.86, 0.55], 0.7 * np.exp(-distance / 60))
    _paint(sky, [1.0, 0.97, 0.86], 22 - distance)
    clouds = _noise(rng, (HORIZON, 2 * WIDTH), 3)[:, ::2] - 0.15
    _paint(sky, [1.0, 0.82, 0.74], 2.2 * clouds * (1 - (row - 60) ** 2 / 16000))
    return sky


def _mountains(rng: np.random.Generator, canvas: Image, row: Image) -> None:
    ranges = (
        (130.0, 60.0, 3, (0.55, 0.48, 0.58)),
        (165.0, 52.0, 4, (0.36, 0.33, 0.44)),
        (205.0, 30.0, 6, (0.15, 0.21, 0.22)),
    )
    for base, height, cells, color in ranges:
        crest = base - height * _noise(rng, (WIDTH,), cells)
        below = row - crest
        texture = 1 + 0.5 * _noise(rng, (HORIZON, WIDTH), 16, 0.7)
        shade = np.array(color) * texture[..., None] * (1 + 0.4 * np.exp(-np.abs(below) / 25))[..., None]
        _paint(canvas, shade, below)
        if base < 180:
            snow = 14 - below + 26 * _noise(rng, (HORIZON, WIDTH), 12, 0.7)
            _paint(canvas, np.array([0.93, 0.88, 0.90]) * texture[..., None], np.minimum(below, snow / 6))


def _lake(rng: np.random.Generator, land: Image) -> Image:
    """The land mirrored, its rows shortened and shaken sideways by waves that grow towards the viewer."""
    rows = np.arange(HEIGHT - HORIZON)
    mirrored = np.clip(HORIZON - 1 - 1.35 * rows, 0, HORIZON - 1).astype(int)[:, None]
    waves = _noise(rng, (len(rows), WIDTH), 8, 0.8) * (2 + 0.12 * rows[:, None])
    shifted = np.clip(np.arange(WIDTH) + 3 * waves, 0, WIDTH - 1).astype(int)
    water = land[mirrored, shifted] * np.array([0.62, 0.70, 0.80])
    _paint(water, [1.0, 0.85, 0.62], (waves - 1.2 - 0.05 * rows[:, None]) / 3)
    return water


def _firs(rng: np.random.Generator, canvas: Image, row: Image, column: Image) -> None:
    """Firs on the near shore: toothed triangles on a dark bank."""
    bank = HEIGHT - 34 - 22 * _noise(rng, (WIDTH,), 3)
    _paint(canvas, [0.05, 0.09, 0.06], row - bank)
    for place in (18.0, 52.0, 84.0, 130.0, 398.0, 446.0, 470.0, 500.0):
        height = rng.uniform(90, 190)
        foot = bank[int(place)] + 8
        below_top = row - (foot - height)
        tooth = (below_top % 13) / 13
        reach = below_top * 0.17 * (0.65 + 0.5 * tooth)
        inside = np.where((below_top > 0) & (row < foot), reach - np.abs(column - place), -1.0)
        green = np.array([0.06, 0.16, 0.10]) * (0.7 + 0.9 * tooth * (column > place))[..., None]
        _paint(canvas, green, inside)


@functools.cache
def picture() -> Image:
    """The picture, float64 (height, width, 3) from 0 to 1."""
    rng = np.random.default_rng(2012)
    row, column = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    land = _sky(rng, row[:HORIZON], column[:HORIZON])
    _mountains(rng, land, row[:HORIZON])
    canvas = np.concatenate([land, _lake(rng, land)])
    _firs(rng, canvas, row, column)
    grain = rng.normal(0, 0.012, canvas.shape)
    result = np.clip(canvas + grain, 0, 1)
    result.flags.writeable = False
    return result


def save_png(path: Path) -> None:
    """Writes the picture as a PNG, 8 bits a channel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = np.round(picture() * 255).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    png = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + png)


def _resized(height: int, width: int, batch: int) -> torch.Tensor:
    """(batch, 3, height, width) from 0 to 1; each item shows a smaller part of the picture, every other mirrored."""
    whole = torch.from_numpy(picture().copy()).permute(2, 0, 1)[None]
    items = []
    for index in range(batch):
        margin = 8 * index % 120
        part = whole[..., margin : HEIGHT - margin, margin : WIDTH - margin]
        item = interpolate(part, (height, width), mode="bilinear", antialias=True, align_corners=False)
        items.append(item.flip(-1) if index % 2 else item)
    return torch.cat(items)


def as_input(shape: tuple[int, ...], pixels: str, batch: int) -> torch.Tensor:
    """The picture as a model takes it, float32 (batch, *shape); `pixels` as in `models.ModelSpec`."""
    if pixels == "patches":
        tokens, features = shape
        side = round(tokens**0.5)
        small = _resized(16 * side, 16 * side, batch)
        patches = unfold((small - small.mean()) / small.std(), 16, stride=16).transpose(1, 2)
        generator = torch.Generator().manual_seed(1)
        embedding = torch.randn(patches.shape[-1], features, generator=generator, dtype=torch.float64)
        return (patches @ embedding / patches.shape[-1] ** 0.5).float()
    _, height, width = shape
    image = _resized(height, width, batch)
    mean = image.mean((0, 2, 3), keepdim=True)
    if pixels == "centered":
        return (255 * (image - mean)).float()
    return ((image - mean) / image.std((0, 2, 3), keepdim=True)).float()
