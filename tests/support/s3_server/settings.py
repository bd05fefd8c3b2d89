"""Swift's configuration files for one machine: one copy of everything, only on the loopback device."""

from __future__ import annotations

import getpass
import secrets
from pathlib import Path

BACKENDS = ("account", "container", "object")
SERVERS = (*BACKENDS, "proxy")
ACCESS_KEY = "anyreid:tests"
"""Swift reads it as account:user."""

_FILTERS = ("catch_errors", "gatekeeper", "listing_formats", "bulk", "s3api", "tempauth", "copy", "slo")
"""What a request passes through, in this order; s3api speaks S3, slo puts uploads in parts together."""

_PATIENT_S = 60
"""By default Swift gives up on a busy neighbour within seconds; lists would then lack files."""

_SECTIONS: dict[str, dict[str, object]] = {
    "account": {},
    "container": {"node_timeout": _PATIENT_S, "conn_timeout": _PATIENT_S},
    "object": {
        "node_timeout": _PATIENT_S,
        "conn_timeout": _PATIENT_S,
        "container_update_timeout": _PATIENT_S,
    },
    "proxy": {
        "account_autocreate": "true",
        "allow_account_management": "true",
        "node_timeout": _PATIENT_S,
        "recoverable_node_timeout": _PATIENT_S,
        "conn_timeout": _PATIENT_S,
        # With one copy of everything there is no other node to ask instead.
        "error_suppression_limit": 1_000_000,
    },
}
"""Of each server's program, besides where it is found."""


def write_settings(folder: Path, ports: dict[str, int], secret: str) -> None:
    """Write `<server>.conf` for each of SERVERS and `swift.conf` into a folder. Stored data stays readable.

    Args:
        folder: holds the files; the stored data goes into its subfolder `devices`.
        ports: of each of SERVERS.
        secret: that belongs to ACCESS_KEY.
    """
    (folder / "devices" / "d1").mkdir(parents=True, exist_ok=True)
    if not (folder / "swift.conf").exists():  # its salt says where data lies
        salt = {f"swift_hash_path_{end}": secrets.token_hex(8) for end in ("prefix", "suffix")}
        policy = {"name": "one-copy", "default": "yes"}
        _write(folder / "swift.conf", {"swift-hash": salt, "storage-policy:0": policy})
    for name in SERVERS:
        sections: dict[str, dict[str, object]] = {
            "DEFAULT": {
                "bind_ip": "127.0.0.1",
                "bind_port": ports[name],
                "workers": 0,  # serve in the process itself: nothing is left behind when that is ended
                "user": getpass.getuser(),
                "swift_dir": folder,
                "devices": folder / "devices",
                "mount_check": "false",
                "disable_fallocate": "true",
                "log_level": "WARNING",
            },
            "pipeline:main": {"pipeline": f"{name}-server"},
            f"app:{name}-server": {"use": f"egg:swift#{name}", **_SECTIONS[name]},
        }
        if name == "proxy":
            sections["pipeline:main"]["pipeline"] = " ".join([*_FILTERS, "proxy-server"])
            sections |= {f"filter:{one}": {"use": f"egg:swift#{one}"} for one in _FILTERS}
            sections["filter:s3api"]["location"] = "us-east-1"
            account, user = ACCESS_KEY.split(":")
            sections["filter:tempauth"][f"user_{account}_{user}"] = f"{secret} .admin"
        _write(folder / f"{name}.conf", sections)


def _write(path: Path, sections: dict[str, dict[str, object]]) -> None:
    lines = []
    for title, values in sections.items():
        lines += [f"[{title}]", *(f"{key} = {value}" for key, value in values.items()), ""]
    path.write_text("\n".join(lines))
