//! The socket file: mode 0600 from its first moment, a dead one replaced, a live one respected.

use std::{
    fs,
    io::{self, ErrorKind},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{
            fs::{FileTypeExt, MetadataExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use rustix::{fs::Mode, process::umask};

use crate::{Exit, Failure};

pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: the file is removed only while it is ours.
    identity: (u64, u64),
}

impl ControlSocket {
    /// Listens on `path`. Call before any thread starts: the umask is the process's.
    pub fn bind(path: &Path) -> Result<Self, Failure> {
        let refused = |error: io::Error| {
            Failure::new(
                Exit::HostRefuses,
                format!("cannot listen on {}: {error}; choose another --control path", path.display()),
            )
        };
        let listener = match Self::bind_private(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                if UnixStream::connect(path).is_ok() {
                    let message = format!(
                        "{} is already served by another engine; stop it or choose another --control path",
                        path.display()
                    );
                    return Err(Failure::new(Exit::HostRefuses, message));
                }
                if !fs::symlink_metadata(path).map_err(refused)?.file_type().is_socket() {
                    return Err(refused(error));
                }
                fs::remove_file(path).map_err(refused)?;
                Self::bind_private(path).map_err(refused)?
            }
            other => other.map_err(refused)?,
        };
        listener.set_nonblocking(true).map_err(refused)?;
        let metadata = fs::symlink_metadata(path).map_err(refused)?;
        Ok(Self { listener, path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) })
    }

    fn bind_private(path: &Path) -> io::Result<UnixListener> {
        let before = umask(Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(path);
        umask(before);
        listener
    }

    /// The next client that waits, if one does.
    pub fn accept(&self) -> Option<UnixStream> {
        let (stream, _) = self.listener.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(stream)
    }
}

impl AsFd for ControlSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|now| (now.dev(), now.ino()) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_dead_socket_is_replaced_and_a_live_one_respected() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let socket = ControlSocket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let failure = ControlSocket::bind(&path).err().unwrap();
        assert_eq!(failure.exit, Exit::HostRefuses);
        assert!(failure.message.contains("already served"), "{}", failure.message);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.txt");
        fs::write(&path, "mine").unwrap();
        assert_eq!(ControlSocket::bind(&path).err().unwrap().exit, Exit::HostRefuses);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }
}
