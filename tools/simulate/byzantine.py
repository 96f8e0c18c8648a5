"""Named behaviours of a faulty replica: {name: function(sim, i)}.

`sim.byzantine(i, "name")` calls the function once; it makes replica `i` behave so from then
on, by means of the scenario interface (mostly `sim.filter_from(i, f)`, which is `on_frame` for
what device `i` sends, and `sim.seal`).
"""

behaviours = {}
