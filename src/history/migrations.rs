//! The tables, built into the binary: SQL files whose names begin with their number.

use futures_util::{FutureExt, future::BoxFuture};
use sqlx::{
    error::BoxDynError,
    migrate::{MigrateError, Migration, MigrationSource, MigrationType, Migrator},
};

/// Numbers, names and texts of what makes the tables of one kind of database.
#[derive(Debug)]
pub(super) struct Migrations(&'static [(i64, &'static str, &'static str)]);

/// Of SQLite.
pub(super) const SQLITE: Migrations = Migrations(&[
    (1, "predictions", include_str!("migrations/sqlite/1_predictions.sql")),
    (2, "by model", include_str!("migrations/sqlite/2_by_model.sql")),
]);

/// Of PostgreSQL.
pub(super) const POSTGRES: Migrations =
    Migrations(&[(1, "predictions", include_str!("migrations/postgres/1_predictions.sql"))]);

impl Migrations {
    /// What applies them. A database that a newer server has changed is taken as it is: changes only add.
    pub(super) async fn migrator(self) -> Result<Migrator, sqlx::Error> {
        let mut migrator = Migrator::new(self).await.map_err(failed)?;
        migrator.set_ignore_missing(true);
        Ok(migrator)
    }
}

/// The database's own error, where there is one.
pub(super) fn failed(error: MigrateError) -> sqlx::Error {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error,
        other => sqlx::Error::Migrate(Box::new(other)),
    }
}

impl MigrationSource<'static> for Migrations {
    fn resolve(self) -> BoxFuture<'static, Result<Vec<Migration>, BoxDynError>> {
        let migration = |(number, name, sql): &(i64, &'static str, &'static str)| {
            Migration::new(*number, (*name).into(), MigrationType::Simple, (*sql).into(), false)
        };
        let migrations = self.0.iter().map(migration).collect();
        async move { Ok(migrations) }.boxed()
    }
}
