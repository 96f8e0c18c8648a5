"""`tinybft kv`: talks to a running cluster as an external client."""

import rich_click as click

from tinybft.apps import kv_format
from tinybft.apps.kv_client import KeyValueError
from tools.cluster.client import ExternalClient
from tools.cluster.files import RUN_FOLDER, RunFolder
from tools.cluster.kept import live_pids
from tools.refusal import Refusal


class Store:
    """The key-value store of a running cluster; bytes in, bytes out. Raises Refusal."""

    def __init__(self, client):
        self._client = client
        self._length_max = client.config.REQUEST_LENGTH_MAX
        self._buf = bytearray(self._length_max + 512)

    def ask(self, encode, *arguments, accepted=(kv_format.OK,)):
        """The reply to one operation; a status that is not accepted is a Refusal."""
        try:
            length = encode(self._buf, *arguments)
        except ValueError:
            length = len(self._buf) + 1
        if length > self._length_max:
            octets = sum(len(part) for part in arguments if isinstance(part, bytes))
            raise Refusal(
                f"key and value have {octets} bytes, which do not fit a request of at most"
                f" {self._length_max} (request_length_max); shorten them"
            )
        reply = self._client.ask(self._buf, length)
        if reply[0] not in accepted:
            raise Refusal(str(KeyValueError(reply[0])))
        return reply

    def scan(self, prefix):
        """Yield (key, value or None: too long to come along)."""
        cursor = 0
        while True:
            reply = self.ask(kv_format.encode_scan, prefix, True, cursor)
            yield from _records(reply)
            cursor = int.from_bytes(reply[1:3], "little")
            if not cursor:
                return


def _records(reply):
    at = 3
    while at < len(reply):
        length = int.from_bytes(reply[at + 1 : at + 3], "little")
        end = at + 3 + reply[at]
        key = reply[at + 3 : end]
        at = end if length == kv_format.ABSENT else end + length
        yield key, None if length == kv_format.ABSENT else reply[end:at]


@click.group()
@click.option("--run-dir", default=RUN_FOLDER, show_default=True, help="Folder of the run.")
@click.option("--client", "client_id", type=int, help="Client id. [the last external one]")
@click.option("--keys", "key_path", metavar="FILE", help="Key file. [that of the run]")
@click.pass_context
def kv(ctx, run_dir, client_id, key_path):
    """Read and write the key-value store of a cluster that --keep left running."""
    if ctx.resilient_parsing or "--help" in ctx.args:
        return
    folder = RunFolder(run_dir)
    live_pids(folder)
    config = folder.config()
    if client_id is None:
        client_id = config.CLIENT_COUNT - 1
    client = ctx.with_resource(ExternalClient(folder, config, client_id, key_path))
    ctx.obj = Store(client)


@kv.command()
@click.argument("key")
@click.argument("value")
@click.pass_obj
def put(store, key, value):
    """Store VALUE under KEY."""
    store.ask(kv_format.encode_put, key.encode(), value.encode())


@kv.command()
@click.argument("key")
@click.pass_obj
def get(store, key):
    """Print the value of KEY."""
    reply = store.ask(
        kv_format.encode_get, key.encode(), accepted=(kv_format.OK, kv_format.NOT_FOUND)
    )
    if reply[0] == kv_format.NOT_FOUND:
        _say_missing(key)
    click.echo(reply[1:])


@kv.command()
@click.argument("key")
@click.pass_obj
def delete(store, key):
    """Remove KEY."""
    accepted = (kv_format.OK, kv_format.NOT_FOUND)
    if store.ask(kv_format.encode_delete, key.encode(), accepted=accepted)[0]:
        _say_missing(key)


@kv.command()
@click.argument("key")
@click.argument("number", default=1, type=int)
@click.pass_obj
def increment(store, key, number):
    """Add NUMBER (else 1) to the number under KEY and print the sum."""
    text = str(number).encode()
    click.echo(store.ask(kv_format.encode_increment, key.encode(), text)[1:])


@kv.command()
@click.argument("key")
@click.argument("old")
@click.argument("new")
@click.pass_obj
def cas(store, key, old, new):
    """Store NEW under KEY if it holds OLD; exit code 1 if not."""
    accepted = (kv_format.OK, kv_format.MISMATCH, kv_format.NOT_FOUND)
    octets = [text.encode() for text in (key, old, new)]
    if store.ask(kv_format.encode_cas, *octets, accepted=accepted)[0]:
        click.echo(f"{key}: does not hold {old!r}; unchanged", err=True)
        raise SystemExit(1)


@kv.command()
@click.argument("prefix", default="")
@click.pass_obj
def scan(store, prefix):
    """Print all keys that start with PREFIX, with their values."""
    for key, value in sorted(store.scan(prefix.encode()), key=lambda record: record[0]):
        shown = "(long: get it)" if value is None else value.decode(errors="backslashreplace")
        click.echo(f"{key.decode(errors='backslashreplace')}\t{shown}")


@kv.command()
@click.argument("prefix", default="")
@click.pass_obj
def count(store, prefix):
    """Print how many keys start with PREFIX."""
    reply = store.ask(kv_format.encode_count, prefix.encode())
    click.echo(int.from_bytes(reply[1:3], "little"))


def _say_missing(key):
    click.echo(f"{key}: not there", err=True)
    raise SystemExit(1)
