"""`tinybft firmware`: stage the sources, build, say what it takes of flash and RAM."""

import importlib
from pathlib import Path

import rich_click as click
from rich.console import Console
from rich.table import Table

from tools.config import chosen_file, load, summary
from tools.config_sizes import region_totals, static_rows
from tools.firmware import esp32
from tools.firmware.frozen import frozen_files
from tools.firmware.sizes import module_sizes, module_table
from tools.firmware.stage import PLATFORMS, stage


@click.command()
@click.option("--board", type=click.Choice(list(PLATFORMS)), default="TINYBFT_C3")
@click.option("--config", "file", metavar="FILE", help="Instead of config.toml.")
@click.option("--name", metavar="NAMED", help="Take a shipped configuration instead.")
@click.option("--micropython", envvar="MICROPYTHON_DIR", metavar="DIR", help="Its sources.")
@click.option("--idf", envvar="IDF_PATH", metavar="DIR", help="ESP-IDF, for the ESP32-C3.")
@click.option("--mbedtls", envvar="MBEDTLS_DIR", metavar="DIR", help="Its sources, for VIRT_RV32.")
@click.option("--main", metavar="FILE", help="What runs after reset, instead of the board's.")
@click.option(
    "--include", "includes", multiple=True, metavar="FILE_OR_FOLDER", help="Freeze this, too."
)
@click.option("--output", metavar="DIR", help="Instead of build/firmware/BOARD.")
@click.option("--sizes", is_flag=True, help="Only say what each frozen module takes.")
def firmware(board, file, name, micropython, idf, mbedtls, main, includes, output, sizes):
    """Build MicroPython with a replica frozen into it, and say what it takes.

    The board TINYBFT_C3 needs MicroPython 1.29 or newer and ESP-IDF 5.5.2.
    """
    path = chosen_file(file, name)
    config = load(path)
    output = Path(output or f"build/firmware/{board}").absolute()
    console = Console()
    toolchain = None
    if board == "TINYBFT_C3" and not sizes:
        esp32.require_radio(config, path)
        toolchain = esp32.toolchain(micropython, idf)
    manifest = stage(output / "source", path, board, main, includes)
    rows = module_sizes(frozen_files(manifest))
    if sizes:
        console.print(module_table(rows))
        return
    click.echo(f"{output}: building {summary(config)}")
    if board == "TINYBFT_C3":
        taken = esp32.build(toolchain, manifest, output, config)
    else:
        virt = importlib.import_module("tools.firmware.virt")
        taken = virt.build(micropython, mbedtls, manifest, output, config)
    taken["flash: the frozen modules of it, about"] = sum(row[1] for row in rows)
    regions = sum(region_totals(static_rows(config)).values())
    taken[f"heap: static regions, {100 * regions / config.RAM_MAX:.0f} % of ram_max"] = regions
    console.print(_table(board, taken))


def _table(board, taken):
    table = Table(title=f"Firmware {board}", title_justify="left")
    table.add_column("")
    table.add_column("bytes", justify="right")
    for what in sorted(taken):
        table.add_row(what, str(taken[what]))
    return table
