//! Behind a real nginx with the configuration that is shipped: who calls, what is refused, and servers that are replaced.

mod callers;
mod repeated;
mod rolling;

use std::{net::SocketAddr, process::Command};

use crate::{
    support::{Nginx, Server, free, glassbox, variable},
    transport::{
        certificates::{Pair, trust},
        client::{Client, Trust},
    },
};

/// nginx with a certificate, in front of two addresses.
struct Front {
    nginx: Nginx,
    pair: Pair,
    servers: [SocketAddr; 2],
}

impl Front {
    /// Nobody listens behind it yet.
    fn new() -> Self {
        let (servers, pair) = (free(), Pair::new());
        Self { nginx: Nginx::start(servers, &pair.cert(), &pair.key()), pair, servers }
    }

    fn trust(&self) -> Trust {
        trust(&[&self.pair])
    }

    /// A caller by HTTP/2, of this address.
    async fn caller(&self, address: [u8; 4]) -> Client {
        Client::https_from(address, self.nginx.addr, &self.trust()).await
    }

    /// The server of this number, as it is configured behind nginx but for what a test changes.
    fn start(&self, number: usize, settings: &[(&str, &str)]) -> Server {
        Server::start(&mut serve(self.servers[number], settings))
    }
}

/// Anyone may call `doubler`.
fn serve(listen: SocketAddr, settings: &[(&str, &str)]) -> Command {
    let mut command = glassbox(&["serve", "--config", "deploy/systemd/glassbox.toml"]);
    command.args(["--listen", &listen.to_string()]);
    command.env(variable("models.repository"), "").env(variable("models.files"), "model/doubler/1/model.onnx");
    command.env(variable("auth.mode"), "off").env(variable("rate_limit.enabled"), "false");
    command.envs(settings.iter().map(|(key, value)| (variable(key), value)));
    command
}
