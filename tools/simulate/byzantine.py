"""Named behaviours of a faulty replica: {name: function(sim, i)}.

`sim.byzantine(i, "name")` calls the function once; it makes replica `i` behave so from then
on, by means of the scenario interface: `sim.filter_from(i, f)` is `on_frame` for what the device
sends by itself, `sim.send_as` passes by it, `sim.seal` makes the tags. Randomness comes from
`sim.random`.
"""

behaviours = {}
