"""Flower's ServerApp for Gnomon: runs the strategy against the server that lives in Gnomon's own process."""

from __future__ import annotations

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from gnomon.systems.flower.handover import RemoteServer, departures
from gnomon.systems.flower.strategy import GnomonStrategy

HANDOVER = "gnomon-handover"
"""Key of the run's configuration: the socket where the server answers."""

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the federation to its end."""
    with RemoteServer(str(context.run_config[HANDOVER])) as server:
        briefing = server.briefing
        strategy = GnomonStrategy(
            server,
            briefing.work,
            look_every_s=briefing.look_every_s,
            gone=lambda: departures(briefing.gone_folder),
            node_timeout_s=briefing.node_timeout_s,
        )
        strategy.start(grid)
