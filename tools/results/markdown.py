"""Tables and numbers of a Markdown document."""


def table(columns, rows):
    """The lines of a table; the first column is words, the others are numbers."""
    lines = [_line(columns), _line(["---", *("---:" for _ in columns[1:])])]
    return [*lines, *(_line(row) for row in rows), ""]


def _line(cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def number(value, digits=0):
    """With a thin space between thousands; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return f"{value:,.{digits}f}".replace(",", " ")


def middle(figures, digits=0):
    """The median of a spread (tools/bench/figures.py), with its range if it has one."""
    if not figures:
        return ""
    text = number(figures["median"], digits)
    if len(figures["runs"]) < 2:
        return text
    return f"{text} ({number(figures['min'], digits)}..{number(figures['max'], digits)})"


def judged(met):
    return "" if met is None else "met" if met else "missed"
