"""Mutations: one input each, and faults of it as errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ExpgraphError, Fault
from .records import Shown
from .transport import Transport
from .wording import in_python

SUBMIT_JOB = """
  planned { jobId name config priority tags storagePath }
  duplicates { name existingJobId existingState hint } scripts { script } dryRun
"""
SUBMIT_SWEEP = """
  sweep { id } jobs { jobId name config priority tags storagePath }
  duplicates { name existingJobId existingState hint } scripts { script } dryRun
"""
_CHANGES = "changedCount matchedCount unchanged { jobId reason }"


@dataclass(frozen=True)
class Changes(Shown):
    """What became of a change of jobs."""

    matched: int
    """Jobs that were meant."""
    changed: int
    """Jobs that changed, or would in a dry run."""
    unchanged: list[dict[str, str]]
    """``job_id`` and ``reason`` of those that stayed as they are; for a filter the first 100."""

    def _fields(self) -> dict[str, Any]:
        reasons = sorted({each["reason"] for each in self.unchanged})
        return {"changed": f"{self.changed} of {self.matched}", "why not": reasons}


def mutate(transport: Transport, name: str, selection: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Runs a mutation of the schema. Answers its payload; raises ``ExpgraphError`` with all its ``userErrors``."""
    kind = name[0].upper() + name[1:]
    query = f"mutation {kind}($input: {kind}Input!) {{ {name}(input: $input) {{ {selection} userErrors {{ field message code }} }} }}"
    payload: dict[str, Any] = transport.request(query, {"input": values})[name]
    faults = [Fault(".".join(fault["field"]), in_python(fault["message"]), fault["code"]) for fault in payload["userErrors"]]
    if faults:
        raise ExpgraphError.of_faults(faults)
    return payload


def change_jobs(transport: Transport, name: str, values: Mapping[str, Any]) -> Changes:
    """Runs a mutation that changes jobs."""
    payload = mutate(transport, name, _CHANGES, values)
    unchanged = [{"job_id": each["jobId"], "reason": in_python(each["reason"])} for each in payload["unchanged"]]
    return Changes(payload["matchedCount"], payload["changedCount"], unchanged)
