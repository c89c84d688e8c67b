//! Servers that are replaced one after the other, and models that change, while callers go on calling.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use hyper::Method;
use serde_json::json;
use tokio::task::JoinSet;

use super::{Front, serve};
use crate::{
    grpc::call::{Caller as GrpcCaller, frame},
    support::{HeldGolden, PATIENCE, Repository, Server, eventually},
    transport::client::{Client, Trust, handshake},
};

/// Callers of every kind, each of whom makes one request after the other and wants every one to be answered with 200.
struct Load {
    callers: JoinSet<()>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    leave: AtomicBool,
    answered: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

/// How a caller uses his connections to nginx.
#[derive(Debug, Clone, Copy)]
enum Habit {
    Kept,
    New,
    Http2,
    Grpc,
}

impl Load {
    fn start(front: &Front) -> Self {
        let (mut callers, shared) = (JoinSet::new(), Arc::new(Shared::default()));
        for n in 0..16 {
            let habit = [Habit::Kept, Habit::New, Habit::Http2, Habit::Grpc][n % 4];
            let (addr, trust, shared) = (front.nginx.addr, front.trust(), Arc::clone(&shared));
            callers.spawn(async move {
                let mut number = n;
                while !shared.leave.load(Ordering::Relaxed) {
                    number += 16;
                    // A connection is new after a while, as callers come and go.
                    if let Err(failure) = call_for_a_while(addr, &trust, habit, &mut number, &shared).await {
                        shared.failures.lock().unwrap().push(format!("{habit:?}: {failure}"));
                    }
                }
            });
        }
        Self { callers, shared }
    }

    fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Waits until so many more were answered.
    async fn goes_on(&self, more: usize) {
        let wanted = self.answered() + more;
        eventually("callers are answered", async || self.answered() >= wanted).await;
    }

    /// How many requests there were, all of which were answered as they should be.
    async fn stop(mut self) -> usize {
        self.shared.leave.store(true, Ordering::Relaxed);
        while let Some(caller) = self.callers.join_next().await {
            caller.unwrap();
        }
        let failures = self.shared.failures.lock().unwrap().clone();
        assert!(failures.is_empty(), "{} of {} were lost: {failures:#?}", failures.len(), self.answered());
        self.answered()
    }
}

async fn call_for_a_while(
    addr: SocketAddr,
    trust: &Trust,
    habit: Habit,
    number: &mut usize,
    shared: &Shared,
) -> Result<(), String> {
    let mut trust = trust.clone();
    let rounds = if matches!(habit, Habit::New) { 1 } else { 200 };
    if let Habit::Grpc = habit {
        let stream = handshake(addr, &trust).await.map_err(|error| error.to_string())?;
        let mut caller = GrpcCaller::over(stream).await;
        for _ in 0..rounds {
            let method = "/inference.GRPCInferenceService/ModelReady";
            let answer = caller.send(method, &[], frame(b"\x0a\x07doubler")).await;
            if (answer.http.as_u16(), &answer.body[..]) != (200, &[0, 0, 0, 0, 2, 8, 1]) {
                return Err(format!("{answer:?}"));
            }
            shared.answered.fetch_add(1, Ordering::Relaxed);
            if shared.leave.load(Ordering::Relaxed) {
                break;
            }
        }
        return Ok(());
    }
    if !matches!(habit, Habit::Http2) {
        trust.protocols = &["http/1.1"];
    }
    let mut client = Client::https(addr, &trust).await?;
    for _ in 0..rounds {
        *number += 16;
        // Never the same twice: nothing comes from the cache.
        let answer = client.try_post("/v1/predict", &json!({"model": "doubler", "input": [*number]})).await;
        let answer = answer.map_err(|error| format!("{error:?}"))?;
        if answer.status != 200 || answer.json()["prediction"] != json!([2.0 * *number as f64]) {
            return Err(format!("{} {}", answer.status, answer.json()));
        }
        shared.answered.fetch_add(1, Ordering::Relaxed);
        if shared.leave.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_replaced_one_after_the_other_lose_no_request() {
    let front = Front::new();
    let mut servers = [front.start(0, &[]), front.start(1, &[])];
    let load = Load::start(&front);
    load.goes_on(500).await;
    for (number, server) in servers.iter_mut().enumerate() {
        server.signal("TERM");
        let ended = tokio::task::block_in_place(|| server.wait(PATIENCE));
        assert_eq!(ended.expect("the server ends").code(), Some(0));
        load.goes_on(200).await;
        *server = tokio::task::block_in_place(|| front.start(number, &[]));
        let new = server.addr;
        eventually("the new one is called", async || predictions(new).await > 20).await;
    }
    let all = load.stop().await;
    assert!(all > 1000, "only {all} requests");
    println!("{all} requests, none lost");
    assert!(!front.nginx.errors().contains("[alert]"), "{}", front.nginx.errors());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_of_a_model_comes_to_one_server_after_the_other_and_goes_again_without_a_lost_request() {
    let front = Front::new();
    let repositories = [Repository::new(), Repository::new()];
    for repository in &repositories {
        repository.write("doubler/1/model.onnx", include_bytes!("../../../model/doubler/1/model.onnx"));
    }
    let start = |number: usize| {
        let path = repositories[number].path().display().to_string();
        front.start(number, &[("models.files", ""), ("models.repository", &path)])
    };
    let servers = [start(0), start(1)];
    let load = Load::start(&front);
    load.goes_on(300).await;
    // There, and back.
    for version in ["2", "1"] {
        for (repository, server) in repositories.iter().zip(&servers) {
            match version {
                "2" => drop(
                    repository.write("doubler/2/model.onnx", include_bytes!("../../../model/doubler/1/model.onnx")),
                ),
                _ => std::fs::remove_dir_all(repository.path().join("doubler/2")).unwrap(),
            }
            let mut direct = Client::http1(server.addr).await;
            let answer = direct.send(Method::POST, "/v2/repository/models/doubler/load", &[], "").await;
            assert_eq!(answer.status, 200, "{}", answer.json());
            load.goes_on(300).await;
        }
        // From here on, nobody is answered by the other one.
        let mut caller = front.caller([127, 0, 0, 2]).await;
        for n in 0..20 {
            let answer = caller.post("/v1/predict", &json!({"model": "doubler", "input": [n]})).await.json();
            assert_eq!(answer["model_version"], version);
        }
    }
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_models_are_still_loading_is_left_alone() {
    let (front, repository) = (Front::new(), Repository::new());
    repository.copy("doubler", "doubler");
    // It loads until the disk gives its samples.
    let disk = HeldGolden::new();
    let _old = front.start(0, &[]);
    let load = Load::start(&front);
    let path = repository.path().display().to_string();
    let new = [("models.files", ""), ("models.repository", &*path), ("server.metrics_listen", "127.0.0.1:0")];
    let new = Server::spawn(disk.hold(&mut serve(front.servers[1], &new)));
    let probes = new.log.iter().find_map(|line| line["metrics_addr"].as_str()).unwrap().parse().unwrap();
    assert_eq!(Client::http1(probes).await.get("/readyz").await.status, 503);
    load.goes_on(500).await;
    let refused = std::net::TcpStream::connect(new.addr).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    disk.release();
    eventually("it is ready", async || Client::http1(probes).await.get("/readyz").await.status == 200).await;
    eventually("it is called", async || predictions(probes).await > 20).await;
    load.stop().await;
}

/// Predictions that a server has made.
async fn predictions(addr: SocketAddr) -> u64 {
    let metrics = Client::http1(addr).await.get("/metrics").await;
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    let lines = text.lines().filter(|line| line.starts_with("predictions_total{") && line.contains("outcome=\"ok\""));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}
