"""YAML that a careless reader would choke on or run."""

from __future__ import annotations

_BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (name, name, b",".join([b"*" + bytes([name - 1])] * 9)) for name in b"bcdefghij"
)
YAML_BOMBS = (
    _BOMB,
    _BOMB + b"boards: *j\n",
    _BOMB + b"model: *j\n",
    _BOMB + b"model: {pointwise_filters: *j}\n",
    b"[" * 100_000,
    b"{a: " * 50_000,
    b"!!python/object/apply:os.system ['true']",
    b"boards: [&a [*a]]",
    b"model: &a {architecture: *a}",
    b"boards:\n- &a {id: *a}",
    b"model: {pointwise_filters: " + b"9" * 5000 + b"}",
    b"boards: 2026-99-99",
    b"? [a, b]\n: c",
    b"\x00",
    b"\xff\xfe\x00",
    b"%YAML 9.9\n---\nboards: []",
)
