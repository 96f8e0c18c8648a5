"""A display beside the door, replica and client in one. At its prompt: book(3, 14)."""

from booking import BOOK, CANCEL, LOOK, Booking

from hal.boot import boot

node = boot(Booking())


def ask(verb, room, hour):
    return node.call(bytes((verb, room, hour)))[0] - 1  # node id, -1: nobody


def book(room, hour):
    return ask(BOOK, room, hour) == node.node_id


def cancel(room, hour):
    return ask(CANCEL, room, hour) == -1


def holder(room, hour):
    return ask(LOOK, room, hour)
