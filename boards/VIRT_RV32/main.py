from hal.boot import boot
from tinybft.apps.kv import KeyValueStore

node = boot(KeyValueStore())
