//! The requests, one by one.

use std::{
    ffi::CStr,
    fs::File,
    io,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, SystemTime},
};

use libc::EPERM;
use virtiofsd::{
    filesystem::{
        Context, Entry, Extensions, FileSystem, FsOptions, GetxattrReply, ListxattrReply,
        OpenOptions, SerializableFileSystem, SetattrValid, SetxattrFlags, ZeroCopyReader,
        ZeroCopyWriter,
    },
    fuse::{Attr, SetattrIn},
};

use super::{Watched, facts, note_lookup};
use crate::changes::{Change, What, pretence::CLOSING_HANDLE};

/// The answer to a lookup that arms. No file system gives it, so the agent knows that it was understood
/// and that what it does next is not carried out.
pub(super) const ARMED: i32 = libc::EALREADY;

fn writes(flags: u32) -> bool {
    flags.cast_signed() & libc::O_ACCMODE != libc::O_RDONLY
}

fn truncates(flags: u32) -> bool {
    flags.cast_signed() & libc::O_TRUNC != 0
}

/// Functions that only pass through.
macro_rules! pass {
    {
        $(fn $name:ident$(<$generic:ident: $bound:path>)?(
            &self $(, $par:ident: $type:ty)* $(,)?
        )$( -> $ret:ty)?;)*
    } => {
        $(fn $name$(<$generic: $bound>)?(&self $(, $par: $type)*)$( -> $ret)? {
            self.inner.$name($($par),*)
        })*
    }
}

impl<F: FileSystem<Inode = u64, Handle = u64>> FileSystem for Watched<F> {
    type Inode = u64;
    type Handle = u64;
    type DirIter = F::DirIter;

    pass! {
        fn init(&self, capable: FsOptions) -> io::Result<FsOptions>;
        fn destroy(&self);
        fn getattr(&self, ctx: Context, inode: u64, handle: Option<u64>)
            -> io::Result<(Attr, Duration)>;
        fn readlink(&self, ctx: Context, inode: u64) -> io::Result<Vec<u8>>;
        fn read<W: ZeroCopyWriter>(&self, ctx: Context, inode: u64, handle: u64, w: W, size: u32,
            offset: u64, lock_owner: Option<u64>, flags: u32) -> io::Result<usize>;
        fn fsync(&self, ctx: Context, inode: u64, datasync: bool, handle: u64) -> io::Result<()>;
        fn statfs(&self, ctx: Context, inode: u64) -> io::Result<libc::statvfs64>;
        fn getxattr(&self, ctx: Context, inode: u64, name: &CStr, size: u32)
            -> io::Result<GetxattrReply>;
        fn listxattr(&self, ctx: Context, inode: u64, size: u32) -> io::Result<ListxattrReply>;
        fn setxattr(&self, ctx: Context, inode: u64, name: &CStr, value: &[u8], flags: u32,
            extra_flags: SetxattrFlags) -> io::Result<()>;
        fn removexattr(&self, ctx: Context, inode: u64, name: &CStr) -> io::Result<()>;
        fn opendir(&self, ctx: Context, inode: u64, flags: u32)
            -> io::Result<(Option<u64>, OpenOptions)>;
        fn readdir(&self, ctx: Context, inode: u64, handle: u64, size: u32, offset: u64)
            -> io::Result<F::DirIter>;
        fn fsyncdir(&self, ctx: Context, inode: u64, datasync: bool, handle: u64)
            -> io::Result<()>;
        fn releasedir(&self, ctx: Context, inode: u64, flags: u32, handle: u64) -> io::Result<()>;
        fn access(&self, ctx: Context, inode: u64, mask: u32) -> io::Result<()>;
        fn lseek(&self, ctx: Context, inode: u64, handle: u64, offset: u64, whence: u32)
            -> io::Result<u64>;
        fn syncfs(&self, ctx: Context, inode: u64) -> io::Result<()>;
    }

    fn lookup(&self, ctx: Context, parent: u64, name: &CStr) -> io::Result<Entry> {
        let Some(mut state) = self.changes.active() else {
            return self.inner.lookup(ctx, parent, name);
        };
        let place = self.place(ctx, parent, name);
        if let Some(place) = &place {
            let folder = (place.folder, parent);
            if state.pretence.arm(name, ctx.pid, folder) {
                return Err(io::Error::from_raw_os_error(ARMED));
            }
            if let Some(answer) = self.pretend(&mut state, ctx, place) {
                return answer;
            }
        }
        let entry = self.inner.lookup(ctx, parent, name)?;
        note_lookup(&mut state, place.as_ref(), &entry);
        Ok(entry)
    }

    fn forget(&self, ctx: Context, inode: u64, count: u64) {
        let count = self.changes.lock().pretence.give_back(inode, count);
        if count > 0 {
            self.inner.forget(ctx, inode, count);
        }
    }

    fn batch_forget(&self, ctx: Context, mut requests: Vec<(u64, u64)>) {
        let mut state = self.changes.lock();
        for (inode, count) in &mut requests {
            *count = state.pretence.give_back(*inode, *count);
        }
        drop(state);
        requests.retain(|(_, count)| *count > 0);
        self.inner.batch_forget(ctx, requests);
    }

    fn setattr(
        &self,
        ctx: Context,
        inode: u64,
        attr: SetattrIn,
        handle: Option<u64>,
        valid: SetattrValid,
    ) -> io::Result<(Attr, Duration)> {
        let mut state = self.changes.active();
        if state.as_ref().is_some_and(|state| state.pretence.armed(ctx.pid).is_some()) {
            return self.inner.getattr(ctx, inode, handle);
        }
        let done = self.inner.setattr(ctx, inode, attr, handle, valid)?;
        if let Some(state) = &mut state {
            state.tree.guest_wrote(facts(&done.0));
        }
        Ok(done)
    }

    fn symlink(
        &self,
        ctx: Context,
        linkname: &CStr,
        parent: u64,
        name: &CStr,
        extensions: Extensions,
    ) -> io::Result<Entry> {
        self.make(ctx, parent, name, || self.inner.symlink(ctx, linkname, parent, name, extensions))
    }

    fn mknod(
        &self,
        ctx: Context,
        parent: u64,
        name: &CStr,
        mode: u32,
        rdev: u32,
        umask: u32,
        extensions: Extensions,
    ) -> io::Result<Entry> {
        self.make(ctx, parent, name, || {
            self.inner.mknod(ctx, parent, name, mode, rdev, umask, extensions)
        })
    }

    fn mkdir(
        &self,
        ctx: Context,
        parent: u64,
        name: &CStr,
        mode: u32,
        umask: u32,
        extensions: Extensions,
    ) -> io::Result<Entry> {
        self.make(ctx, parent, name, || {
            self.inner.mkdir(ctx, parent, name, mode, umask, extensions)
        })
    }

    fn link(&self, ctx: Context, inode: u64, parent: u64, name: &CStr) -> io::Result<Entry> {
        self.make(ctx, parent, name, || self.inner.link(ctx, inode, parent, name))
    }

    fn unlink(&self, ctx: Context, parent: u64, name: &CStr) -> io::Result<()> {
        self.remove(ctx, parent, name, || self.inner.unlink(ctx, parent, name))
    }

    fn rmdir(&self, ctx: Context, parent: u64, name: &CStr) -> io::Result<()> {
        self.remove(ctx, parent, name, || self.inner.rmdir(ctx, parent, name))
    }

    fn rename(
        &self,
        ctx: Context,
        olddir: u64,
        oldname: &CStr,
        newdir: u64,
        newname: &CStr,
        flags: u32,
    ) -> io::Result<()> {
        let rename = || self.inner.rename(ctx, olddir, oldname, newdir, newname, flags);
        let Some(mut state) = self.changes.active() else { return rename() };
        if let Some(Change { what, place, .. }) = state.pretence.armed(ctx.pid) {
            let from = self.place(ctx, olddir, oldname);
            let new = self.place(ctx, newdir, newname);
            return match what {
                What::Renamed { to, .. }
                    if from.as_ref() == Some(place) && new.as_ref() == Some(to) =>
                {
                    Ok(())
                }
                _ => Err(io::Error::from_raw_os_error(EPERM)),
            };
        }
        rename()?;
        self.renew(&mut state, ctx, olddir, oldname);
        self.renew(&mut state, ctx, newdir, newname);
        Ok(())
    }

    fn open(
        &self,
        ctx: Context,
        inode: u64,
        kill_priv: bool,
        flags: u32,
    ) -> io::Result<(Option<u64>, OpenOptions)> {
        let state = self.changes.active();
        if state.as_ref().is_some_and(|state| state.pretence.armed(ctx.pid).is_some()) {
            return Ok((Some(CLOSING_HANDLE), OpenOptions::empty()));
        }
        let (handle, mut options) = self.inner.open(ctx, inode, kill_priv, flags)?;
        if writes(flags) && truncates(flags) {
            self.note_write(state, ctx, inode);
        }
        if !writes(flags) {
            // Nothing was written, so its closing has no error to ask for.
            options |= OpenOptions::NOFLUSH;
        }
        let attr = self.inner.getattr(ctx, inode, None);
        if attr.is_ok_and(|(attr, _)| self.pages.are_good(inode, &attr, SystemTime::now())) {
            options |= OpenOptions::KEEP_CACHE;
        }
        Ok((handle, options))
    }

    fn create(
        &self,
        ctx: Context,
        parent: u64,
        name: &CStr,
        mode: u32,
        kill_priv: bool,
        flags: u32,
        umask: u32,
        extensions: Extensions,
    ) -> io::Result<(Entry, Option<u64>, OpenOptions)> {
        let mut state = self.changes.active();
        Self::unarmed(state.as_deref(), ctx)?;
        let made =
            self.inner.create(ctx, parent, name, mode, kill_priv, flags, umask, extensions)?;
        if let Some(state) = &mut state
            && let Some(place) = self.place(ctx, parent, name)
        {
            state.tree.guest_put(&place, facts(&made.0.attr), Some(made.0.inode));
        }
        Ok(made)
    }

    fn write<R: ZeroCopyReader>(
        &self,
        ctx: Context,
        inode: u64,
        handle: u64,
        r: R,
        size: u32,
        offset: u64,
        lock_owner: Option<u64>,
        delayed_write: bool,
        kill_priv: bool,
        flags: u32,
    ) -> io::Result<usize> {
        let state = self.changes.active();
        Self::unarmed(state.as_deref(), ctx)?;
        let written = self.inner.write(
            ctx,
            inode,
            handle,
            r,
            size,
            offset,
            lock_owner,
            delayed_write,
            kill_priv,
            flags,
        )?;
        self.note_write(state, ctx, inode);
        Ok(written)
    }

    fn fallocate(
        &self,
        ctx: Context,
        inode: u64,
        handle: u64,
        mode: u32,
        offset: u64,
        length: u64,
    ) -> io::Result<()> {
        let state = self.changes.active();
        Self::unarmed(state.as_deref(), ctx)?;
        self.inner.fallocate(ctx, inode, handle, mode, offset, length)?;
        self.note_write(state, ctx, inode);
        Ok(())
    }

    fn copyfilerange(
        &self,
        ctx: Context,
        inode_in: u64,
        handle_in: u64,
        offset_in: u64,
        inode_out: u64,
        handle_out: u64,
        offset_out: u64,
        len: u64,
        flags: u64,
    ) -> io::Result<usize> {
        let state = self.changes.active();
        Self::unarmed(state.as_deref(), ctx)?;
        let copied = self.inner.copyfilerange(
            ctx, inode_in, handle_in, offset_in, inode_out, handle_out, offset_out, len, flags,
        )?;
        self.note_write(state, ctx, inode_out);
        Ok(copied)
    }

    fn flush(&self, ctx: Context, inode: u64, handle: u64, lock_owner: u64) -> io::Result<()> {
        if handle == CLOSING_HANDLE {
            return Ok(());
        }
        self.inner.flush(ctx, inode, handle, lock_owner)
    }

    fn release(
        &self,
        ctx: Context,
        inode: u64,
        flags: u32,
        handle: u64,
        flush: bool,
        flock_release: bool,
        lock_owner: Option<u64>,
    ) -> io::Result<()> {
        if handle == CLOSING_HANDLE {
            return Ok(());
        }
        self.inner.release(ctx, inode, flags, handle, flush, flock_release, lock_owner)
    }
}

impl<F: SerializableFileSystem> SerializableFileSystem for Watched<F> {
    pass! {
        fn prepare_serialization(&self, cancel: Arc<AtomicBool>);
        fn serialize(&self, state_pipe: File) -> io::Result<()>;
        fn deserialize_and_apply(&self, state_pipe: File) -> io::Result<()>;
    }
}
