"""`cals doctor`: what a report of a bug needs."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import tyro


def doctor(
    *,
    self_test: bool = True,
    json_: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Print versions, devices, codecs and the state of the models, and generate two seconds of a drawn face.

    Put what it prints into a report of a bug; it has no paths and no names. Exits 1 where something is broken.

    Args:
        self_test: Generate the two seconds, which fetches the face networks where they are missing.
        json_: Print the findings as JSON.
    """
    from cals.inference.doctor import examine

    findings = []
    for finding in examine(self_test=self_test):
        findings.append(finding)
        if not json_:
            print(finding.line(), flush=True)
    if json_:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    if not all(finding.is_good for finding in findings):
        sys.exit(1)
