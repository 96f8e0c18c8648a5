"""A replica of the key-value store. An own application writes the same with its own service."""

from hal.boot import boot
from tinybft.apps.kv import KeyValueStore

node = boot(KeyValueStore())
