//! `glassbox keys`: makes, lists, revokes and checks the keys of a file that a running server follows.

mod show;

use std::{
    io::{IsTerminal, Read},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};

use crate::{
    config::{Config, Problem, Problems},
    keys::{self, Draft, KeyState, KeyText, KeysError, Plan, Revoked, Scope, Validity},
    telemetry::labels::AuthRejection,
};

#[derive(Debug, Args)]
pub(super) struct KeysArgs {
    /// The keys file, instead of auth.keys_file of the configuration.
    #[arg(long, global = true, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a key and print it, this once; the file holds a hash of it only. A file that is not there is made.
    #[command(
        after_help = "Examples:\n  KEY=$(glassbox keys create --file keys.toml --name 'data team')\n  glassbox keys create --name prometheus --scope metrics --expires-in 365d\n  glassbox keys create --name partner --model 'toxicity*' --model doubler --plan partner"
    )]
    Create(CreateArgs),
    /// List the keys of the file.
    #[command(after_help = "Example:\n  glassbox keys list --file keys.toml")]
    List {
        /// As one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key; its entry stays in the file. To rotate a key, create another one first.
    #[command(after_help = "Example:\n  glassbox keys revoke --file keys.toml 0123456789ab")]
    Revoke {
        /// The key's id, which is the part between its underscores. Never the whole key.
        id: String,
    },
    /// Read a key from standard input and tell what it may do. Ends with 0 when it can be used now, else with 1.
    #[command(after_help = "Example:\n  printf %s \"$KEY\" | glassbox keys check --file keys.toml")]
    Check,
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// Whose key it is, for people.
    #[arg(long)]
    name: String,
    /// What it may be used for: predict, history, metrics, admin; repeatable.
    #[arg(long, value_parser = scope, default_value = "predict")]
    scope: Vec<Scope>,
    /// A model that it may use, as a glob; repeatable. All when absent.
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    model: Vec<String>,
    /// A plan of the file; the default plan when absent.
    #[arg(long)]
    plan: Option<String>,
    /// How long it can be used: 12h, 90d, 1y.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    expires_in: Option<Duration>,
    /// It cannot be used before this: 2030-01-31T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    not_before: Option<Timestamp>,
}

pub(super) fn run(config: &Config, args: KeysArgs) -> anyhow::Result<ExitCode> {
    let Some(path) = args.file.or_else(|| config.auth.keys_file.clone()) else {
        let message = "is not set: name the keys file there, or with --file".to_owned();
        return Err(Problems(vec![Problem { key: "auth.keys_file".to_owned(), origin: None, message }]).into());
    };
    let default = Plan::configured(&config.rate_limit);
    match args.command {
        KeysCommand::Create(wanted) => create(&path, wanted, &default),
        KeysCommand::List { json } => {
            let set = keys::read(&path, &default)?;
            super::print(&if json { show::json(&set)? } else { show::table(&set) })?;
            Ok(ExitCode::SUCCESS)
        }
        KeysCommand::Revoke { id } => revoke(&path, &id, &default),
        KeysCommand::Check => check(&path, &default),
    }
}

/// What a keys file holds, in a few words.
pub(super) fn summary(path: &Path, config: &Config) -> Result<String, KeysError> {
    let set = keys::read(path, &Plan::configured(&config.rate_limit))?;
    let (keys, usable) = (set.entries().len(), set.usable(Timestamp::now()));
    Ok(format!("the keys file holds {keys} keys, {usable} of them usable, and {} plans", set.plans().count()))
}

fn create(path: &Path, wanted: CreateArgs, default: &Plan) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(wanted.expires_in != Some(Duration::ZERO), "--expires-in 0s makes a key that was never valid");
    let expires_at = wanted.expires_in.map(from_now).transpose()?;
    let mut scopes = wanted.scope;
    scopes.dedup();
    let validity = Validity { not_before: wanted.not_before, expires_at, revoked_at: None };
    let draft = Draft { name: wanted.name, scopes, models: wanted.model, plan: wanted.plan, validity };
    let key = keys::add(path, &draft, default)?;
    let shown = super::print(&format!("{}\n", key.text));
    if !matches!(shown, Ok(true)) {
        // Nobody has seen it, and nobody can see it again.
        keys::revoke(path, &key.id, Timestamp::now(), default)?;
        shown?;
        anyhow::bail!("the key could not be shown, so it was revoked");
    }
    eprintln!("key {} was added to {}; the line above is the only time that it is shown", key.id, path.display());
    Ok(ExitCode::SUCCESS)
}

fn revoke(path: &Path, id: &str, default: &Plan) -> anyhow::Result<ExitCode> {
    // Not said back: who pastes a whole key here has shown enough of it.
    anyhow::ensure!(
        keys::is_id(id),
        "a key's id is 12 hexadecimal digits: the part between the underscores of the key"
    );
    match keys::revoke(path, id, Timestamp::now(), default)? {
        Revoked::Now => eprintln!("key {id} is revoked; a running server refuses it within a second"),
        Revoked::Before => eprintln!("key {id} was revoked already"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Never takes the key as an argument: those stand in the list of processes for everybody to read.
fn check(path: &Path, default: &Plan) -> anyhow::Result<ExitCode> {
    let set = keys::read(path, default)?;
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprintln!("reading a key; end with Ctrl-D");
    }
    let mut text = String::new();
    let read = stdin.lock().take(LONGEST_LINE).read_to_string(&mut text);
    read.context("standard input cannot be read as text")?;
    let key = KeyText::parse(text.trim()).context("this is no key: keys are written gb_<id>_<secret>")?;
    let entry = set.find(&key).map_err(|reason| match reason {
        AuthRejection::Unknown => anyhow::anyhow!("no key of {} has the id {}", path.display(), key.id),
        _ => anyhow::anyhow!("the key {} has another secret", key.id),
    })?;
    super::print(&show::entry(entry))?;
    let usable = entry.state(Timestamp::now()) == KeyState::Valid;
    Ok(if usable { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Far more than a key.
const LONGEST_LINE: u64 = 4096;

fn from_now(duration: Duration) -> anyhow::Result<Timestamp> {
    let after =
        SignedDuration::try_from(duration).ok().and_then(|duration| Timestamp::now().checked_add(duration).ok());
    after.context("--expires-in is longer than there is time")
}

fn scope(word: &str) -> Result<Scope, String> {
    Scope::parse(word).ok_or_else(|| format!("expected {}", Scope::ALL.map(Scope::as_str).join(", ")))
}

fn glob(text: &str) -> Result<String, &'static str> {
    match keys::is_glob(text) {
        true => Ok(text.to_owned()),
        false => Err("expected a model's name, in which * and ? may stand for others"),
    }
}
