//! Where connections come from: TCP and Unix sockets.
use std::{
    fs,
    io::{self, ErrorKind},
    net::ToSocketAddrs as _,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    task::{Poll, ready},
    time::Duration,
};

use futures::{StreamExt as _, stream::BoxStream};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use tonic::transport::server::TcpIncoming;

use crate::config::Address;

/// A socket that is bound.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// The file of a Unix socket, which is removed in the end.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and number, by which a file of the same name that somebody else has put there is told from it.
    id: (u64, u64),
}

/// A connection that nobody reads from yet.
pub(super) enum Accepted {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// A connection of whatever kind, so that serving is compiled once.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

/// How long a connection may be silent before its other end is asked, by TCP, whether it still is there.
const TCP_KEEP_ALIVE: Duration = Duration::from_secs(60);

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Listener {
    /// Listens on `address`.
    pub(super) async fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp { .. } => {
                // Resolving a name asks the network only where it is not the machine's own, and this is before serving.
                let addresses: Vec<_> = address.to_string().to_socket_addrs()?.collect();
                Ok(Self::Tcp(TcpListener::bind(&*addresses).await?))
            }
            Address::Unix(path) => {
                remove_stale(path).await?;
                let listener = UnixListener::bind(path)?;
                // Whatever the working directory is by the time that the file is removed.
                let path = std::path::absolute(path)?;
                let id = id(&path)?;
                Ok(Self::Unix(listener, SocketFile { path, id }))
            }
        }
    }

    /// Where it listens, with the port that the system gave.
    pub(super) fn address(&self) -> io::Result<Address> {
        Ok(match self {
            Self::Tcp(listener) => {
                let address = listener.local_addr()?;
                Address::Tcp { host: address.ip().to_string(), port: address.port() }
            }
            Self::Unix(_, file) => Address::Unix(file.path.clone()),
        })
    }

    /// The connections. Once this is dropped nobody listens any more.
    pub(super) fn incoming(self) -> BoxStream<'static, io::Result<Accepted>> {
        match self {
            Self::Tcp(listener) => TcpIncoming::from(listener)
                .with_nodelay(Some(true))
                .with_keepalive(Some(TCP_KEEP_ALIVE))
                .map(|stream| Ok(Accepted::Tcp(stream?.into_std()?)))
                .boxed(),
            Self::Unix(listener, file) => futures::stream::poll_fn(move |context| {
                let _kept = &file;
                let accepted = ready!(listener.poll_accept(context));
                Poll::Ready(Some(accepted.and_then(|(stream, _)| Ok(Accepted::Unix(stream.into_std()?)))))
            })
            .boxed(),
        }
    }
}

impl Accepted {
    /// Opens it on the runtime that this is called on, which is then the one that watches it.
    pub(super) fn open(self) -> io::Result<Box<dyn Io>> {
        Ok(match self {
            Self::Tcp(stream) => Box::new(TcpStream::from_std(stream)?),
            Self::Unix(stream) => Box::new(UnixStream::from_std(stream)?),
        })
    }
}

/// Removes the socket at `path` if nobody listens on it, such as one that was left by a process that was killed.
async fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => return Err(io::Error::new(ErrorKind::AlreadyExists, "there is a file that is no socket")),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        // A listener whose queue is full is one, too.
        Ok(_) => Err(in_use()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(in_use()),
        Err(error) => Err(error),
    }
}

fn in_use() -> io::Error {
    io::Error::new(ErrorKind::AddrInUse, "another program listens there")
}

fn id(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if id(&self.path).is_ok_and(|id| id == self.id) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_taken_over_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let address = Address::Unix(path.clone());
        let failure = async || Listener::bind(&address).await.unwrap_err();

        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listener = Listener::bind(&address).await.expect("nobody listens there");
        assert_eq!(listener.address().unwrap().to_string(), format!("unix://{}", path.display()));
        assert_eq!(failure().await.kind(), ErrorKind::AddrInUse);
        drop(listener);
        assert!(!path.exists(), "it is removed");

        fs::write(&path, "precious").unwrap();
        assert_eq!(failure().await.to_string(), "there is a file that is no socket");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn the_socket_of_somebody_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = Listener::bind(&Address::Unix(path.clone())).await.unwrap();
        fs::rename(&path, folder.path().join("moved")).unwrap();
        fs::write(&path, "another").unwrap();
        drop(listener);
        assert!(path.exists());
    }
}
