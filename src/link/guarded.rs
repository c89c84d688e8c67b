//! The stream under a connection to Redis: it breaks when the server sends more than it was asked for, or too large a reply.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::scanner::{Limits, Refused, Scanner};

/// A stream whose replies are bounded before anything buffers them.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    stream: S,
    replies: Scanner,
    commands: Scanner,
    /// Commands that were written and are not yet answered.
    unanswered: usize,
    /// Told to the connection, which cannot see from an error of the client why it was broken.
    broken: Arc<AtomicBool>,
}

impl<S> Guarded<S> {
    /// `max_reply_bytes` bounds each reply; `broken` is set when the server goes beyond it.
    pub(super) fn new(stream: S, max_reply_bytes: usize, broken: Arc<AtomicBool>) -> Self {
        let replies = Scanner::new(Limits::of_replies(max_reply_bytes));
        Self { stream, replies, commands: Scanner::new(Limits::none()), unanswered: 0, broken }
    }

    fn received(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        if bytes.is_empty() {
            return Ok(());
        }
        // A server speaks when it is asked.
        if self.unanswered == 0 {
            return Err(Refused);
        }
        let answered = self.replies.read(bytes)?;
        self.unanswered = self.unanswered.checked_sub(answered).ok_or(Refused)?;
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.broken.load(Ordering::Relaxed) {
            return Poll::Ready(Err(refused()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        if this.received(&buffer.filled()[before..]).is_err() {
            this.broken.store(true, Ordering::Relaxed);
            buffer.set_filled(before);
            return Poll::Ready(Err(refused()));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        let begun = this.commands.read(bytes.get(..written).unwrap_or_default()).map_err(|Refused| refused())?;
        this.unanswered += begun;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the server sends more than it was asked for")
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_reply_to_no_command_breaks_the_stream_and_it_stays_broken() {
        let (mut server, client) = duplex(1024);
        let broken = Arc::new(AtomicBool::new(false));
        let mut client = Guarded::new(client, 100, Arc::clone(&broken));
        let mut buffer = [0; 64];
        client.write_all(b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI").await.unwrap();
        server.write_all(b"+PONG\r\n").await.unwrap();
        assert_eq!(client.read(&mut buffer).await.unwrap(), 7);
        // The second command was not written to its end.
        server.write_all(b"+PONG\r\n").await.unwrap();
        assert!(client.read(&mut buffer).await.is_err());
        assert!(broken.load(Ordering::Relaxed));
        client.write_all(b"NG\r\n").await.unwrap();
        server.write_all(b"+PONG\r\n").await.unwrap();
        assert!(client.read(&mut buffer).await.is_err());
    }
}
