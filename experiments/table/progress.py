"""Progress of a table: counts, names of running cells, the time to go."""

import sys
import time
from collections.abc import Mapping, Sequence
from statistics import mean

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.table import Table
from rich.text import Text

from experiments.numbers import duration
from experiments.table.cells import BUSY, Cell


class Clock:
    """Estimates seconds of runs: from finished runs of the same arm, else by the cost of the arm.

    Args:
        costs: Cost of one run by arm, in any unit; empty if nothing is known.
        finished: Cells that were finished before.
    """

    def __init__(self, costs: Mapping[str, float], finished: Sequence[Cell]) -> None:
        self.costs = costs
        self.known = {cell: cell.run.seconds() for cell in finished}

    def seconds(self, strategy: str) -> float | None:
        """Seconds of one run of an arm; None as long as nothing is finished."""
        own = [seconds for cell, seconds in list(self.known.items()) if cell.strategy == strategy]
        if own:
            return mean(own)
        known = [(seconds, self.costs.get(cell.strategy)) for cell, seconds in list(self.known.items())]
        rates = [seconds / cost for seconds, cost in known if cost]
        return mean(rates) * self.costs[strategy] if rates and strategy in self.costs else None

    def left(self, cells: Sequence[Cell], running: Mapping[Cell, float]) -> float | None:
        """Seconds left for all of these one after the other; None as long as nothing is finished.

        Args:
            cells: Cells that are not finished.
            running: Start of each running cell, in seconds of `time.monotonic`.
        """
        total = 0.0
        now = time.monotonic()
        for cell in cells:
            seconds = self.seconds(cell.strategy)
            if seconds is None:
                return None
            total += max(0.0, seconds - (now - running.get(cell, now)))
        return total


class Counts(ProgressColumn):
    """Column of the bar with the counts of a board."""

    max_refresh = 1.0

    def __init__(self, board: "Board") -> None:
        super().__init__()
        self.board = board

    def render(self, task: Task) -> Text:
        """Render the counts and the names of running cells."""
        names = ", ".join(cell.name for cell in list(self.board.running))
        return Text(f"{self.board.describe()}\n{names}")


class Board:
    """Shows cells done, running and left, and the time to go: a bar on a terminal, elsewhere a line an event.

    Args:
        cells: All cells of the table.
        clock: Estimate of their time.
    """

    def __init__(self, cells: Sequence[Cell], clock: Clock) -> None:
        self.cells = list(cells)
        self.clock = clock
        self.running: dict[Cell, float] = {}
        self.failed: dict[Cell, int] = {}
        self.bar = Progress(BarColumn(), Counts(self), disable=not sys.stdout.isatty())
        self.task = self.bar.add_task("", total=len(cells), completed=len(clock.known))

    def __enter__(self) -> "Board":
        self.bar.start()
        if self.bar.disable:
            print(self.describe(), flush=True)
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def begins(self, cell: Cell) -> None:
        """Note that a cell has begun."""
        self.running[cell] = time.monotonic()
        self._say(f"{cell.name} begins")

    def ends(self, cell: Cell, code: int, whole: bool) -> None:
        """Note that a cell has ended.

        Args:
            cell: Cell that ended.
            code: Exit code of the cell.
            whole: Whether it ran from its beginning, so that its seconds tell something about others.
        """
        seconds = time.monotonic() - self.running.pop(cell, time.monotonic())
        if code:
            self.failed[cell] = code
        elif whole:
            self.clock.known[cell] = seconds
        self.bar.advance(self.task)
        word = "runs in another process" if code == BUSY else f"failed with exit code {code}" if code else "finished"
        self._say(f"{cell.name} {word} after {seconds:.0f} s")

    def describe(self) -> str:
        """Say counts and time to go in one line."""
        open_cells = [cell for cell in self.cells if cell not in self.failed and cell.state() != "finished"]
        seconds = self.clock.left(open_cells, self.running)
        done = len(self.cells) - len(open_cells) - len(self.failed)
        failed = f", {len(self.failed)} failed" if self.failed else ""
        to_go = f", about {duration(seconds / max(1, len(self.running)))} to go" if seconds else ""
        waiting = len(open_cells) - len(self.running)
        return f"{done} of {len(self.cells)} done{failed}, {len(self.running)} running, {waiting} left{to_go}"

    def _say(self, event: str) -> None:
        if self.bar.disable:
            print(f"{event}: {self.describe()}", flush=True)
        elif "failed" in event:
            self.bar.console.print(event)


def print_cells(cells: Sequence[Cell], clock: Clock, costs: Mapping[str, float]) -> None:
    """Show each run, how far it is, and what it costs."""
    table = Table("run", "state")
    for column in ("cost", "seconds"):
        table.add_column(column, justify="right")
    for cell in cells:
        seconds = cell.run.seconds() if cell.state() == "finished" else clock.seconds(cell.strategy)
        name = cell.run.path.relative_to(cell.root).as_posix()
        table.add_row(name, cell.state(), f"{costs[cell.strategy]:.1f}", "" if seconds is None else f"{seconds:.0f}")
    left = [cell for cell in cells if cell.state() != "finished"]
    seconds = clock.left(left, {})
    to_go = "" if seconds is None else f", {duration(seconds)} one after the other"
    Console().print(table)
    print(f"cost: epochs in which everything learns\n{len(left)} of {len(cells)} runs are left{to_go}")
