"""Plots of results as SVG files; matplotlib is imported only here, and only when one is drawn.

All of one look: a series has the same colour in every plot that names the same series first.
The same figures give the same file, byte for byte.
"""

from contextlib import contextmanager

from tools.refusal import Refusal

SIZE_INCHES = (7.2, 4.2)
COLOURS = ("#0b6e99", "#d9822b", "#5a8f3d", "#9b4f96", "#7a7a7a", "#b03a2e")
MARKERS = "os^Dvx"


def require_matplotlib():
    """The module matplotlib, set up for files; raises Refusal when it is not installed."""
    try:
        import matplotlib
    except ImportError:
        raise Refusal(
            "matplotlib is not installed: there are figures, but no plots;"
            " `pip install -e '.[bench]'` brings it, --no-plots does without"
        ) from None
    matplotlib.use("svg")
    return matplotlib


def latency_against_throughput(path, title, curves):
    """curves: {label: [(operations per second, ms), ...]} in the order of rising load."""
    lines(path, title, curves, ("operations per second", "latency, ms"))


def lines(path, title, curves, axes, logarithmic="", references=()):
    """curves: {label: [(x, y), ...]}; axes: (words at x, words at y).

    logarithmic: "", "x", "y" or "xy"; references: [(y, words), ...], drawn as dashed lines.
    """
    with _figure(path, title) as plot:
        for i, (label, points) in enumerate(curves.items()):
            xs, ys = zip(*points, strict=True) if points else ((), ())
            look = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
            plot.plot(xs, ys, label=label, markersize=4, linewidth=1.4, **look)
        plot.set_xlabel(axes[0])
        plot.set_ylabel(axes[1])
        if "x" in logarithmic:
            plot.set_xscale("log")
            ticks = sorted({x for points in curves.values() for x, _ in points})
            plot.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            plot.minorticks_off()
        if "y" in logarithmic:
            plot.set_yscale("log")
        else:
            plot.set_ylim(bottom=0)
        _references(plot, references)
        plot.legend(frameon=False, fontsize=8)


def bars(path, title, groups, words, references=()):
    """groups: {words at x: {series: value, or (median, least, most)}}; words at y.

    (median, least, most) draws the range as a whisker; None draws nothing.
    """
    series = list(dict.fromkeys(name for group in groups.values() for name in group))
    width = 0.8 / max(1, len(series))
    with _figure(path, title) as plot:
        for i, name in enumerate(series):
            at, heights, ranges = [], [], ([], [])
            for x, group in enumerate(groups.values()):
                value = group.get(name)
                if value is None:
                    continue
                middle, least, most = value if isinstance(value, tuple) else (value,) * 3
                at.append(x + (i - (len(series) - 1) / 2) * width)
                heights.append(middle)
                ranges[0].append(middle - least)
                ranges[1].append(most - middle)
            colour = COLOURS[i % len(COLOURS)]
            plot.bar(at, heights, width * 0.92, label=name, color=colour)
            for x, height, above in zip(at, heights, ranges[1], strict=True):
                place = (x, height + above)
                plot.annotate(
                    _shown(height), place, (0, 2), textcoords="offset points", ha="center", size=7
                )
            if any(ranges[0]) or any(ranges[1]):
                plot.errorbar(at, heights, ranges, fmt="none", ecolor="black", elinewidth=0.8)
        plot.set_xticks(range(len(groups)), list(groups), fontsize=8)
        plot.set_ylabel(words)
        plot.margins(y=0.12)
        _references(plot, references)
        plot.legend(frameon=False, fontsize=8)


def _shown(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _references(plot, references):
    for y, words in references:
        plot.axhline(y, color="black", linewidth=0.8, linestyle="--")
        plot.annotate(
            words,
            (1, y),
            (-3, 2),
            ("axes fraction", "data"),
            "offset points",
            ha="right",
            fontsize=7,
        )


@contextmanager
def _figure(path, title):
    """The axes of a new plot, which is written to `path` at the end; raises Refusal."""
    matplotlib = require_matplotlib()
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "tinybft"}):
        figure = Figure(SIZE_INCHES, layout="constrained")
        plot = figure.add_subplot()
        plot.set_title(title, fontsize=10)
        plot.spines[["top", "right"]].set_visible(False)
        plot.grid(axis="y", linewidth=0.4, alpha=0.6)
        plot.tick_params(labelsize=8)
        yield plot
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, format="svg", metadata={"Date": None})
        except OSError as error:
            raise Refusal(
                f"{path}: cannot be written ({error.strerror}); choose another --output"
            ) from error
