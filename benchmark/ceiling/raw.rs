//! `ceiling raw`: ONNX Runtime called in a loop, one session per thread. Prints one line of JSON per combination of batch
//! size, threads and order.

use std::{
    path::{Path, PathBuf},
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use ort::{
    environment::Environment,
    value::{Tensor, TensorRef},
};
use serde_json::json;

use crate::session::{Graph, load_library};

#[derive(Debug, Args)]
pub(crate) struct RawArgs {
    /// The graph.
    #[arg(long)]
    graph: PathBuf,
    /// The output to compute; the first one where it is absent.
    #[arg(long)]
    output: Option<String>,
    #[arg(long, value_enum)]
    kind: Kind,
    /// A file with one item per line, in JSON: a list of numbers, a text, or a list of token ids.
    #[arg(long)]
    items: PathBuf,
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,32,64")]
    batches: Vec<usize>,
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    threads: Vec<usize>,
    /// Whether batches are also made of items of similar length.
    #[arg(long)]
    sorted: bool,
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
}

/// What an item is.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Numbers,
    Texts,
    Tokens,
}

/// A batch, ready to be lent to a session.
enum Batch {
    Numbers(Vec<f32>, [usize; 2]),
    Texts(Vec<String>),
    /// Ids, mask, types: padded to the longest.
    Tokens(Vec<i64>, Vec<i64>, Vec<i64>, [usize; 2]),
}

pub(crate) fn run(library: &Path, arguments: &RawArgs) -> anyhow::Result<()> {
    let library = load_library(library)?;
    let mut lines: Vec<String> = std::fs::read_to_string(&arguments.items)?.lines().map(str::to_owned).collect();
    let orders: &[&str] = if arguments.sorted { &["arrival", "sorted"] } else { &["arrival"] };
    for order in orders {
        if *order == "sorted" {
            lines.sort_by_key(|line| line.matches(',').count());
        }
        for &size in &arguments.batches {
            let mut batches = lines
                .chunks_exact(size)
                .map(|lines| batch(arguments.kind, lines))
                .collect::<anyhow::Result<Vec<_>>>()?;
            spread(&mut batches);
            anyhow::ensure!(!batches.is_empty(), "there are fewer than {size} items");
            for &threads in &arguments.threads {
                let rate = measure(&library, arguments, &batches, threads)? * size as f64;
                println!("{}", json!({"order": order, "batch": size, "threads": threads, "items_per_s": rate}));
            }
        }
    }
    Ok(())
}

/// Puts short and long batches in turn, so that a run that ends early has seen some of each: every 61st, then the next.
fn spread<T>(batches: &mut Vec<T>) {
    let mut rest: Vec<Vec<T>> = (0..61).map(|_| Vec::new()).collect();
    for (index, batch) in batches.drain(..).enumerate() {
        rest[index % 61].push(batch);
    }
    batches.extend(rest.into_iter().flatten());
}

/// Runs per second, of all threads together.
fn measure(library: &Environment, arguments: &RawArgs, batches: &[Batch], threads: usize) -> anyhow::Result<f64> {
    let (barrier, next, stop) = (Barrier::new(threads + 1), AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let turn = || -> anyhow::Result<usize> {
            let opened = Graph::open(library, &arguments.graph, arguments.output.as_deref());
            let warm = opened.and_then(|mut graph| {
                let inputs = graph.inputs();
                batches.iter().take(3).try_for_each(|batch| batch.run(&mut graph, &inputs))?;
                Ok((graph, inputs))
            });
            barrier.wait();
            let (mut graph, inputs) = warm?;
            let mut runs = 0;
            while !stop.load(Ordering::Relaxed) {
                batches[next.fetch_add(1, Ordering::Relaxed) % batches.len()].run(&mut graph, &inputs)?;
                runs += 1;
            }
            Ok(runs)
        };
        let turns: Vec<_> = (0..threads).map(|_| scope.spawn(turn)).collect();
        barrier.wait();
        let started = Instant::now();
        thread::sleep(Duration::from_secs_f64(arguments.seconds));
        stop.store(true, Ordering::Relaxed);
        let mut runs = 0;
        for turn in turns {
            runs += turn.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        Ok(runs as f64 / started.elapsed().as_secs_f64())
    })
}

fn batch(kind: Kind, lines: &[String]) -> anyhow::Result<Batch> {
    Ok(match kind {
        Kind::Numbers => {
            let rows: Vec<Vec<f32>> = lines.iter().map(|line| serde_json::from_str(line)).collect::<Result<_, _>>()?;
            let shape = [rows.len(), rows.first().map_or(0, Vec::len)];
            Batch::Numbers(rows.concat(), shape)
        }
        Kind::Texts => {
            let text = |line: &String| Ok(serde_json::from_str::<String>(line)?.to_lowercase());
            Batch::Texts(lines.iter().map(text).collect::<anyhow::Result<_>>()?)
        }
        Kind::Tokens => {
            let rows: Vec<Vec<i64>> = lines.iter().map(|line| serde_json::from_str(line)).collect::<Result<_, _>>()?;
            let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
            let padded = |value: fn(i64) -> i64| {
                let row = |row: &Vec<i64>| {
                    let padding = longest - row.len();
                    row.iter().map(|id| value(*id)).chain(std::iter::repeat_n(0, padding)).collect::<Vec<_>>()
                };
                rows.iter().flat_map(row).collect()
            };
            Batch::Tokens(padded(|id| id), padded(|_| 1), padded(|_| 0), [rows.len(), longest])
        }
    })
}

impl Batch {
    /// Runs it; the inputs of an encoder are told apart by their names.
    fn run(&self, graph: &mut Graph, names: &[String]) -> anyhow::Result<()> {
        let outputs = match self {
            Self::Numbers(values, shape) => {
                graph.run([TensorRef::from_array_view((*shape, values.as_slice()))?.into()])?
            }
            Self::Texts(texts) => {
                graph.run([Tensor::from_string_array(([texts.len(), 1], texts.as_slice()))?.into()])?
            }
            Self::Tokens(ids, mask, types, shape) => {
                let named = |name: &String| match name.as_str() {
                    "input_ids" => ids,
                    "attention_mask" => mask,
                    _ => types,
                };
                let lend = |values| TensorRef::from_array_view((*shape, values));
                match names {
                    [a, b] => graph.run([lend(named(a).as_slice())?.into(), lend(named(b).as_slice())?.into()])?,
                    [a, b, c] => graph.run([
                        lend(named(a).as_slice())?.into(),
                        lend(named(b).as_slice())?.into(),
                        lend(named(c).as_slice())?.into(),
                    ])?,
                    other => anyhow::bail!("an encoder takes two or three inputs, not {}", other.len()),
                }
            }
        };
        std::hint::black_box(&outputs);
        Ok(())
    }
}
