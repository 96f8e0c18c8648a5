"""The key file: what is read, and which message each mistake gets."""

import json
import os

from hal.keys import KeyFileError, load_keys
from tests.hal.support import raises, temporary_path
from tests.hal.test_keys import CONFIG, table_of


def test_files():
    path = temporary_path("key")
    assert "cannot be read" in str(raises(KeyFileError, load_keys, path, CONFIG))
    try:
        for content in ('{"format": 1', "", "\x00\xff"):
            with open(path, "w") as file:
                file.write(content)
            assert "is not JSON" in str(raises(KeyFileError, load_keys, path, CONFIG))
        with open(path, "wb") as file:
            file.write(b"\xff\xfe\x80")
        assert "is not text" in str(raises(KeyFileError, load_keys, path, CONFIG))
        with open(path, "w") as file:
            json.dump(table_of(3), file)
        assert load_keys(path, CONFIG)[0] == 3
    finally:
        os.remove(path)
