//! `glassbox predict`: the same path as over HTTP, from the terminal.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use futures_util::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};

use super::lines::{self, Line};
use crate::{
    cache::{Cache, Policy},
    config::{CacheMode, Config, Flag},
    error::Error,
    model::{Input, ModelRef, Prediction},
    predict::{Asked, PredictRequest, Predictor},
    telemetry::{labels::Protocol, metrics::Metrics, record::Record},
};

#[derive(Debug, Args)]
pub(super) struct PredictArgs {
    /// A model of the repository, or an ONNX file; the default model when absent.
    #[arg(long, value_name = "NAME|FILE")]
    model: Option<String>,
    /// The version; the model's default when absent.
    #[arg(long)]
    version: Option<String>,
    /// One text.
    #[arg(long, conflicts_with = "input")]
    text: Option<String>,
    /// One input as JSON: a number, a list, or an object of named ones.
    #[arg(long, value_name = "JSON")]
    input: Option<String>,
}

impl PredictArgs {
    pub(super) fn flags(&self) -> Vec<Flag> {
        self.file().map(|file| super::files_instead_of_repository(&[file])).unwrap_or_default()
    }

    /// The file that `--model` names, if it names one.
    fn file(&self) -> Option<PathBuf> {
        let name = self.model.as_deref()?;
        let is_path = name.ends_with(".onnx") || name.contains('/');
        is_path.then(|| PathBuf::from(name))
    }
}

/// Longer than any caller of a terminal waits.
const TIME_LIMIT: Duration = Duration::from_secs(600);

pub(super) fn run(mut config: Config, args: PredictArgs) -> anyhow::Result<ExitCode> {
    let wanted = ModelRef { name: args.model.clone().filter(|_| args.file().is_none()), version: args.version.clone() };
    // The other models are not asked, so they are not loaded.
    config.models.only = wanted.name.clone().or_else(|| config.models.default.clone());
    let runtime = super::runtime()?;
    let code = runtime.block_on(async {
        let registry = super::load_models(&config).await?;
        let loaded = registry.resolve(&wanted)?;
        let takes_text = loaded.manifest.text.is_some();
        // Who asks here wants the model's answer, and does not wait for a server.
        config.cache.mode = CacheMode::Off;
        let metrics = Arc::new(Metrics::new()?);
        let cache = Cache::new(&config.cache, &config.redis, Arc::clone(&metrics))?;
        let predictor = Predictor::new(registry, Arc::new(cache), None, None, metrics);
        match (&args.text, &args.input) {
            (Some(text), _) => one(&predictor, &wanted, Ok(Input::Text(text.clone()))).await,
            (None, Some(json)) => one(&predictor, &wanted, parse(json)).await,
            (None, None) => {
                let max = usize::try_from(config.server.body_limit.as_u64())?;
                lines(&predictor, &wanted, takes_text, max).await
            }
        }
    });
    runtime.shutdown_timeout(Duration::from_millis(100));
    code
}

async fn one(predictor: &Predictor, wanted: &ModelRef, input: anyhow::Result<Input>) -> anyhow::Result<ExitCode> {
    let answer = serde_json::to_string(&*predict(predictor, wanted, input?).await?)?;
    super::print(&(answer + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// One prediction per line of standard input, in order. A line that cannot be answered gives a line `{"error": …}`; so does
/// one of more than `max` bytes, which a server would not take either.
async fn lines(predictor: &Predictor, wanted: &ModelRef, takes_text: bool, max: usize) -> anyhow::Result<ExitCode> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprintln!("reading one {} per line; end with Ctrl-D", if takes_text { "text" } else { "JSON input" });
    }
    let progress = progress();
    let mut failed = 0_usize;
    let at_once = std::thread::available_parallelism().map_or(1, usize::from) * 2;
    let mut answers = stream::iter(lines::lines(stdin.lock(), max))
        .map(|line| async {
            let line = line.context("standard input cannot be read")?;
            let line = match line {
                Line::Whole(line) => Ok(line),
                Line::TooLong => Err(anyhow::anyhow!("the line is longer than {max} bytes")),
            };
            progress.inc(line.as_ref().map_or(max, Vec::len) as u64 + 1);
            let input =
                line.and_then(text).and_then(|line| if takes_text { Ok(Input::Text(line)) } else { parse(&line) });
            anyhow::Ok(match input {
                Ok(input) => predict(predictor, wanted, input).await,
                Err(error) => Err(error),
            })
        })
        .buffered(at_once);
    while let Some(answer) = answers.next().await {
        let line = match answer? {
            Ok(prediction) => serde_json::to_string(&*prediction)?,
            Err(error) => {
                failed += 1;
                serde_json::json!({"error": format!("{error:#}")}).to_string()
            }
        };
        if !super::print(&(line + "\n"))? {
            break;
        }
    }
    progress.finish_and_clear();
    if failed > 0 {
        eprintln!("glassbox: {failed} lines could not be answered");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn text(line: Vec<u8>) -> anyhow::Result<String> {
    let mut line = String::from_utf8(line).context("the line is not valid UTF-8")?;
    if line.ends_with('\r') {
        line.pop();
    }
    Ok(line)
}

/// A bar when standard input is a file, whose size is known; else a count. Drawn on standard error, and on a terminal only.
fn progress() -> ProgressBar {
    let size =
        std::fs::metadata(Path::new("/dev/stdin")).ok().filter(std::fs::Metadata::is_file).map(|file| file.len());
    let (bar, template) = match size {
        Some(size) => (ProgressBar::new(size), "{bar:40} {bytes}/{total_bytes} {eta}"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {elapsed}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn parse(json: &str) -> anyhow::Result<Input> {
    serde_json::from_str(json).context("the input is not valid JSON")
}

async fn predict(predictor: &Predictor, wanted: &ModelRef, input: Input) -> anyhow::Result<Arc<Prediction>> {
    let request = PredictRequest {
        model: wanted.clone(),
        asked: Asked::Items(vec![("".into(), input)]),
        protocol: Protocol::CommandLine,
        deadline: Instant::now() + TIME_LIMIT,
        cache: Policy::default(),
        record: Record::new(),
        admit: &|_| Ok(()),
    };
    let predictions = predictor.predict(request).await.map_err(explain)?;
    Ok(predictions.predictions.into_iter().next().context("there is no prediction")?.prediction)
}

/// At the terminal, caller and operator are one person: a cause may be shown.
fn explain(error: Error) -> anyhow::Error {
    match error {
        Error::Internal(source) => anyhow::anyhow!("{source:#}"),
        other => other.into(),
    }
}
