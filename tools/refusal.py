"""What every subcommand raises when its input is bad: lines for a person, exit code 2."""


class Refusal(Exception):
    """One or more complaints, each complete in itself: place, rule, values, remedy."""

    def __init__(self, *lines):
        super().__init__("\n".join(lines))
        self.lines = lines
