"""Ring 2: pure and synchronous. Events become scopes and messages, messages become commands."""
