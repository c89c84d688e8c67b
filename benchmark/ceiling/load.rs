//! `ceiling load`: calls that are due at fixed times, whether or not the server keeps up, as those of many independent
//! callers are. A call's latency counts from the moment at which it was due, so that a server that stalls is charged for
//! everybody who would have called meanwhile.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use serde_json::json;

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// Address and port of the server.
    #[arg(long)]
    address: String,
    #[arg(long, default_value = "/v1/predict")]
    path: String,
    /// Sent as X-API-Key.
    #[arg(long, default_value = "")]
    key: String,
    /// A file with one body per line; they are sent in turn.
    #[arg(long)]
    bodies: PathBuf,
    /// Calls per second.
    #[arg(long)]
    rate: f64,
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// The most calls in flight; a call for which no connection is free waits, and its waiting counts.
    #[arg(long, default_value_t = 32)]
    connections: usize,
}

/// What one connection saw.
#[derive(Default)]
struct Seen {
    microseconds: Vec<u64>,
    errors: usize,
}

pub(crate) fn run(arguments: &LoadArgs) -> anyhow::Result<()> {
    let bodies = std::fs::read_to_string(&arguments.bodies)?;
    let requests: Vec<Vec<u8>> = bodies.lines().map(|body| request(arguments, body)).collect();
    anyhow::ensure!(!requests.is_empty() && arguments.rate > 0.0, "there is nothing to send");
    let calls = (arguments.rate * arguments.seconds) as usize;
    let (next, first_due) = (AtomicUsize::new(0), Instant::now() + Duration::from_millis(50));
    let seen = thread::scope(|scope| {
        let call = || connection(arguments, &requests, calls, &next, first_due);
        let threads: Vec<_> = (0..arguments.connections).map(|_| scope.spawn(call)).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, anyhow::Result<Seen>>| {
            thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?
        };
        threads.into_iter().map(join).collect::<anyhow::Result<Vec<Seen>>>()
    })?;
    let elapsed = first_due.elapsed().as_secs_f64();
    let errors: usize = seen.iter().map(|seen| seen.errors).sum();
    let mut times: Vec<u64> = seen.into_iter().flat_map(|seen| seen.microseconds).collect();
    times.sort_unstable();
    let percentile = |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len() - 1)).copied();
    println!(
        "{}",
        json!({
            "requests": times.len(), "errors": errors, "seconds": elapsed, "rate": arguments.rate,
            "achieved": times.len() as f64 / elapsed,
            "p50_us": percentile(0.5), "p90_us": percentile(0.9), "p99_us": percentile(0.99),
            "p999_us": percentile(0.999), "max_us": times.last(),
        })
    );
    Ok(())
}

fn request(LoadArgs { address, path, key, .. }: &LoadArgs, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Takes the next call that nobody has taken, waits until it is due, makes it, and so on.
fn connection(
    arguments: &LoadArgs,
    requests: &[Vec<u8>],
    calls: usize,
    next: &AtomicUsize,
    first_due: Instant,
) -> anyhow::Result<Seen> {
    let mut stream = TcpStream::connect(&arguments.address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let (mut seen, mut answer) = (Seen::default(), Vec::with_capacity(64 * 1024));
    loop {
        let call = next.fetch_add(1, Ordering::Relaxed);
        if call >= calls {
            return Ok(seen);
        }
        let due = first_due + Duration::from_secs_f64(call as f64 / arguments.rate);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.write_all(&requests[call % requests.len()])?;
        seen.errors += usize::from(!succeeded(&mut stream, &mut answer)?);
        seen.microseconds.push(u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
}

/// Reads one answer; whether its status is 2xx.
fn succeeded(stream: &mut TcpStream, answer: &mut Vec<u8>) -> anyhow::Result<bool> {
    answer.clear();
    let mut chunk = [0; 16 * 1024];
    let mut whole = None;
    while whole.is_none_or(|whole| answer.len() < whole) {
        let read = stream.read(&mut chunk)?;
        anyhow::ensure!(read > 0, "the server closed a connection");
        answer.extend_from_slice(&chunk[..read]);
        if whole.is_none()
            && let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n")
        {
            whole = Some(head + 4 + length(&answer[..head])?);
        }
    }
    Ok(answer.starts_with(b"HTTP/1.1 2"))
}

fn length(head: &[u8]) -> anyhow::Result<usize> {
    let head = std::str::from_utf8(head)?;
    let field = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse())
    });
    Ok(field.context("an answer without a length")??)
}
