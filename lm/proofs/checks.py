"""Table of the checks that run in processes of their own, and the main function of such a process.

    python -m lm.proofs.checks versions answer.json

The answer is a `lm.proofs.finding.Finding` as JSON, written by rank 0; a check that fails by an exception or a crash
leaves none.
"""

from __future__ import annotations

import os
import pkgutil
import sys
from dataclasses import asdict

from runtime.artefact import write_json

# References, so that one that cannot be imported fails alone.
CHECKS = {
    "versions": "lm.proofs.machine:versions",
    "processor": "lm.proofs.machine:processor",
    "gpus": "lm.proofs.machine:gpus",
    "transformer_engine": "lm.proofs.machine:transformer_engine",
    "apex": "lm.proofs.machine:apex",
    "fp8": "lm.proofs.machine:fp8",
    "speed_options": "lm.proofs.machine:speed_options",
    "collectives": "lm.proofs.collectives:collectives",
    "rotary": "lm.proofs.numerics:rotary_positions",
    "packed": "lm.proofs.numerics:packed_attention",
    "engine": "lm.proofs.numerics:engine_logits",
    "corpus": "lm.proofs.random_data:write_random_data",
    "speed": "lm.proofs.speed:training_speed",
}


def main() -> None:
    """Run the check named first (or a reference ``module:function``) with the words after the answer's file."""
    name, answer, *words = sys.argv[1:]
    finding = pkgutil.resolve_name(CHECKS.get(name, name))(*words)
    if os.environ.get("RANK", "0") == "0":
        write_json(answer, asdict(finding))


if __name__ == "__main__":
    main()
