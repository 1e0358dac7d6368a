//! Kernel modules, in the order that the image's builder worked out.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use linkspan_sys::{Errno, boot::BootCalls};

use super::BootError;

/// Loads what `folder/order` lists, one file name a line. Without the file there is nothing to
/// load: the kernel has everything built in.
pub(super) fn load(kernel: &dyn BootCalls, folder: &Path) -> Result<(), BootError> {
    let order = folder.join("order");
    let list = match fs::read_to_string(&order) {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(BootError::file("read", order)(source)),
    };
    let mut absent = false;
    for name in list.lines().map(str::trim).filter(|name| !name.is_empty()) {
        let path = folder.join(name);
        let module = File::open(&path).map_err(BootError::file("open", &path))?;
        match kernel.load_module(&module) {
            Ok(()) | Err(Errno::EEXIST) => {}
            // The device or hypervisor that it is for is not there: not needed.
            Err(Errno::ENODEV) => absent = true,
            // A symbol of a module that was not needed (hv_sock's of hv_vmbus, off Hyper-V).
            Err(Errno::ENOENT) if absent => {}
            Err(errno) => return Err(BootError::Module { module: name.into(), errno }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use linkspan_sys::boot::fake::Recording;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for name in names {
            fs::write(folder.path().join(name), b"module").expect("a file");
        }
        fs::write(folder.path().join("order"), names.join("\n")).expect("a file");
        folder
    }

    #[test]
    fn a_module_that_is_loaded_or_has_no_device_is_no_failure() {
        for errno in [Errno::EEXIST, Errno::ENODEV] {
            let kernel = Recording::default();
            kernel.fail("load_module", errno);
            load(&kernel, folder(&["a.ko", "b.ko"]).path()).expect("it goes on");
            assert_eq!(kernel.calls().len(), 2);
        }
    }

    #[test]
    fn what_builds_on_a_module_without_a_device_is_not_needed_either() {
        let kernel = Recording::default();
        kernel.fail("load_module", Errno::ENOENT);
        load(&kernel, folder(&["a.ko"]).path()).expect_err("nothing explains the missing symbol");
    }

    #[test]
    fn a_module_that_fails_is_named() {
        let kernel = Recording::default();
        kernel.fail("load_module", Errno::ENOEXEC);
        let error = load(&kernel, folder(&["odd.ko"]).path()).expect_err("it fails");
        assert!(error.to_string().contains("odd.ko"), "{error}");
    }

    #[test]
    fn without_a_list_there_is_nothing_to_load() {
        load(&Recording::default(), Path::new("/no/such/folder")).expect("nothing to do");
    }
}
