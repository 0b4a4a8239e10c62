"""Every command, in the order in which a person meets them."""

import typer

from headstart.cli import (
    add,
    compare,
    data,
    diff_client,
    doctor,
    drill,
    history,
    init,
    key,
    migrate,
    monitor,
    predict,
    rank,
    release,
    remedy,
    rollout,
    run,
    score,
    serve,
)

app = typer.Typer(
    name="headstart",
    help=(
        "Turn a pretrained network and a few labels into a model in production, and keep it right there.\n\n"
        "Start with `headstart init`, `headstart add` and `headstart run`, then `headstart serve`. "
        "Every command takes --json.\n\n"
        "Exit status: 0 done; 1 a gate or a monitor said no; 2 wrong input; 3 something outside failed."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(init.init)
app.command()(add.add)
app.command()(data.data)
app.command()(rank.rank)
app.command()(run.run)
app.command()(run.plan)
app.command()(compare.compare)
app.command()(release.status)
app.command()(release.promote)
app.command()(release.rollback)
app.command()(history.history)
app.command()(rollout.rollout)
app.command()(predict.predict)
app.command()(score.score)
app.command()(serve.serve)
app.command()(key.key)
app.command("diff-client")(diff_client.diff_client)
app.command()(monitor.monitor)
app.command()(remedy.remedy)
app.command()(drill.drill)
app.command()(doctor.doctor)
app.command()(migrate.migrate)
