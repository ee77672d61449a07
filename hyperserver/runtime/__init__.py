"""Ring 3: sockets, clocks, tasks. The only folder that awaits."""
