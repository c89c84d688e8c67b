//! A real nginx with the configuration that is shipped: only ports and paths are put in the place of others.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{free, project, until};

/// Ended with the test.
pub struct Nginx {
    child: Child,
    folder: TempDir,
    /// Where it speaks TLS.
    pub addr: SocketAddr,
    /// Where it does not.
    pub plain: SocketAddr,
}

impl Nginx {
    /// In front of two servers, with a certificate and its key.
    pub fn start(servers: [SocketAddr; 2], certificate: &Path, key: &Path) -> Self {
        let folder = TempDir::new().unwrap();
        let [addr, plain] = free();
        let mut shipped = fs::read_to_string(project().join("deploy/nginx/glassbox.conf")).unwrap();
        for (there, here) in [
            ("listen 80;", format!("listen {plain};")),
            ("listen 443 ssl", format!("listen {addr} ssl")),
            ("server 127.0.0.1:8081 ", format!("server {} ", servers[0])),
            ("server 127.0.0.1:8082 ", format!("server {} ", servers[1])),
            ("/etc/nginx/tls/cert.pem", certificate.display().to_string()),
            ("/etc/nginx/tls/key.pem", key.display().to_string()),
            ("/var/log/nginx/", format!("{}/", folder.path().display())),
        ] {
            assert!(shipped.contains(there), "{there} is not in the configuration");
            shipped = shipped.replace(there, &here);
        }
        let main = format!(
            "daemon off; user root; pid pid; events {{ worker_connections 4096; }} http {{ {FOLDERS} {shipped} }}"
        );
        fs::write(folder.path().join("nginx.conf"), main).unwrap();
        let mut command = Command::new(program());
        command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "error.log"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child
            .unwrap_or_else(|error| panic!("nginx does not start ({error}): run 'make setup', or install nginx-light"));
        let mut nginx = Self { child, folder, addr, plain };
        until("nginx listens", || {
            let ended = nginx.child.try_wait().unwrap();
            assert!(ended.is_none(), "nginx ends: {}", nginx.errors());
            TcpStream::connect(addr).is_ok()
        });
        nginx
    }

    /// What it logged of one request.
    pub fn line(&self, request_id: &str) -> Value {
        let mut found = None;
        until("nginx logs the request", || {
            found = self.lines().into_iter().find(|line| line["request_id"] == request_id);
            found.is_some()
        });
        found.unwrap()
    }

    /// Its log, whole lines of it.
    pub fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("glassbox.log")).unwrap();
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
    }

    /// What went wrong, in its own words.
    pub fn errors(&self) -> String {
        fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    /// Killed, it would leave its workers behind.
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-s", "TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

/// Where it may write.
const FOLDERS: &str = "client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; \
     uwsgi_temp_path uwsgi; scgi_temp_path scgi;";

/// Packages put it where only root's PATH leads.
fn program() -> &'static str {
    ["/usr/sbin/nginx", "/usr/local/sbin/nginx"].into_iter().find(|path| Path::new(path).exists()).unwrap_or("nginx")
}
