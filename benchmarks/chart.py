"""Draw the chart; runs in an environment of its own, and is given a Chart as JSON on its stdin."""

from __future__ import annotations

import itertools
import json
import sys
from typing import Any, TypedDict

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

COLUMNS = 2
WIDTH, BAR, GAP = 4.6, 0.17, 1.0  # inches, inches, bars
COLOURS = ("#1a7f37", "#d0d7de", "#8c959f", "#bf8700", "#cf222e", "#8250df", "#0969da")


class Group(TypedDict):
    """The contenders at one job."""

    label: str
    bars: list[tuple[str, float]]


class Panel(TypedDict):
    """The jobs in one setting."""

    title: str
    groups: list[Group]


COLOURS = ("#1a7f37", "#6e7781", "#afb8c1", "#bf8700", "#0969da", "#cf222e", "#8250df")


class Chart(TypedDict):
    """All of it; contenders have their colours in the order of `names`."""

    names: list[str]
    panels: list[Panel]


def draw(chart: Chart, file: str) -> None:
    """Panels side by side, a group of bars for each job, seconds on a log scale."""
    # Text as text, and the same bytes for the same data.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "benchmarks", "font.size": 8})
    panels = chart["panels"]
    colours = dict(zip(chart["names"], itertools.cycle(COLOURS), strict=False))
    columns = min(COLUMNS, len(panels))
    lines = [panels[first : first + columns] for first in range(0, len(panels), columns)]
    rooms = [max(map(_bars, line)) for line in lines]
    heights = [BAR * room + 0.7 for room in rooms]
    figure = Figure(figsize=(WIDTH * columns, sum(heights)), layout="constrained")
    grid = figure.subplots(len(lines), columns, squeeze=False, height_ratios=heights)
    for index, (axes, panel) in enumerate(itertools.zip_longest(grid.flat, panels)):
        if panel:
            _draw_panel(axes, panel, colours, rooms[index // columns])
        else:
            axes.set_axis_off()
    figure.savefig(file, format="svg", metadata={"Date": None})


def _bars(panel: Panel) -> float:
    return sum(len(group["bars"]) + GAP for group in panel["groups"])


def _draw_panel(axes: Any, panel: Panel, colours: dict[str, str], room: float) -> None:
    place, ticks, longest = 0.0, [], 0.0
    for group in panel["groups"]:
        first = place
        for name, seconds in group["bars"]:
            axes.barh(place, seconds, height=0.85, color=colours[name])
            axes.text(seconds * 1.05, place, f"{name}  {seconds:.2f} s", va="center", fontsize=7)
            longest = max(longest, seconds)
            place += 1
        ticks.append(((first + place - 1) / 2, group["label"]))
        place += GAP
    axes.set_yticks([where for where, _ in ticks], [label for _, label in ticks])
    axes.set_ylim(room - GAP, -GAP)  # downwards, and bars of all panels equally thick
    axes.set_xscale("log")
    axes.set_xlim(0.1, longest * 8)  # room for the words
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} s"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title(panel["title"], loc="left", fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_axisbelow(True)
    axes.grid(axis="x", color="#d8dee4", linewidth=0.6)


if __name__ == "__main__":
    draw(json.load(sys.stdin), sys.argv[1])
