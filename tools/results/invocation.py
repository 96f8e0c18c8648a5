"""The command line of a measurement, as its document repeats it."""

import shlex

from click.core import ParameterSource

PLACES = ("output", "run_dir", "as_json")  # where to, not what


def command_line(ctx):
    """`tinybft ...` of a click context: what was given, without places of one's own."""
    names = []
    above = ctx
    while above.parent:
        names.insert(0, above.info_name)
        above = above.parent
    words = ["tinybft", *names]
    for param in ctx.command.params:
        given = ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE
        if given and param.name not in PLACES:
            words += _words(param, ctx.params[param.name])
    return shlex.join(words)


def _words(param, value):
    """One option, spelled out; several of them where it may be given several times."""
    if isinstance(value, bool):
        return [param.opts[0] if value else (param.secondary_opts or param.opts)[0]]
    if param.multiple:
        return [word for one in value for word in (param.opts[0], str(one))]
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    return [param.opts[0], str(value)] if param.opts[0].startswith("-") else [str(value)]
