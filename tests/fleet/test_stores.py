"""Captures in an object store: a real S3 protocol over HTTP, spoken by moto's server on loopback."""

import itertools
import os
from pathlib import PurePosixPath

import pytest
from fleet_runs import CLEAN, LOST, tree
from small_dumps import END, FIRST, OFF, PORT, dump

from analyzer.errors import AritraceError
from analyzer.fleet import stores

_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def endpoint():
    import warnings

    with warnings.catch_warnings():
        # moto's and its server's own affairs.
        warnings.simplefilter("ignore")
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint, monkeypatch):
    """A fresh bucket; ``put(key, bytes)`` fills it."""
    import obstore
    from obstore.store import S3Store

    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    name = f"captures-{next(_NUMBERS)}"
    store = S3Store(name, client_options={"allow_http": True})
    _create(endpoint, name)
    stores._store.cache_clear()

    class Bucket:
        url = f"s3://{name}"

        def put(self, key, content):
            obstore.put(store, key, content)

        def delete(self, key):
            obstore.delete(store, key)

    return Bucket()


def _create(endpoint, name):
    from urllib.request import Request, urlopen

    with urlopen(Request(f"{endpoint}/{name}", method="PUT")) as answer:  # noqa: S310 http on loopback
        assert answer.status == 200


def test_objects_below_a_prefix_with_their_sidecars(fleet, bucket):
    bucket.put("fleet/node1/lost.bin", LOST.read_bytes())
    bucket.put("fleet/node1/lost.preserved", b"0000:03:00.0, 0000:03:01.0")
    bucket.put("fleet/node2/clean.bin", CLEAN.read_bytes())
    bucket.put("fleet/.hidden/clean.bin", CLEAN.read_bytes())
    bucket.put("fleet/node2/clean.toml", b"")
    bucket.put("fleet/node2/empty.bin", b"")
    bucket.put("fleet2/other.bin", CLEAN.read_bytes())
    status, _, err = fleet("run", f"{bucket.url}/fleet", "-o", fleet.out, "--host-from-path", "node[0-9]+")
    assert status == 0, err
    captures = fleet.rows("captures")
    assert [(row["path"], row["outcome"], row["host"]) for row in captures] == [
        (f"{bucket.url}/fleet/node1/lost.bin", "ok", "node1"),
        (f"{bucket.url}/fleet/node2/clean.bin", "ok", "node2"),
        (f"{bucket.url}/fleet/node2/empty.bin", "unreadable", "node2"),
    ]
    assert captures[0]["files"][0]["path"] == captures[0]["path"]
    assert all(row["etag"] for row in captures)
    evidence = [one["file"] for row in fleet.rows("bridges") for one in row["evidence"] if one["access"]]
    assert evidence
    assert {PurePosixPath(file).parts[1] for file in evidence} == {bucket.url[5:]}


@pytest.mark.parametrize("source", ["log.zst", "*.zst"])
def test_a_sidecar_of_an_object_counts(fleet, bucket, source):
    """Named alone it is looked for when the object is fetched, below a prefix when that is listed."""
    bucket.put("log.zst", (LOST.parent / "formats" / "qemu-log-dialect-c.log.zst").read_bytes())
    bucket.put("log.preserved", b"0000:03:00.0")
    assert fleet("run", f"{bucket.url}/{source}", "-o", fleet.out)[0] == 0
    (row,) = fleet.rows("kexecs")
    assert row["preserved_source"] == "sidecar"


def test_a_damaged_sidecar_is_told_by_its_url(fleet, bucket):
    bucket.put("one.bin", LOST.read_bytes())
    bucket.put("one.preserved", b"not an address")
    assert fleet("run", bucket.url, "-o", fleet.out)[0] == 0
    (row,) = fleet.rows("captures")
    assert row["outcome"] == "unreadable"
    (problem,) = fleet.rows("errors")
    assert problem["file"] == f"{bucket.url}/one.preserved"
    assert "aritrace-fleet" not in problem["message"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.bin", ["a.bin"]),
        ("x/*.bin", ["x/b.bin"]),
        ("**/*.bin", ["a.bin", "x/b.bin", "x/y/c.bin"]),
        ("x/**/[bc].bin", ["x/b.bin", "x/y/c.bin"]),
        ("?.bin", ["a.bin"]),
        # Sidecars and .toml files without their capture are what the pattern names.
        ("x/y/*", ["x/y/c.bin", "x/y/c.log", "x/y/d.dmesg", "x/y/e.toml"]),
        ("x/y/*.dmesg", ["x/y/c.bin.dmesg", "x/y/d.dmesg"]),
    ],
)
def test_globs_over_objects(bucket, pattern, found):
    for key in ("a.bin", "x/b.bin", "x/y/c.bin", "x/y/c.log", "x/y/c.bin.dmesg", "x/y/d.dmesg", "x/y/e.toml"):
        bucket.put(key, b"x")
    entries = stores.entries(f"{bucket.url}/{pattern}")
    assert sorted(entry.name for entry in entries) == [f"{bucket.url}/{key}" for key in found]


def test_a_sidecar_without_a_capture_below_a_prefix_is_a_row(bucket):
    for key in ("x/a.bin", "x/a.dmesg", "x/a.toml", "x/b.flb", "x/b.toml", "y/a.preserved"):
        bucket.put(key, b"x")
    entries = stores.entries(f"{bucket.url}/x")
    assert sorted(entry.name for entry in entries) == [f"{bucket.url}/x/a.bin", f"{bucket.url}/x/b.flb"]


def test_odd_keys_are_fetched_and_named_as_they_are(fleet, bucket):
    keys = ["a b.bin", "p%20q.bin", "q?x=1#y.bin", "'; --.bin", "\u00fcml\u00e4ut.bin", "dot../x.bin"]
    for key in keys:
        bucket.put(key, CLEAN.read_bytes())
    assert fleet("run", bucket.url, "-o", fleet.out)[0] == 0
    captures = fleet.rows("captures")
    assert sorted(row["path"] for row in captures) == sorted(f"{bucket.url}/{key}" for key in keys)
    assert {row["outcome"] for row in captures} == {"ok"}


def test_an_object_that_vanishes_or_is_too_large_has_its_row(fleet, bucket):
    bucket.put("here.bin", CLEAN.read_bytes())
    assert fleet("run", f"{bucket.url}/here.bin", f"{bucket.url}/gone.bin", "-o", fleet.out)[0] == 0
    assert fleet.outcomes() == {"here.bin": "ok", "gone.bin": "unreadable"}
    small = fleet.out.with_name("small")
    assert fleet("run", f"{bucket.url}/here.bin", "-o", small, "--max-bytes", "1K")[0] == 0
    assert fleet.outcomes(small) == {"here.bin": "too-large"}


def test_a_download_stops_at_the_limit_even_if_the_listing_said_less(bucket, tmp_path):

    bucket.put("grown.bin", bytes(100_000))
    with pytest.raises(AritraceError, match="at most 1000 bytes"):
        stores.fetch(f"{bucket.url}/grown.bin", None, tmp_path, 1000)


def test_a_store_out_of_reach_stops_the_run_which_can_be_resumed(fleet, bucket, monkeypatch, endpoint):
    bucket.put("a.bin", CLEAN.read_bytes())
    bucket.put("b.bin", LOST.read_bytes())
    monkeypatch.setattr(stores, "RETRY", {"max_retries": 0})
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    stores._store.cache_clear()
    status, _, err = fleet("run", bucket.url, "-o", fleet.out)
    assert status != 0
    assert "the object store does not answer" in err
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    stores._store.cache_clear()
    assert fleet("run", bucket.url, "-o", fleet.out)[0] == 0
    assert fleet.outcomes() == {"a.bin": "ok", "b.bin": "ok"}


@pytest.mark.usefixtures("bucket")
def test_a_missing_bucket_is_said_before_anything_is_begun(fleet):
    status, _, err = fleet("run", "s3://no-such-bucket/x/", "-o", fleet.out)
    assert status == 3
    assert "s3://no-such-bucket/x/: the object store does not answer" in err
    assert not (fleet.out / "job.json").exists()


def test_from_a_store_as_from_disk(fleet, bucket):
    """Apart from the names, the tables say the same."""
    fleet.add("one.bin", LOST)
    bucket.put("one.bin", LOST.read_bytes())
    fleet.run()
    other = fleet.out.with_name("store")
    assert fleet("run", bucket.url, "-o", other)[0] == 0
    local, remote = (str(fleet.rows("bridges", out)) for out in (fleet.out, other))
    assert remote.replace(bucket.url, str(fleet.captures)) == local
    assert not any("aritrace-fleet" in str(content) for content in tree(other).values())


PIECES = {"before.txt": dump(size=4096, rows=END), "after.txt": dump(PORT, FIRST, size=4096, rows=OFF)}


def put_pieces(bucket, host):
    for name, text in PIECES.items():
        bucket.put(f"{host}/{name}", text.encode())


def test_pieces_grouped_by_their_urls(fleet, bucket):
    for host in ("h1", "h2"):
        put_pieces(bucket, host)
    bucket.put("h1/after.dmesg", b"[    0.000000] Linux version 6.12.1 (x@y) #1\n")
    arguments = ["--group-by", "/(?P<host>h[0-9])/", "--group-order", "before,after", "--add"]
    assert fleet("run", f"{bucket.url}/", "-o", fleet.out, *arguments)[0] == 0
    first, second = fleet.rows("captures")
    urls = [f"{bucket.url}/h1/{name}" for name in PIECES]
    assert (first["path"], first["pieces"], first["host"]) == (" + ".join(urls), urls, "h1")
    assert [file["path"] for file in first["files"]] == urls
    assert (first["verdict"], second["verdict"], second["outcome"]) == ("findings", "findings", "ok")
    assert [boot["release"] for boot in first["boots"]] == [None, "6.12.1"]
    assert {row["kind"] for row in fleet.rows("errors")} <= {"other-machine"}
    put_pieces(bucket, "h3")
    bucket.put("h2/after.txt", PIECES["before.txt"].encode())
    assert fleet("run", f"{bucket.url}/", "-o", fleet.out, *arguments)[0] == 0
    replaced = {row["capture"] for row in fleet.rows("replaced")}
    counted = [row for row in fleet.rows("captures") if row["capture"] not in replaced]
    assert [(row["host"], row["verdict"]) for row in counted] == [
        ("h1", "findings"),
        ("h2", "clean"),
        ("h3", "findings"),
    ]


def test_a_manifest_of_objects_with_a_seed_and_a_log(fleet, bucket, tmp_path):
    put_pieces(bucket, "h1")
    bucket.put("h1/k2.log", b"[    0.000000] Linux version 6.12.1 (x@y) #1\n")
    rows = "h1/before.txt;h1/after.txt,,h1/k2.log\nh1/after.txt,h1/before.txt,\nh1/gone.txt,,\n"
    bucket.put("lists/m.csv", b"pieces,seed,dmesg\n" + rows.encode())
    manifest = f"{bucket.url}/lists/m.csv"
    status, _, err = fleet(
        "run", "--manifest", manifest, "-o", fleet.out, "--manifest-root", f"{bucket.url}/"
    )
    assert status == 0, err
    found = {tuple(row["pieces"]): row for row in fleet.rows("captures")}
    url = f"{bucket.url}/h1/"
    assert found[f"{url}before.txt", f"{url}after.txt"]["verdict"] == "findings"
    seeded = found[f"{url}after.txt",]
    assert [file["path"] for file in seeded["files"]] == [f"{url}before.txt", f"{url}after.txt"]
    assert found[f"{url}gone.txt",]["reason"].startswith("there is no such object")
    # Paths in a manifest below lists/ do not lead out of it; a manifest on this machine names no objects.
    assert fleet("run", "--manifest", manifest, "-o", tmp_path / "lists")[0] == 0
    assert {row["outcome"] for row in fleet.rows("captures", tmp_path / "lists")} == {"unreadable"}
    bucket.put("lists/m.csv", b"pieces\n../h1/before.txt\n")
    status, _, err = fleet("run", "--manifest", manifest, "-o", tmp_path / "refused")
    assert (status, f"a path or URL below {bucket.url}/lists/" in err) == (2, True)
    (tmp_path / "m.csv").write_text(f"pieces\n{url}before.txt\n")
    status, _, err = fleet("run", "--manifest", tmp_path / "m.csv", "-o", tmp_path / "refused")
    assert (status, "give --manifest-root URL/" in err) == (2, True)
