"""The results of a soak: by kind, in total, and whether anything grew."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from tests.soak.checker import TurnRequest, Verdict
from tests.soak.known import KNOWN
from tests.soak.upstream import Scene

EXAMPLES = 3000
"""Violations that are kept with their details."""
BLOCKS_PER_TURN = 0.2
"""Python objects that a turn may leave behind once caches are full …"""
CACHED_BLOCKS = 20_000
"""… and those that caches hold: the JSON parser alone keeps 16,384 strings."""
RESIDENT_BYTES = 24 * 1024 * 1024
"""How much the process may grow after its warm-up: a frame of 1 MB takes memory for a while."""


@dataclass(frozen=True, slots=True)
class Flatness:
    """What is held while no turn runs."""

    blocks: int
    resident_bytes: int
    descriptors: int
    tasks: int


@dataclass(slots=True)
class Violation:
    """Something that a caller must not meet."""

    name: str
    particulars: str
    kind: str
    turn: int
    healthy: bool
    """It happened in the healthy turn that followed."""
    request: TurnRequest
    affects: str

    def __str__(self) -> str:
        after = "the healthy turn after " if self.healthy else ""
        request = self.request
        how = "chat" if request.chat else "responses"
        how += ", streamed" if request.streamed else ", whole"
        how += ", speak" if request.speak else ", error"
        return (
            f"{self.name}: turn {self.turn}, {after}{self.kind!r} ({how}, {request.shape}, "
            f"{self.affects}): {self.particulars}"
        )


@dataclass(slots=True)
class Summary:
    """One soak's results."""

    seed: int
    turns: Counter[str] = field(default_factory=Counter)
    outcomes: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    violated: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    """Violations of kinds that are known to fail."""
    echoes: int = 0
    """Violations in environments that already had one."""
    violations: list[Violation] = field(default_factory=list)
    flat: list[Flatness] = field(default_factory=list)
    """After each leg of the turns over memory."""
    sockets: tuple[Flatness, Flatness] | None = None
    """Before the turns over sockets, and when all is closed again."""

    def add(
        self,
        request: TurnRequest,
        scene: Scene,
        verdict: Verdict,
        kind: str,
        *,
        known: bool,
        echo: bool,
    ) -> None:
        """Count a turn; `kind` is the one that it played, or that the healthy turn followed."""
        self.turns[kind] += 1
        healthy = scene.kind.name == "healthy"
        self.outcomes[kind][("then " if healthy else "") + verdict.outcome] += 1
        if not verdict.violations:
            return
        if known:
            self.known[kind] += 1
            return
        if echo:
            self.echoes += 1
            return
        self.violated[kind] += 1
        for name, particulars in verdict.violations:
            if len(self.violations) < EXAMPLES:
                self.violations.append(
                    Violation(
                        name, particulars, kind, request.number, healthy, request, scene.affects
                    )
                )

    @property
    def growth(self) -> list[str]:
        """Return what grew between the end of the warm-up and the end; empty if nothing did."""
        grown = []
        if self.sockets and self.sockets[1].descriptors > self.sockets[0].descriptors:
            grown.append(f"descriptors of sockets: {self.sockets}")
        if self.sockets and self.sockets[1].tasks > self.sockets[0].tasks:
            grown.append(f"tasks over sockets: {self.sockets}")
        if len(self.flat) < 3:
            return grown
        first, last = self.flat[1], self.flat[-1]
        turns = sum(self.turns.values()) * (len(self.flat) - 2) / len(self.flat)
        if last.blocks - first.blocks > CACHED_BLOCKS + BLOCKS_PER_TURN * turns:
            grown.append(f"objects: {first.blocks} to {last.blocks} in {turns:.0f} turns")
        if last.resident_bytes - first.resident_bytes > RESIDENT_BYTES:
            grown.append(f"memory: {first.resident_bytes >> 20} to {last.resident_bytes >> 20} MB")
        if last.tasks > first.tasks:
            grown.append(f"tasks: {first.tasks} to {last.tasks}")
        if last.descriptors > first.descriptors:
            grown.append(f"descriptors: {first.descriptors} to {last.descriptors}")
        return grown

    def table(self) -> str:
        """Return a line for each kind."""
        width = max(map(len, self.turns), default=0)
        lines = [f"{'kind':{width}}  turns  wrong  known  outcomes"]
        for kind in sorted(self.turns):
            outcomes = ", ".join(f"{n} {name}" for name, n in self.outcomes[kind].most_common())
            lines.append(
                f"{kind:{width}}  {self.turns[kind]:5}  {self.violated[kind]:5}"
                f"  {self.known[kind]:5}  {outcomes}"
            )
        return "\n".join(lines)

    def verdict(self) -> str:
        """Return the last lines: what was found and what is held."""
        found: dict[tuple[str, str], list[Violation]] = {}
        for one in self.violations:
            found.setdefault((one.name, one.kind), []).append(one)
        lines = [f"{len(each)} x {each[0]}" for _, each in sorted(found.items())]
        for flat in self.flat:
            lines.append(
                f"held: {flat.blocks} objects, {flat.resident_bytes >> 20} MB, "
                f"{flat.descriptors} descriptors, {flat.tasks} tasks"
            )
        lines += [f"grew: {grown}" for grown in self.growth]
        if fine := [kind for kind in sorted(KNOWN) if self.turns[kind] and not self.known[kind]]:
            lines.append(f"known, but not wrong here: {', '.join(fine)}")
        lines.append(
            f"seed {self.seed}: {self.turns.total()} turns of {len(self.turns)} kinds, "
            f"{self.violated.total()} wrong, {self.known.total()} known, {self.echoes} echoes"
        )
        return "\n".join(lines)
