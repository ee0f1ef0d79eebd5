"""What a person sees of a batch while it runs, and at its end."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from harmonizer.cli.flags import with_flags
from harmonizer.cli.options import say
from harmonizer.pairing import Outcome


def follow(results: Iterable[Outcome], total: int, failures: list[Outcome]) -> dict[Path, Outcome]:
    """Show progress and notes; what became of each composite. Failures are added to `failures`."""
    from tqdm import tqdm

    outcomes = {}
    for outcome in tqdm(results, total=total, unit="image", disable=None):
        outcomes[outcome.composite] = outcome
        for note in outcome.notes:
            tqdm.write(f"harmonizer: note: {with_flags(note)}", file=sys.stderr)
        if outcome.status == "failed":
            failures.append(outcome)
    return outcomes


def report(outcomes: Mapping[Path, Outcome], failures: list[Outcome]) -> str:
    """Print each failure on stderr; the counts, as a sentence."""
    for outcome in sorted(failures, key=lambda failure: failure.composite):
        named = outcome.error.startswith(f"{outcome.composite} ")
        say("failed", outcome.error if named else f"{outcome.composite}: {outcome.error}")
    counts = Counter(outcome.status for outcome in outcomes.values())
    return f"{counts['done']} done, {counts['skipped']} skipped, {len(failures)} failed"
