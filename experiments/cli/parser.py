from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from basics.errors import stop
from experiments.cli.messages import explain


class Parser(LightningArgumentParser):
    """Lightning's parser with errors of one line instead of 60 lines of usage and Python types."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, allow_abbrev=False, **kwargs)  # or --trainer.max_epoch would be taken for max_epochs

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say in one line what is wrong and what to do; the parsers of nested classes tell theirs to the outer one."""
        if not self.exit_on_error:
            super().error(message, ex)
        stop(explain(message, known_keys=self._known_keys()))

    def _known_keys(self) -> list[str]:
        """Of the subcommands: trainer.max_epochs, run.root, ..."""
        parsers = [self, *getattr(self._subcommands_action, "_name_parser_map", {}).values()]
        keys = {action.dest for parser in parsers for action in parser._actions}
        return sorted(key for key in keys if key not in ("help", "subcommand") and not key.startswith("__"))
