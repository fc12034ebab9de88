"""Floor 5, the HTTP door: parse, call one use case, render. A handler holds no state."""
