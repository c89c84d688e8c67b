//! `glassbox queue`: the requests that were given up, straight from Redis.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use clap::{Args, Subcommand};
use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};

use crate::{
    config::Config,
    lifecycle::Lifecycle,
    queue::{Broker, Dead, DeadLetters},
    telemetry::metrics::Metrics,
};

/// How long Redis is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long workers have for an entry that is given to them once more.
const ONCE_MORE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(super) struct QueueArgs {
    #[command(subcommand)]
    command: QueueCommand,
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    /// Requests that were given up, because every worker that took them fell silent.
    #[command(subcommand)]
    Dead(DeadCommand),
}

#[derive(Debug, Subcommand)]
enum DeadCommand {
    /// Show them, the oldest first; never what callers sent.
    List,
    /// Give one, or all, to the workers once more: nobody waits for the answer, it shows whether workers survive.
    Requeue {
        /// Which one; all when absent.
        id: Option<String>,
    },
    /// Forget one, or all.
    Drop {
        /// Which one; all when absent.
        id: Option<String>,
    },
}

pub(super) fn run(config: &Config, args: &QueueArgs) -> anyhow::Result<ExitCode> {
    let QueueCommand::Dead(command) = &args.command;
    super::runtime()?.block_on(async {
        let broker = Arc::new(Broker::new(&config.queue, &config.redis, Arc::new(Metrics::new()?))?);
        let lifecycle = Lifecycle::new();
        broker.start(&lifecycle, || {});
        let connected = tokio::time::timeout(PATIENCE, broker.connected()).await;
        connected.ok().context("Redis does not answer: is redis.url right?")?;
        let (letters, most) = (DeadLetters::new(broker), config.queue.dead_letters.saturating_mul(2));
        let all = letters.list(most).await?;
        let text = match command {
            DeadCommand::List => table(&all),
            DeadCommand::Requeue { id } => {
                let meant = meant(&all, id.as_deref())?;
                for dead in &meant {
                    letters.requeue(dead, ONCE_MORE).await?;
                }
                format!("{} given to the workers once more\n", meant.len())
            }
            DeadCommand::Drop { id } => {
                let meant = meant(&all, id.as_deref())?;
                for dead in &meant {
                    letters.remove(dead).await?;
                }
                format!("{} forgotten\n", meant.len())
            }
        };
        lifecycle.stop_now();
        super::print(&text)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn meant<'a>(all: &'a [Dead], id: Option<&str>) -> anyhow::Result<Vec<&'a Dead>> {
    let meant: Vec<&Dead> = all.iter().filter(|dead| id.is_none_or(|id| dead.id == id)).collect();
    anyhow::ensure!(id.is_none() || !meant.is_empty(), "there is no such entry: see 'glassbox queue dead list'");
    Ok(meant)
}

fn table(all: &[Dead]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_header([
        "id",
        "stream",
        "deliveries",
        "items",
        "bytes",
    ]);
    for Dead { id, stream, deliveries, items, bytes, .. } in all {
        table.add_row([id.clone(), stream.clone(), deliveries.to_string(), items.to_string(), bytes.to_string()]);
    }
    format!("{table}\n")
}
