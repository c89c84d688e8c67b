//! `glassbox history`: the stored predictions at the terminal, straight from the database.

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;

use crate::{
    api::ExportForm,
    config::Config,
    history::{Filter, Store, Window},
};

/// Between two looks for new rows.
const LOOK: Duration = Duration::from_millis(500);

/// Rows that are read at once.
const ROWS: usize = 500;

#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    #[command(subcommand)]
    command: HistoryCommand,
}

#[derive(Debug, Subcommand)]
enum HistoryCommand {
    /// Show the latest predictions as lines of JSON, the newest last, and with --follow those that come.
    #[command(after_help = "Examples:\n  glassbox history tail -n 5\n  glassbox history tail --follow --label toxic")]
    Tail {
        /// How many.
        #[arg(short = 'n', long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=1000))]
        lines: u16,
        /// Go on with those that come.
        #[arg(short, long)]
        follow: bool,
        #[command(flatten)]
        wanted: Wanted,
    },
    /// Write all predictions that fit, the latest first.
    #[command(
        after_help = "Examples:\n  glassbox history export --model toxicity --since 2030-01-31T00:00:00Z > january.jsonl\n  glassbox history export --format csv > all.csv"
    )]
    Export {
        /// How they are written.
        #[arg(long, value_enum, default_value_t = Format::Jsonl)]
        format: Format,
        #[command(flatten)]
        wanted: Wanted,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// A JSON object per line.
    Jsonl,
    /// With a header, for spreadsheets.
    Csv,
}

/// Which predictions are meant.
#[derive(Debug, Args)]
struct Wanted {
    /// Of this model.
    #[arg(long)]
    model: Option<String>,
    /// With this label.
    #[arg(long)]
    label: Option<String>,
    /// Of the key with this id.
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// From this moment on: 2030-01-31T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Before this moment.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
}

pub(super) fn run(config: &Config, args: HistoryArgs) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(async {
        let store = super::migrate::store(config)?;
        let done = match args.command {
            HistoryCommand::Tail { lines, follow, wanted } => tail(&store, wanted.filter(), lines.into(), follow).await,
            HistoryCommand::Export { format, wanted } => export(&store, wanted.filter(), format).await,
        };
        store.close().await;
        done
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn tail(store: &Store, mut filter: Filter, lines: usize, follow: bool) -> anyhow::Result<()> {
    let mut page = store.page(filter.clone(), Window { rows: lines.max(1), oldest_first: false }).await?;
    page.rows.reverse();
    filter.after = page.rows.last().map(|row| row.id);
    page.rows.drain(..page.rows.len().saturating_sub(lines));
    let mut read = super::print(&ExportForm::JsonLines.lines(page.rows))?;
    while follow && read {
        tokio::time::sleep(LOOK).await;
        let page = store.page(filter.clone(), Window { rows: ROWS, oldest_first: true }).await?;
        filter.after = page.rows.last().map_or(filter.after, |row| Some(row.id));
        read = super::print(&ExportForm::JsonLines.lines(page.rows))?;
    }
    Ok(())
}

async fn export(store: &Store, mut filter: Filter, format: Format) -> anyhow::Result<()> {
    let form = match format {
        Format::Jsonl => ExportForm::JsonLines,
        Format::Csv => ExportForm::Csv,
    };
    let mut going_on = super::print(&form.header())?;
    while going_on {
        let page = store.page(filter.clone(), Window { rows: ROWS, oldest_first: false }).await?;
        filter.before = page.rows.last().map(|row| row.id);
        going_on = super::print(&form.lines(page.rows))? && page.more && filter.before.is_some();
    }
    Ok(())
}

impl Wanted {
    fn filter(self) -> Filter {
        let Self { model, label, key, since, until } = self;
        let (since, until) = (since.map(Timestamp::as_millisecond), until.map(Timestamp::as_millisecond));
        Filter { model, label, key_id: key, since, until, ..Filter::default() }
    }
}
