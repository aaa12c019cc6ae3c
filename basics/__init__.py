"""The ground floor: what every package may use. Standard library only, so that nothing here costs a start."""
