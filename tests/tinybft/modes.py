"""The ways to store regions, and other test modules run once more in one of them."""

import sys

from tests.tinybft import bench

RAM = {}
MIRROR = {
    "STORAGE_AGREEMENT": "mirror",
    "STORAGE_CHECKPOINT": "mirror",
    "STORAGE_EVENT": "mirror",
    "STORAGE_STATE": "mirror",
}
NVM = {
    "STORAGE_AGREEMENT": "nvm",
    "STORAGE_CHECKPOINT": "mirror",
    "STORAGE_EVENT": "nvm",
    "STORAGE_STATE": "nvm",
}
EARLY = {"READ_ONLY": True, "TENTATIVE": True}
# One kind of bulk field after the other is the only one in the store.
MIXED = (
    dict(MIRROR, STORAGE_AGREEMENT="nvm"),
    dict(MIRROR, STORAGE_EVENT="nvm"),
    dict(MIRROR, STORAGE_STATE="nvm"),
    dict(NVM, STORAGE_STATE="ram"),
)


class in_mode:  # noqa: N801 - read as words: with in_mode(NVM):
    """`make_config` gives configurations of this mode meanwhile, the ready ones included that
    the test modules `remade` have under these names."""

    def __init__(self, mode, *remade):
        self._mode = mode
        self._remade = remade
        self._before = []

    def __enter__(self):
        bench.STORAGE.update(self._mode)
        for module, name, changed in self._remade:
            self._before.append(getattr(module, name))
            setattr(module, name, bench.make_config(**changed))

    def __exit__(self, *_):
        bench.STORAGE.clear()
        for remade, before in zip(self._remade, self._before):  # noqa: B905 - MicroPython
            setattr(remade[0], remade[1], before)


def run_tests(module_name, mode, skipped=(), remade=()):
    """All `test_...` of a portable test module. Says which one failed."""
    __import__(module_name)
    module = sys.modules[module_name]
    made = [(module, name, changed) for name, changed in remade]
    with in_mode(mode, *made):
        for name in sorted(dir(module)):
            if name.startswith("test_") and name not in skipped:
                try:
                    getattr(module, name)()
                except BaseException:
                    print("failed with other storage:", name)
                    raise
