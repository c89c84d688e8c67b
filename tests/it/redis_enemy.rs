//! A Redis that sends what no Redis sends takes no memory, and costs no caller anything.

use std::time::Duration;

use glassbox::config::{CacheMode, Role};
use serde_json::json;

use crate::support::{Enemy, TestApp, TestAppBuilder, Trick, eventually};

const REASON: &str = "it sends more than it was asked for";

/// Of what is sent on one connection, before the client closes it. The kernel's buffers take some megabytes of it.
const MAX_TAKEN: u64 = 64 * 1024 * 1024;

const TRICKS: [(&str, Trick); 8] = [
    ("a string without end", (b"$9000000000\r\n", b"x")),
    ("a list without end", (b"*2000000000\r\n", b":1\r\n")),
    ("a line without end", (b"+", b"x")),
    ("lists that announce billions", (b"*2147483647\r\n*2147483647\r\n*2147483647\r\n", b"")),
    ("lists in lists", (b"*1\r\n", b"*1\r\n")),
    ("messages that nobody has subscribed to", (b"", b">2\r\n+invalidate\r\n*1\r\n+k\r\n")),
    ("replies to no command", (b"", b"+OK\r\n")),
    ("no protocol at all", (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"x")),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_sends_too_much_is_left_alone_and_predictions_go_on() {
    for (what, trick) in TRICKS {
        let enemy = Enemy::start(trick);
        let app = TestApp::with(|config| {
            config.cache.mode = CacheMode::Redis;
            config.redis.url = enemy.url();
            config.redis.timeout = Duration::from_secs(2);
            config.rate_limit.enabled = false;
        })
        .await;
        eventually(what, async || {
            assert_eq!(app.predict(json!({"model": "doubler", "input": [1, 2.5]})).await, json!([2.0, 5.0]));
            enemy.given_up() >= 2 && app.get("/readyz").await.1.to_string().contains(REASON)
        })
        .await;
        assert!(enemy.taken() < MAX_TAKEN, "{what}: {} bytes were taken", enemy.taken());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_sends_too_much_is_left_alone() {
    for (what, trick) in TRICKS {
        let enemy = Enemy::start(trick);
        let builder = TestAppBuilder::new(|config| {
            config.server.role = Role::Api;
            config.redis.url = enemy.url();
            config.cache.mode = CacheMode::Off;
            config.queue.timeout = Duration::from_secs(3);
        });
        let app = builder.start().await;
        eventually(what, async || enemy.given_up() >= 3 && app.get("/readyz").await.1.to_string().contains(REASON))
            .await;
        assert!(enemy.taken() < MAX_TAKEN, "{what}: {} bytes were taken", enemy.taken());
    }
}
