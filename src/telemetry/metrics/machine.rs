//! What the process runs on: its async threads, and what a CPU quota takes from it.

use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use prometheus::{Counter, IntGauge};
use tokio::runtime::Handle;

use super::family::Families;

/// Async threads and the CPU quota.
#[derive(Debug)]
pub struct MachineMetrics {
    threads: IntGauge,
    tasks: IntGauge,
    busy: Counter,
    periods: Counter,
    throttled_periods: Counter,
    throttled: Counter,
    runtimes: OnceLock<Vec<Handle>>,
    /// The file in which the kernel counts, if there is a quota; found once. Held while it is read, as two readers would
    /// count the same twice.
    quota: Mutex<Option<PathBuf>>,
}

/// What the kernel has counted of a control group since it began.
#[derive(Debug, Default, PartialEq)]
struct Quota {
    periods: u64,
    throttled_periods: u64,
    throttled: Duration,
}

impl MachineMetrics {
    pub(super) fn new(families: Families<'_>) -> anyhow::Result<Self> {
        Ok(Self {
            threads: families.gauge("async_threads", "Threads that hold connections and wait for nothing.")?,
            tasks: families
                .gauge("async_tasks", "Tasks on these threads: connections, and what goes on beside them.")?,
            busy: families.sum("async_busy_seconds_total", "Time that these threads were busy, added up.")?,
            periods: families.sum("cgroup_cpu_periods_total", "Periods of the CPU quota in which the process ran.")?,
            throttled_periods: families
                .sum("cgroup_cpu_throttled_periods_total", "Periods in which the CPU quota was used up.")?,
            throttled: families
                .sum("cgroup_cpu_throttled_seconds_total", "Time that threads were held up by the CPU quota.")?,
            runtimes: OnceLock::new(),
            quota: Mutex::new(statistics()),
        })
    }

    /// Tells from now on how these do. A second list is not looked at.
    pub fn follow(&self, runtimes: Vec<Handle>) {
        let _ = self.runtimes.set(runtimes);
    }

    /// Brings up to date what is counted elsewhere.
    pub(super) fn observe(&self) {
        let quota = self.quota.lock().unwrap_or_else(PoisonError::into_inner);
        let runtimes = self.runtimes.get().map(Vec::as_slice).unwrap_or_default();
        let signed = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let workers = |runtime: &Handle| runtime.metrics().num_workers();
        self.threads.set(runtimes.iter().map(|runtime| signed(workers(runtime))).sum());
        self.tasks.set(runtimes.iter().map(|runtime| signed(runtime.metrics().num_alive_tasks())).sum());
        let busy = |runtime: &Handle| -> Duration {
            (0..workers(runtime)).map(|worker| runtime.metrics().worker_total_busy_duration(worker)).sum()
        };
        rise(&self.busy, runtimes.iter().map(busy).sum::<Duration>().as_secs_f64());
        if let Some(text) = quota.as_ref().and_then(|path| fs::read_to_string(path).ok()) {
            let Quota { periods, throttled_periods, throttled } = Quota::parse(&text);
            #[expect(clippy::cast_precision_loss, reason = "2^53 periods are millions of years")]
            for (counter, count) in [(&self.periods, periods), (&self.throttled_periods, throttled_periods)] {
                rise(counter, count as f64);
            }
            rise(&self.throttled, throttled.as_secs_f64());
        }
    }
}

/// Brings a counter to a total that is counted elsewhere.
fn rise(counter: &Counter, total: f64) {
    counter.inc_by((total - counter.get()).max(0.0));
}

/// `cpu.stat` of this process' control group, where the system has them: of version 2, or the controller of version 1.
fn statistics() -> Option<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let groups = own.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        rest.split_once(':')
    });
    let mut candidates = Vec::new();
    for (controllers, path) in groups {
        let path = path.trim_start_matches('/');
        let roots: &[&str] = match controllers {
            "" => &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"],
            _ if controllers.split(',').any(|name| name == "cpu") => {
                &["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"]
            }
            _ => continue,
        };
        // In a container, the group's own folder is often all that is mounted.
        let folders = roots.iter().flat_map(|root| [PathBuf::from(root).join(path), PathBuf::from(root)]);
        candidates.extend(folders.map(|folder| folder.join("cpu.stat")));
    }
    candidates.into_iter().find(|file| fs::read_to_string(file).is_ok_and(|text| text.contains("nr_throttled")))
}

impl Quota {
    fn parse(text: &str) -> Self {
        let number = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.and_then(|value| value.trim().parse::<u64>().ok())
        };
        let version2 = number("throttled_usec").map(Duration::from_micros);
        let version1 = || number("throttled_time").map(Duration::from_nanos);
        Self {
            periods: number("nr_periods").unwrap_or_default(),
            throttled_periods: number("nr_throttled").unwrap_or_default(),
            throttled: version2.or_else(version1).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_the_kernels_statistics_are_read() {
        let expected = Quota { periods: 12, throttled_periods: 3, throttled: Duration::from_micros(4500) };
        let two = "usage_usec 99\nuser_usec 9\nnr_periods 12\nnr_throttled 3\nthrottled_usec 4500\n";
        let one = "nr_periods 12\nnr_throttled 3\nthrottled_time 4500000\n";
        assert_eq!((Quota::parse(two), Quota::parse(one)), (Quota { ..expected }, expected));
        assert_eq!(Quota::parse("nonsense"), Quota::default());
    }
}
