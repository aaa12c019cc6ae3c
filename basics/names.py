"""Names that several packages must spell alike."""

MONITOR = "val/f1_macro"  # chooses the best checkpoint; a plateau is a plateau of it
