"""Draws the figures of the tutorial from the variables of its code blocks: `python docs/tutorial/draw.py`.

The figures are SVG without any library, so that they are the same on every machine and can be compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent
# Okabe and Ito's colours, which the colour-blind tell apart.
GREEN, BLUE, ORANGE, RED, GREY = "#009e73", "#0072b2", "#e69f00", "#d55e00", "#8a9099"


def variables_of(page: str) -> dict[str, Any]:
    """Run the code blocks of a page from the top down and return their variables."""
    names: dict[str, Any] = {"__name__": "tutorial"}
    for block in re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        exec(compile(block, "tutorial", "exec"), names)
    return names


def svg(width: int, height: int, parts: Sequence[str]) -> str:
    """Return a figure of these parts on a white ground."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
    style = 'font-family="sans-serif" font-size="13" text-anchor="middle">'
    ground = f'<rect width="{width}" height="{height}" fill="white"/>'
    return head + style + "\n" + "\n".join([ground, *parts]) + "\n</svg>\n"


def cell(x: float, y: float, size: float, text: str, fill: str = "white") -> str:
    """Return a square with a text in its middle."""
    square = f'<rect x="{x:g}" y="{y:g}" width="{size:g}" height="{size:g}" fill="{fill}" stroke="{GREY}"/>'
    return f'{square}<text x="{x + size / 2:g}" y="{y + size / 2 + 5:g}">{text}</text>'


def label(x: float, y: float, text: str, anchor: str = "middle") -> str:
    """Return a text."""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{text}</text>'


def line(points: Sequence[tuple[float, float]], colour: str, dashes: str = "") -> str:
    """Return a line through points."""
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'


def shade(value: float) -> str:
    """Return a blue, the darker the larger the value from 0 to 1."""
    part = max(0.0, min(1.0, value))
    return "#" + "".join(f"{round(255 - part * (255 - end)):02x}" for end in (90, 160, 215))


def across(names: Mapping[str, Any]) -> str:
    """For each of four channels, which channels are added up, and what 1 becomes."""
    parts = []
    for channel, neighbours in names["neighbours"].items():
        top = 30 + 46 * channel
        for other in range(names["N"]):
            fill = ORANGE if other == channel else "#ffe3ad" if other in neighbours else "white"
            parts.append(cell(120 + 46 * other, top, 40, str(other), fill))
        value = names["across"][0, channel, 0, 0]
        sums = " + ".join(["1²"] * len(neighbours))
        parts.append(label(60, top + 25, f"channel {channel}"))
        parts.append(label(330, top + 25, f"1 / ({sums}) = {value:.4g}", "start"))
    return svg(520, 220, parts)


def within(names: Mapping[str, Any]) -> str:
    """How many cells the window has at each place of the map."""
    window = names["window"]
    parts = [
        cell(20 + 36 * column, 20 + 36 * row, 36, str(window[row, column]), shade(window[row, column] / 14))
        for row in range(8)
        for column in range(8)
    ]
    for row, column, high, wide in ((0, 0, 2, 2), (0, 3, 2, 3), (3, 3, 3, 3)):
        top, left = 20 + 36 * max(row - 1, 0), 20 + 36 * max(column - 1, 0)
        box = f'width="{36 * wide}" height="{36 * high}" fill="none" stroke="{RED}" stroke-width="3"'
        parts.append(f'<rect x="{left}" y="{top}" {box}/>')
    return svg(330, 330, parts)


def k(names: Mapping[str, Any]) -> str:
    """The answer to one active channel for several values of k."""
    parts = [
        line([(50, 20), (50, 230), (540, 230)], GREY),
        label(295, 262, "activation"),
        label(50, 14, "answer", "start"),
    ]
    for (value, answer), colour in zip(names["answers"].items(), (RED, ORANGE, BLUE), strict=True):
        points = [(50 + 80 * x, 230 - 100 * y) for x, y in zip(names["x"], answer, strict=True) if 230 - 100 * y > 20]
        parts.append(line(points, colour, "" if value else "6 3"))
    for place, (value, colour) in enumerate(zip(names["answers"], (RED, ORANGE, BLUE), strict=True)):
        parts.append(line([(400, 40 + 22 * place), (430, 40 + 22 * place)], colour, "" if value else "6 3"))
        parts.append(label(440, 45 + 22 * place, f"k = {value:g}", "start"))
    parts += [label(50 + 80 * tick, 246, str(tick)) for tick in range(7)]
    return svg(560, 275, parts)


def shift(names: Mapping[str, Any]) -> str:
    """What a hidden layer sees of a dark and of a bright batch, without and with batch normalization."""
    parts = []
    for place, (name, values) in enumerate(names["seen"].items()):
        left = 20 + 290 * place
        reach = max(float(np.abs(np.quantile(each, [0.01, 0.99])).max()) for each in values)
        parts.append(line([(left, 190), (left + 260, 190)], GREY))
        for each, colour in zip(values, (BLUE, ORANGE), strict=True):
            counts, edges = np.histogram(each, bins=60, range=(-reach, reach))
            heights = 150 * counts / max(int(counts.max()), 1)
            middle = (edges[:-1] + edges[1:]) / 2
            points = [(left + 130 + 128 * x / reach, 190 - y) for x, y in zip(middle, heights, strict=True)]
            parts.append(line(points, colour, "" if colour == BLUE else "6 3"))
        parts.append(label(left + 130, 20, name))
        parts.append(label(left, 208, f"{-reach:.2g}", "start"))
        parts.append(label(left + 260, 208, f"{reach:.2g}", "end"))
    parts += [line([(150, 232), (180, 232)], BLUE), label(188, 237, "dark batch", "start")]
    parts += [line([(330, 232), (360, 232)], ORANGE, "6 3"), label(368, 237, "bright batch", "start")]
    return svg(590, 250, parts)


def statistics(names: Mapping[str, Any]) -> str:
    """The 64 means of a batch of three, and the four means per channel."""
    mean, each = names["mean"], names["channel_mean"]
    low, reach = float(mean.min()), float(mean.max() - mean.min())

    def valued(x: float, y: float, value: float) -> str:
        return cell(x, y, 38, f"{value:.1f}", shade((value - low) / reach))

    parts = []
    for channel in range(4):
        left = 20 + 170 * channel
        parts.append(label(left + 76, 18, f"channel {channel}"))
        for row in range(4):
            for column in range(4):
                parts.append(valued(left + 38 * column, 28 + 38 * row, float(mean[channel, row, column])))
        parts.append(valued(left + 57, 200, float(each[channel])))
    parts.append(label(350, 260, "above: a mean for each of 64 positions, over 3 samples; below: one for each channel"))
    return svg(700, 275, parts)


FIGURES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "across": across,
    "within": within,
    "k": k,
    "shift": shift,
    "statistics": statistics,
}

if __name__ == "__main__":
    names = variables_of((FOLDER / "normalization.md").read_text(encoding="utf-8"))
    for name, draw in FIGURES.items():
        (FOLDER / "figures" / f"{name}.svg").write_text(draw(names), encoding="utf-8")
