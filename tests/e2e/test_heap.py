"""The heap that `tinybft memory` prints before flashing is the one that a board has in use."""

import pytest

from tests.e2e.boards import skip_without_boards
from tools.config import chosen_file, load
from tools.memory import objects
from tools.memory.report import on_board
from tools.virt.heap import measure


@pytest.mark.parametrize("name", ("default",))
def test_the_figure_of_the_configuration_is_that_of_a_board(tmp_path, name):
    skip_without_boards()
    path = chosen_file(None, name)
    config = load(path)
    printed = objects.measured(config)
    found = on_board(config, measure(tmp_path, path))
    remedy = "the code has changed since it was recorded: run `tinybft memory --record`"
    assert printed["exact"] and printed["total"] == found["total"], remedy
