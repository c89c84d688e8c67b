//! Random requests: paths, methods, models, versions, keys, and headers that choose what is done.

use std::fmt::Write;

use crate::support::Key;

/// The same ones for the same seed.
pub struct Requests {
    state: u64,
    valid: Vec<Key>,
}

pub struct Request {
    pub text: String,
    /// Whether its answer has no body.
    pub bodiless: bool,
}

const PATHS: [&str; 14] = [
    "/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/v1/models",
    "/v1/models/doubler",
    "/v1/models/doubler/versions/1",
    "/v1/predict",
    "/v1/predict_batch",
    "/v1/predictions",
    "/v1/stats",
    "/docs",
    "/favicon.ico",
    "/.env",
];

const METHODS: [&str; 9] = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "PROPFIND"];

impl Requests {
    pub fn new(seed: usize, valid: &[Key]) -> Self {
        Self { state: seed as u64, valid: valid.to_owned() }
    }

    pub fn next(&mut self) -> Request {
        // Most go where something can be counted.
        let (method, path, body) = match self.below(4) {
            0 => ("POST".to_owned(), "/v1/predict".to_owned(), self.predict()),
            1 => ("POST".to_owned(), "/v1/predict_batch".to_owned(), self.batch()),
            2 => ("GET".to_owned(), self.path(), String::new()),
            _ => (self.method(), self.path(), String::new()),
        };
        let bodiless = method == "HEAD";
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
        self.key(&mut text);
        self.headers(&mut text);
        if !body.is_empty() {
            let media = if self.below(20) == 0 { "text/plain" } else { "application/json" };
            write!(text, "Content-Type: {media}\r\nContent-Length: {}\r\n", body.len()).unwrap();
        }
        text.push_str("\r\n");
        text.push_str(&body);
        Request { text, bodiless }
    }

    fn method(&mut self) -> String {
        match self.below(2) {
            0 => METHODS[self.below(METHODS.len())].to_owned(),
            _ => self.word(12).to_uppercase(),
        }
    }

    fn path(&mut self) -> String {
        let (one, other) = (self.word(30), self.word(10));
        match self.below(6) {
            0 | 1 => PATHS[self.below(PATHS.len())].to_owned(),
            2 => format!("/v1/models/{one}"),
            3 => format!("/v1/models/{one}/versions/{other}"),
            4 => format!("/{one}/{other}?{}={}", self.word(5), self.word(5)),
            _ => format!("/v1/{one}%2F{other}"),
        }
    }

    fn predict(&mut self) -> String {
        match self.below(5) {
            0 => format!(r#"{{"model":"{}","input":[1]}}"#, self.word(40)),
            1 => format!(r#"{{"model":"doubler","version":"{}","input":[1]}}"#, self.word(10)),
            2 => format!(r#"{{"model":"doubler","input":[{}]}}"#, self.below(1_000_000)),
            3 => format!(r#"{{"{}":"{}"}}"#, self.word(10), self.word(10)),
            _ => format!(r#"{{"model":"doubler","input":"{}"}}"#, self.word(10)),
        }
    }

    fn batch(&mut self) -> String {
        let (one, other) = (self.below(1000), self.below(1000));
        match self.below(4) {
            0 => format!(r#"{{"model":"{}","inputs":[[{one}],[{other}]]}}"#, self.word(20)),
            1 => "[".repeat(self.below(20) + 1),
            _ => format!(r#"{{"model":"doubler","inputs":[[{one}],[{other}],[{one}]]}}"#),
        }
    }

    /// Half of the callers have a good one, or hardly anything would get past it.
    fn key(&mut self, text: &mut String) {
        let which = self.below(self.valid.len());
        let good = self.valid[which].text.clone();
        let key = match self.below(10) {
            0 => return,
            1 => self.word(60),
            2 => format!("gb_{}_{}", self.word(12), self.word(40)),
            3 => self.valid[0].forged(),
            4 => format!("{good}x"),
            _ => good,
        };
        match self.below(2) {
            0 => write!(text, "Authorization: Bearer {key}\r\n"),
            _ => write!(text, "X-API-Key: {key}\r\n"),
        }
        .unwrap();
    }

    fn headers(&mut self, text: &mut String) {
        let cache = match self.below(8) {
            0 => "no-cache".to_owned(),
            1 => "no-store".to_owned(),
            2 => "only-if-cached".to_owned(),
            3 => format!("max-age={}", self.below(100)),
            4 => format!("{}={}", self.word(8), self.word(8)),
            _ => String::new(),
        };
        if !cache.is_empty() {
            write!(text, "Cache-Control: {cache}\r\n").unwrap();
        }
        let octet = |number: usize| number % 256;
        let address = self.below(usize::MAX);
        write!(text, "X-Forwarded-For: 198.{}.{}.{}\r\n", octet(address), octet(address >> 8), octet(address >> 16))
            .unwrap();
        write!(text, "X-Request-Id: {}\r\nUser-Agent: {}\r\n", self.word(40), self.word(40)).unwrap();
    }

    /// Letters and digits, up to so many.
    fn word(&mut self, most: usize) -> String {
        let length = self.below(most) + 1;
        (0..length).map(|_| char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[self.below(36)])).collect()
    }

    /// SplitMix64.
    fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}
