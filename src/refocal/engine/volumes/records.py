"""What has been done to a volume: one small record for each block, beside the volume, in the same store.

    OUT.refocal/job.json               the resolved job with its plan, and the hash of both: the task hash
    OUT.refocal/blocks/L/Z/Y_X.json    a block of level L: task hash, SHA-256 of its voxels, the grade of each section
    OUT.refocal/context/Z/Y_X.npy      what one block adds to the contexts of its sections (nets with a global context)
    OUT.refocal/packed                 the size of an output that is written in one go, once it is
    OUT.refocal/log.jsonl              all records in one file, when everything is done

A record is written after the voxels, each whole or not at all. So a record means that the voxels are there; voxels
without a record are written again, with the same bytes. Nothing is ever appended to, so any number of processes on any
file system or object store may work at the same time; that two do the same block costs time and changes nothing.
"""

import io
import json
import os
import platform
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refocal.core.errors import UnreadableError, UsageError
from refocal.core.storage import Store, patient, sibling
from refocal.engine.logged_run import differences
from refocal.eventlog.log import Event, job_sha256

JOB, LOG, PACKED = "job.json", "log.jsonl", "packed"


class BlockRecords:
    """The records of one output."""

    def __init__(self, out: Store) -> None:
        self.place = sibling(out, ".refocal")
        self.sha256 = ""

    def is_there(self) -> bool:
        """Say whether there is one, be it damaged or not."""
        return self.place.exists(JOB)

    def job(self) -> dict[str, Any] | None:
        """Return the resolved job that the output belongs to, None for a new one.

        Raises
        ------
        UnreadableError
            If it is damaged.
        """
        stored = self.place.read(JOB)
        if stored is None:
            return None
        try:
            found = json.loads(stored)
            job: dict[str, Any] = found["job"]
            if found["job_sha256"] != job_sha256(job):
                raise ValueError("the hash is of something else")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UnreadableError(f"{self.place.url}/{JOB}: is damaged ({error}); begin with --overwrite") from error
        self.sha256 = found["job_sha256"]
        return job

    def begin(self, job: Mapping[str, Any]) -> None:
        """Take on a job; one that is there must be the same.

        Raises
        ------
        UsageError
            If the output belongs to another job; says what differs.
        """
        before = self.job()
        digest = job_sha256(job)
        if before is not None and self.sha256 != digest:
            plain = json.loads(json.dumps(job, default=str))
            raise UsageError(
                f"{self.place.url} holds the work of another job ({differences(before, plain)}); choose another output "
                "or pass --overwrite"
            )
        self.sha256 = digest
        if before is None:
            content = json.dumps({"job_sha256": digest, "job": job}, indent=1, default=str).encode()
            patient(partial(self.place.write, JOB, content))

    def record(self, key: str) -> dict[str, Any] | None:
        """Return the record of a block under this job."""
        try:
            found = json.loads(self.place.read(_name(key)) or b"null")
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) and found.get("job_sha256") == self.sha256 else None

    def forget(self, key: str) -> None:
        """Remove a record, so that its block is done again."""
        self.place.delete(_name(key))

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield all records under this job, in the order of their names."""
        for name in self.place.names("blocks"):
            try:
                found = json.loads(self.place.read(name) or b"null")
            except (ValueError, RecursionError):
                continue
            if isinstance(found, dict) and found.get("job_sha256") == self.sha256:
                yield found

    def complete(self, key: str, sections: list[dict[str, Any]], event: Event) -> None:
        """Record a block whose voxels are there: what is known of its sections, and of itself from its last event."""
        sections = sorted(sections, key=lambda found: int(found["section"]))
        record = {
            "key": key,
            "job_sha256": self.sha256,
            "output_sha256": event["output_sha256"],
            "missing_chunks": event.get("missing_chunks", 0),
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "worker": f"{platform.node()}:{os.getpid()}",
            "seconds": round(sum(found.pop("seconds") for found in sections), 6),
            "sections": sections,
        }
        patient(partial(self.place.write, _name(key), json.dumps(record, allow_nan=False, default=str).encode()))

    def array(self, name: str) -> NDArray[Any] | None:
        """Return a stored array, None where it is not there or damaged."""
        stored = self.place.read(name)
        try:
            return None if stored is None else np.load(io.BytesIO(stored), allow_pickle=False)
        except (ValueError, EOFError, OSError):
            return None

    def keep(self, name: str, array: NDArray[Any]) -> None:
        """Store an array."""
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        patient(partial(self.place.write, name, buffer.getvalue()))

    def write_log(self) -> None:
        """Gather all records in one file of JSON lines, the job first; there may be more than memory holds."""

        def lines() -> Iterator[bytes]:
            yield json.dumps({"event": "job", "job_sha256": self.sha256, "job": self.job()}).encode() + b"\n"
            for record in self.records():
                yield json.dumps({"event": "block", **record}).encode() + b"\n"

        patient(lambda: self.place.fill(LOG, lines()))


def _name(key: str) -> str:
    level, _, corner = key.partition("@")
    z, y, x = corner.split(",")
    return f"blocks/{level}/{z}/{y}_{x}.json"
