"""The file behind the store: zeros at first, what is written stays, bounds hold."""

import os

from hal.filestore import FileStore, StoreError
from tests.hal.support import bytes_allocated, raises, temporary_path


def with_file(test):
    path = temporary_path("store")
    try:
        test(path)
    finally:
        os.remove(path)


def content(path):
    with open(path, "rb") as file:
        return file.read()


def test_new_store_is_zero():
    def check(path):
        store = FileStore(path, 100)
        buf = bytearray(b"\xa5" * 100)
        store.read_into(0, buf, len(buf))
        assert buf == bytes(100) and store.size == 100
        store.close()

    with_file(check)


def test_write_is_with_the_kernel_when_it_returns():
    def check(path):
        store = FileStore(path, 16)
        store.write(3, b"abcdef", 4)
        assert content(path) == b"\0\0\0abcd" + bytes(9)
        store.write(15, bytearray(b"z"), 1)
        store.write(16, b"", 0)
        assert content(path)[15:] == b"z"
        store.close()
        again = FileStore(path, 16)
        buf = bytearray(5)
        again.read_into(2, buf, len(buf))
        assert buf == b"\0abcd"
        again.close()

    with_file(check)


def test_outside_of_the_store():
    def check(path):
        store = FileStore(path, 16)
        for address, length in ((-1, 1), (16, 1), (9, 8), (0, 17), (1000, 1), (3, -1)):
            raises(ValueError, store.write, address, bytes(32), length)
        for address, length in ((-1, 1), (16, 1), (9, 8), (0, 17)):
            raises(ValueError, store.read_into, address, bytearray(32), length)
        raises(ValueError, store.write, 0, bytes(3), 4)
        assert content(path) == bytes(16)
        store.close()

    with_file(check)


def test_file_of_another_size():
    def check(path):
        FileStore(path, 16).close()
        text = str(raises(StoreError, FileStore, path, 32))
        assert "has 16 bytes, must have 32; remove it" in text

    with_file(check)


def test_folder_that_is_not_there():
    path = temporary_path("none") + "/store"
    assert path in str(raises(StoreError, FileStore, path, 16))


def test_store_allocates_nothing():
    def check(path):
        store = FileStore(path, 64)
        buf = bytearray(16)

        def use():
            store.write(5, buf, 9)
            store.read_into(5, buf, len(buf))

        assert bytes_allocated(use) == 0
        store.close()

    with_file(check)
