"""Draw time to first token and cold start. Needs only matplotlib.

python tests/benchmarks/plot.py result.json docs/benchmarks.png
"""

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
from matplotlib import pyplot as plt

SHOWN = (
    ("added to first content, over uvicorn, model at 60 ms", "added to the first token, ms"),
    ("cold start: process to first poll", "cold start to the first poll, ms"),
    ("cold first token: process to first content, model at 60 ms", "cold start to first token, ms"),
)
OURS, OTHERS = "#1f6feb", "#9aa4af"


def draw(result: Path, picture: Path) -> None:
    """Draw a row of bars for each figure, with the middle half of the measurements."""
    figures = {each["figure"]: each for each in json.loads(result.read_text())["figures"]}
    shown = [(figures[name], title) for name, title in SHOWN if name in figures]
    _, axes = plt.subplots(1, len(shown), figsize=(3.6 * len(shown), 2.4), squeeze=False)
    for axis, (figure, title) in zip(axes[0], shown, strict=True):
        sorted_medians = sorted(figure["medians"].items(), key=lambda each: -each[1])
        names, medians = zip(*sorted_medians, strict=True)
        quartiles = [figure["quartiles"][name] for name in names]
        low = [max(0, m - q[0]) for m, q in zip(medians, quartiles, strict=True)]
        high = [max(0, q[1] - m) for m, q in zip(medians, quartiles, strict=True)]
        colours = [OURS if name == "ours" else OTHERS for name in names]
        axis.barh(names, medians, xerr=[low, high], color=colours, height=0.6, ecolor="#57606a")
        axis.set_title(title, fontsize=9, loc="left")
        axis.tick_params(labelsize=8)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    plt.tight_layout()
    plt.savefig(picture, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
