//! `glassbox migrate`: makes the tables of the history, and what is new of them.

use std::process::ExitCode;

use crate::{
    config::{Config, Problem, Problems},
    history::Store,
};

pub(super) fn run(config: &Config) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(async {
        let store = store(config)?;
        let migrated = store.migrate().await;
        store.close().await;
        anyhow::Ok(migrated?)
    })?;
    super::print("the tables of the history are up to date\n")?;
    Ok(ExitCode::SUCCESS)
}

/// The configured database; to be asked for within a runtime.
pub(super) fn store(config: &Config) -> anyhow::Result<Store> {
    Store::new(&config.history)?.ok_or_else(|| {
        let message = "is \"off\": say which database is meant".to_owned();
        Problems(vec![Problem { key: "history.mode".to_owned(), origin: None, message }]).into()
    })
}
