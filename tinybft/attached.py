"""Which node tinybft.repl looks at: so little that every node can have it, repl.py is imported
by those who look. `Node.background` attaches its node; an own main.py may do it too."""

node = None


def attach(one):
    """`one`: a Node, or None."""
    global node
    node = one
