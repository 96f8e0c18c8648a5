"""Repeated measurements: medians and ranges, and ratios that are taken within one repetition."""

from statistics import median


def spread(values):
    """{median, min, max, runs} of what was measured in each repetition; None without any."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {
        "median": rounded(median(known)),
        "min": rounded(min(known)),
        "max": rounded(max(known)),
        "runs": [rounded(value) for value in known],
    }


def ratios(ours, theirs):
    """The spread of ours / theirs, repetition by repetition: what slows the machine slows both."""
    pairs = zip(ours, theirs, strict=True)
    return spread([a / b if a is not None and b else None for a, b in pairs])


def rounded(value):
    """Four significant digits are more than such a measurement has."""
    return float(f"{value:.4g}")


def median_of(figures, digits=0):
    """For a column of a table."""
    return "-" if figures is None else f"{figures['median']:.{digits}f}"


def range_of(figures, digits=0):
    """From the least to the most, for a column of a table; empty after a single repetition."""
    if figures is None or len(figures["runs"]) == 1:
        return ""
    return f"{figures['min']:.{digits}f}..{figures['max']:.{digits}f}"


def whisker(figures):
    """(median, min, max) for a plot, None when it was not measured."""
    return figures and (figures["median"], figures["min"], figures["max"])


def plural(count):
    """So many clients, in words."""
    return f"{count} client{'s' if count > 1 else ''}"
