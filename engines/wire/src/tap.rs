//! The end of the wire on a host: a TAP device in its network namespace, gone when this process is.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    path::{Path, PathBuf},
    thread,
};

pub struct Tap(OwnedFd);

/// Makes the device `name` in the namespace that is mounted at `netns`.
pub fn make(netns: &Path, name: &str) -> io::Result<Tap> {
    let (netns, name): (PathBuf, String) = (netns.into(), name.into());
    let told = |error: io::Error| io::Error::new(error.kind(), format!("{name} in {}: {error}", netns.display()));
    // A thread of its own: the namespace that it enters is not ours.
    let made = thread::scope(|scope| scope.spawn(|| make_here(&netns, &name)).join());
    made.unwrap_or_else(|_| Err(io::Error::other("panicked"))).map_err(told)
}

fn make_here(netns: &Path, name: &str) -> io::Result<Tap> {
    rustix::thread::move_into_link_name_space(
        File::open(netns)?.as_fd(),
        Some(rustix::thread::LinkNameSpaceType::Network),
    )?;
    let flags = libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC;
    // SAFETY: a terminated string; the result is checked.
    let fd = check(unsafe { libc::open(c"/dev/net/tun".as_ptr(), flags) })?;
    // SAFETY: just opened, owned by nobody else.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: all zeros is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.is_empty() || name.len() >= libc::IFNAMSIZ {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // Without IFF_VNET_HDR the kernel cuts what it would offload: each frame is lost by itself, as on a wire.
    request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: takes an ifreq that lives through the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF as _, &mut request) })?;
    Ok(Tap(fd))
}

impl Tap {
    /// None: nothing waits.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match rustix::io::read(&self.0, buffer) {
            Ok(length) => Ok(Some(length)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A host that does not take the frame, because its end is down, loses it.
    pub fn write(&self, frame: &[u8]) -> bool {
        rustix::io::write(&self.0, frame).is_ok()
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
