"""What speaks to the outside: wires, formats and partners."""
