"""Fuzz the decoders with coverage feedback, one after another.

    python tests/fuzz/run.py --seconds 120 [--corpus FOLDER] [NAME ...]

Each decoder of `consultwist.testing.decoders` runs in a process of its own, beginning
with the captured bytes of `tests/vectors` and with what earlier runs left in the corpus
folder. An input that fails is written into that folder, too. At the end a table of
executions, coverage and findings is printed; the exit status tells whether any failed.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["consultwist"]):
    from consultwist.testing.decoder_seeds import seeds
    from consultwist.testing.decoders import DECODERS, state_tables

    state_tables()

VECTORS = Path(__file__).resolve().parents[1] / "vectors"

#: One input may take so long and so much memory, on a slow and busy machine.
TIMEOUT_S = 10
RSS_MAX_MB = 1024
INPUT_MAX = 16 * 1024

_STATUS = re.compile(rb"^#(\d+)\s+\w+\s+cov: (\d+)", re.MULTILINE)


def fuzz(name: str, corpus: Path, seconds: int) -> None:
    """Fuzz one decoder in this process; ends the process."""
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name, VECTORS)):
        (corpus / f"seed-{number:04}").write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={TIMEOUT_S}",
        f"-rss_limit_mb={RSS_MAX_MB}",
        f"-max_len={INPUT_MAX}",
        f"-artifact_prefix={corpus.parent}/{name}-",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], DECODERS[name])
    atheris.Fuzz()


def run(name: str, corpus: Path, seconds: int) -> tuple[str, bool]:
    """Fuzz one decoder in another process; return its row and whether it passed."""
    command = [sys.executable, __file__, name, "--in-process"]
    command += ["--corpus", str(corpus), "--seconds", str(seconds)]
    # Reading and instrumenting the package comes on top of the time for fuzzing.
    done = subprocess.run(
        command, check=False, capture_output=True, timeout=seconds + 120
    )
    statuses = _STATUS.findall(done.stderr)
    executions, coverage = statuses[-1] if statuses else (b"0", b"0")
    finding = "none"
    if done.returncode:
        (corpus / f"{name}.log").write_bytes(done.stdout + done.stderr)
        finding = f"see {name}.log"
    row = f"| {name} | {seconds} s | {int(executions)} | {int(coverage)} | {finding} |"
    return row, not done.returncode


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="Fuzz the decoders.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(DECODERS))
    parser.add_argument("--seconds", type=int, default=60, help="for each decoder")
    parser.add_argument("--corpus", type=Path, help="folder that outlasts the run")
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in DECODERS]
    if unknown:
        parser.error(f"unknown decoders: {', '.join(unknown)}")
    with tempfile.TemporaryDirectory() as temporary:
        corpus = asked.corpus or Path(temporary)
        if asked.in_process:
            fuzz(asked.names[0], corpus / asked.names[0], asked.seconds)
        print("| decoder | duration | executions | edges | findings |")
        print("| --- | --- | --- | --- | --- |")
        passed = True
        for name in asked.names or DECODERS:
            row, fine = run(name, corpus, asked.seconds)
            passed = passed and fine
            print(row, flush=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
