//! A TCP proxy that does to a connection what a network does on a bad day.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

/// What happens to the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// They go through.
    Fair,
    /// Answers come so much later.
    Delay(Duration),
    /// Nothing goes through, and nobody is told.
    Frozen,
    /// Every answer ends after so many bytes, and its connection with it.
    CutAfter(usize),
    /// Connections are closed as soon as they are made, and those that were made are closed.
    Down,
}

/// Listens on a port of its own and passes on to another one.
pub struct Proxy {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    weather: Mutex<Weather>,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { weather: Mutex::new(Weather::Fair), open: Mutex::new(Vec::new()) });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                accepting.pass_on(stream, target);
            }
        });
        Self { addr, shared }
    }

    pub fn set(&self, weather: Weather) {
        *self.shared.weather.lock().unwrap() = weather;
        if weather == Weather::Down {
            self.shared.close_all();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(Weather::Down);
    }
}

impl Shared {
    fn weather(&self) -> Weather {
        *self.weather.lock().unwrap()
    }

    fn close_all(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn pass_on(self: &Arc<Self>, near: TcpStream, target: SocketAddr) {
        let far = match self.weather() {
            Weather::Down => None,
            _ => TcpStream::connect(target).ok(),
        };
        let Some(far) = far else { return };
        for stream in [&near, &far] {
            stream.set_nodelay(true).unwrap();
        }
        self.open.lock().unwrap().extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
        let (near_again, far_again) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        let (there, back) = (Arc::clone(self), Arc::clone(self));
        std::thread::spawn(move || there.copy(near, far, false));
        std::thread::spawn(move || back.copy(far_again, near_again, true));
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream, answers: bool) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            while self.weather() == Weather::Frozen {
                std::thread::sleep(Duration::from_millis(5));
            }
            let mut bytes = &buffer[..read];
            match self.weather() {
                Weather::Delay(time) if answers => std::thread::sleep(time),
                Weather::CutAfter(most) if answers => bytes = &bytes[..most.min(read)],
                _ => {}
            }
            let cut = bytes.len() < read;
            if to.write_all(bytes).is_err() || cut {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
