"""Runs on MicroPython with its prompt behind a terminal: a group in whose node somebody looks.

    micropython -i tests/tools/live_board.py NODE_ID [MODE]

MODE "stuck": two replicas are silent and a request waits; "busy": a program runs in the
foreground and never comes back; "empty": no node runs.
"""

import sys

import tinybft.repl as t
from tests.tinybft.group import Group
from tests.tinybft.scenes import Recorder, small_config

node_id = int(sys.argv[1])
mode = sys.argv[2] if len(sys.argv) > 2 else ""
group = Group(small_config(), Recorder)
for number in range(5):
    group.execute(4, b"op%d" % number)
group.run(2000)
node = group.nodes[node_id]
node.hal.wait = group.run
if mode != "empty":
    t.attach(node)
if mode == "stuck":
    group.crash(2)
    group.crash(3)
    node.start(b"stuck")
    group.run(300)
while mode == "busy":
    pass
