"""Floor 3: calls of the receivers that runs name. What is sent, to whom it may go, and how."""
