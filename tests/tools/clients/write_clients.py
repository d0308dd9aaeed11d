"""The clients of QuestDB and InfluxDB against forebay's /write, for tests/it/write_clients.rs.

Each subcommand says what it did as one JSON object a line on standard output.
"""

import json
import sys
import time
import warnings

warnings.filterwarnings("ignore")


def say(**what):
    print(json.dumps(what), flush=True)


def questdb_sender(address, token, extra=""):
    from questdb import Sender

    return Sender.from_conf(f"http::addr={address};token={token};auto_flush=off;retry_timeout=30000;{extra}")


def questdb_rows(address, token, table, count):
    """Batches of ten rows; a flush that fails is tried again with the same rows, as a program with a deadline of its own would."""
    from questdb import QuestDBError, TimestampNanos

    count = int(count)
    base = time.time_ns() - 3600 * 10**9
    with questdb_sender(address, token) as sender:
        buffer = sender.new_buffer()
        for start in range(0, count, 10):
            for n in range(start, start + 10):
                buffer.row(
                    table,
                    symbols={"device": f"dev {n % 5}", "site": "a,b=c\\"},
                    columns={"n": n, "x": n / 7, "ok": n % 2 == 0, "note": 'say "hi"\n'},
                    at=TimestampNanos(base + n * 1_000_000),
                )
            deadline = time.monotonic() + 60
            while True:
                try:
                    # Without clear=False a flush that fails forgets its rows.
                    sender.flush(buffer, clear=False)
                    buffer.clear()
                    break
                except QuestDBError as error:
                    if time.monotonic() > deadline:
                        raise
                    say(error=str(error))
                    time.sleep(0.05)
            say(flushed=start + 10)


def questdb_bad(address, token, table):
    """One row of three lies far in the future."""
    from questdb import QuestDBError, TimestampNanos

    now = time.time_ns()
    with questdb_sender(address, token) as sender:
        for at in [now, now + 10**18, now]:
            sender.row(table, symbols={"device": "d"}, columns={"x": 1.0}, at=TimestampNanos(at))
        try:
            sender.flush()
            say(error=None)
        except QuestDBError as error:
            say(error=str(error))


def influx_v2(address, token, table):
    from influxdb_client import InfluxDBClient, Point, WritePrecision
    from influxdb_client.client.write_api import SYNCHRONOUS

    now = int(time.time() * 1000)
    for gzip in [False, True]:
        with InfluxDBClient(url=f"http://{address}", token=token, org="o", enable_gzip=gzip) as client:
            say(ping=client.ping(), health=client.health().status, bucket=client.buckets_api().find_bucket_by_name("b").name)
            api = client.write_api(write_options=SYNCHRONOUS)
            points = [
                Point(table).tag("device", f"d {gzip}").field("n", n).field("x", n / 2).field("text", 'a "b"').time(now + n, WritePrecision.MS)
                for n in range(500)
            ]
            api.write(bucket="b", record=points, write_precision=WritePrecision.MS)
            say(written=len(points))
            try:
                api.write(bucket="b", record=f"{table},device=d x=1\n{table},device=d x=")
                say(error=None)
            except Exception as error:
                say(error=f"{type(error).__name__} {getattr(error, 'status', '')} {getattr(error, 'message', error)}")


def influx_v1(address, token, table):
    from influxdb import InfluxDBClient

    host, port = address.split(":")
    client = InfluxDBClient(host=host, port=int(port), username="anybody", password=token, database="d", gzip=True)
    say(ping=client.ping())
    client.create_database("d")
    say(databases=client.get_list_database())
    try:
        client.query("SELECT * FROM d")
        say(query=None)
    except Exception as error:
        say(query=str(error))
    now = int(time.time())
    points = [
        {"measurement": table, "tags": {"device": "d"}, "time": now - n, "fields": {"x": n / 2, "ok": True, "n": n}} for n in range(500)
    ]
    client.write_points(points, time_precision="s")
    say(written=len(points))
    try:
        client.write(["t x="], {"db": "d"}, protocol="line")
        say(error=None)
    except Exception as error:
        say(error=f"{type(error).__name__} {error}")


if __name__ == "__main__":
    {
        "questdb-rows": questdb_rows,
        "questdb-bad": questdb_bad,
        "influx-v2": influx_v2,
        "influx-v1": influx_v1,
    }[sys.argv[1]](*sys.argv[2:])
